//! What a controller has done since it began, in numbers.

/// Numbers of a controller; but for the first two they only grow.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Counts {
    /// Networks there are.
    pub networks: u64,
    /// Members there are, in all networks.
    pub members: u64,
    /// Networks made, changed or deleted.
    pub network_changes: u64,
    /// Members made, changed or deleted.
    pub member_changes: u64,
    /// Members let in.
    pub authorizations: u64,
    /// Members put out.
    pub deauthorizations: u64,
    /// Requests for a configuration that were looked at.
    pub requests: u64,
    /// Log-ins that were looked at because they might be over.
    pub login_checks: u64,
    /// Those that were over.
    pub login_ends: u64,
}
