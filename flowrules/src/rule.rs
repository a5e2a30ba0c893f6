//! One entry of a rule list: an action or a match.
//!
//! Specification: flow rules, binary encoding.

pub use crate::kind::Kind;

/// The 40 bits an address of a node has.
pub const ADDRESS_MASK: u64 = 0xff_ffff_ffff;

/// One entry of a rule list.
///
/// `not` and `or` mean something only on matches; on actions they are carried (they survive a round trip through the
/// binary form) and ignored by the evaluator.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Rule {
    /// Invert the outcome of the match, unless the outcome is forced.
    pub not: bool,
    /// Combine with the set so far by OR instead of AND.
    pub or: bool,
    /// What the entry does or asks.
    pub kind: Kind,
}

impl Rule {
    /// An entry without NOT and OR bits.
    pub fn new(kind: Kind) -> Self {
        Self { not: false, or: false, kind }
    }
}

impl From<Kind> for Rule {
    fn from(kind: Kind) -> Self {
        Self::new(kind)
    }
}

/// The operand of TEE, WATCH and REDIRECT.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Target {
    /// Address of the node that gets the frame, 40 bits.
    pub address: u64,
    /// Carried, without meaning.
    pub flags: u32,
    /// How many bytes of the payload to copy; 0 = all. Carried and ignored for REDIRECT.
    pub length: u16,
}

impl Target {
    /// A target that gets whole frames.
    pub fn new(address: u64) -> Self {
        Self { address: address & ADDRESS_MASK, flags: 0, length: 0 }
    }
}

/// The operand of INTEGER_RANGE: an integer somewhere in the payload compared with a range.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct IntegerRange {
    /// First value that matches.
    pub start: u64,
    /// Last value that matches minus `start`; the binary form carries the sum.
    pub span: u32,
    /// Byte offset in the payload.
    pub index: u16,
    /// Bits 0–5: number of bits minus one; bit 7: little-endian.
    pub format: u8,
}

impl IntegerRange {
    /// The last value that matches (wraps at 2^64 like the binary form).
    pub fn end(&self) -> u64 {
        self.start.wrapping_add(u64::from(self.span))
    }

    /// Width of the integer, 1..=64 bits.
    pub fn bits(&self) -> u32 {
        u32::from(self.format & 0x3f) + 1
    }

    /// Whether the integer is stored little-endian.
    pub fn little_endian(&self) -> bool {
        self.format & 0x80 != 0
    }
}
