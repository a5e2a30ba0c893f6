//! Rule lists → readable source.

use crate::language::{CapabilityDefinition, Program, TagDefinition};
use crate::rule::Rule;

/// Names for numbers, usually of the program the rules come from.
#[derive(Clone, Debug, Default)]
pub struct Names {
    /// Tags with their values' names.
    pub tags: Vec<TagDefinition>,
    /// Names, numbers and default flags of capabilities.
    pub capabilities: Vec<(String, u32, bool)>,
}

impl From<&Program> for Names {
    fn from(program: &Program) -> Self {
        let capability = |c: &CapabilityDefinition| (c.name.clone(), c.id, c.default);
        Self {
            tags: program.tags.clone(),
            capabilities: program.capabilities.iter().map(capability).collect(),
        }
    }
}

/// Readable source of rule lists.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Decompiled {
    /// The source.
    pub text: String,
    /// Per entry of the base rules: the line of [`Self::text`], from 1, where its statement begins.
    pub base_lines: Vec<u32>,
    /// The same per capability.
    pub capability_lines: Vec<(u32, Vec<u32>)>,
    /// Whether compiling the text gives the same lists back.
    pub exact: bool,
}

/// Writes rule lists as source.
pub fn decompile(base: &[Rule], capabilities: &[(u32, &[Rule])], names: &Names) -> Decompiled {
    let _ = (base, capabilities, names);
    Decompiled::default()
}

/// The text of the one statement that contains entry `index`.
pub fn statement(rules: &[Rule], index: usize, names: &Names) -> String {
    let _ = (rules, index, names);
    String::new()
}
