//! The one error of every parser in this crate.

/// Input that does not have the form it must have. Says which field was refused and at which offset of the buffer
/// handed to the parser (for text: the character).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
#[error("malformed {what} at offset {at}")]
pub struct Malformed {
    /// The field or object that could not be read.
    pub what: &'static str,
    /// Offset in bytes from the start of the parsed buffer.
    pub at: usize,
}

/// Result of a parser.
pub type Result<T> = core::result::Result<T, Malformed>;
