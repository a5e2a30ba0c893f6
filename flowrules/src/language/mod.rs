//! The rule language: source text → rule lists.
//!
//! [`compile`] turns a program into the base rules, capabilities and tags of a network. Its JSON
//! ([`Program::to_json`]) is byte for byte what the reference compiler prints, for every program the reference
//! accepts. Errors carry the reference's message and position, a hint of our own and the bytes of the offending
//! word; [`SourceError::render`] shows them with the source line underlined.
//!
//! What a program means never depends on [`Options`]: a program is first read exactly as the reference reads it, and
//! only if that fails and [`Options::strict`] is off, read again with the liberties listed there.
//!
//! Work is bounded whatever the source says: [`MAX_SOURCE`], [`MAX_ENTRIES`], [`MAX_INCLUDES`],
//! [`MAX_INCLUDE_DEPTH`] and [`MAX_EXPANSION`]; an error names the bound that was hit.
//!
//! Specification: flow rules, rule language (lexical structure, document structure, action programs, matches, errors,
//! output).

mod actions;
mod blocks;
mod definitions;
mod error;
mod hints;
mod letters;
mod matches;
mod names;
mod numbers;
mod print;
mod width;

use serde_json::Value;

pub use error::SourceError;
pub use hints::closest;
pub(crate) use matches::as_reference;
pub(crate) use names::{CHARACTERISTICS, ETHERTYPES, IP_PROTOCOLS, is_reserved, is_valid_name, opens_block};
pub use print::statement_text;

use crate::lint::Finding;
use crate::rule::Rule;

/// Longest source, in bytes.
pub const MAX_SOURCE: usize = 1 << 20;
/// Most entries a program may compile to, base rules and capabilities together. (Members take far fewer:
/// [`MAX_RULES`](crate::MAX_RULES), [`MAX_CAPABILITY_RULES`](crate::MAX_CAPABILITY_RULES); going over these is only
/// a finding of [`lint`](crate::lint::lint), as the reference compiler accepts it.)
pub const MAX_ENTRIES: usize = 1 << 16;
/// Most macro expansions in a program, nested ones included.
pub const MAX_INCLUDES: usize = 1 << 16;
/// How deep includes may nest.
pub const MAX_INCLUDE_DEPTH: usize = 128;
/// Most bytes of words looked at while compiling, macro bodies counted once per expansion.
pub const MAX_EXPANSION: usize = 1 << 25;

/// How to read a program.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Options {
    /// Refuse exactly what the reference compiler refuses.
    ///
    /// Otherwise a bare `drop;`, `accept;` or `break;` (or with a blank before the `;`) is a complete statement
    /// wherever the next word starts another statement. The reference takes it for the beginning of a match list there
    /// and fails.
    pub strict: bool,
}

/// A place in the source as a reader of the file counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Place {
    /// Line, from 1; a line ends with LF.
    pub line: u32,
    /// Column in characters, from 1; a tab is one character.
    pub column: u32,
    /// For what comes from a macro: the line of the `include` in the program proper (the outermost one).
    pub included_at: Option<u32>,
}

/// A compiled list of rules.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Section {
    /// The entries as members get them: numbers cut to the width of their fields as the controller does.
    pub rules: Vec<Rule>,
    /// The entries as the reference compiler prints them, one object each (members in any order; see
    /// [`Program::to_json`] for the printed order).
    pub json: Vec<Value>,
    /// Per entry the action word of the statement it belongs to.
    pub places: Vec<Place>,
    /// Per entry its own word: the match keyword or the action.
    pub(crate) words: Vec<Place>,
}

/// A `cap` definition.
#[derive(Clone, Debug, PartialEq)]
pub struct CapabilityDefinition {
    /// Its name, lower case.
    pub name: String,
    /// Its number, unique in the program.
    pub id: u32,
    /// Whether new members get it.
    pub default: bool,
    /// Its rules.
    pub section: Section,
    /// Where its name stands.
    pub(crate) place: Place,
}

/// A `tag` definition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TagDefinition {
    /// Its name, lower case.
    pub name: String,
    /// Its number. The language does not insist that tags have different ones.
    pub id: u32,
    /// The value new members get. Negative where the reference's arithmetic makes it so: a mask with bit 31, or a
    /// number from 2^31.
    pub default: Option<i64>,
    /// Names of values, in the order of definition.
    pub enums: Vec<(String, i64)>,
    /// Names of masks, in the order of definition; negative if bit 31 is in it.
    pub flags: Vec<(String, i64)>,
    /// Where its name stands.
    pub(crate) place: Place,
}

/// A compiled program.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Program {
    /// The network's own rules.
    pub base: Section,
    /// Capabilities in the order of definition.
    pub capabilities: Vec<CapabilityDefinition>,
    /// Tags in the order of definition.
    pub tags: Vec<TagDefinition>,
    /// Words where the reference compiler would have refused the program; empty under [`Options::strict`].
    pub leniencies: Vec<Place>,
    /// What only the compiler can notice.
    pub(crate) findings: Vec<Finding>,
}

impl Program {
    /// The tag of that name (lower case).
    pub fn tag(&self, name: &str) -> Option<&TagDefinition> {
        self.tags.iter().find(|tag| tag.name == name)
    }

    /// The capability of that name (lower case).
    pub fn capability(&self, name: &str) -> Option<&CapabilityDefinition> {
        self.capabilities.iter().find(|capability| capability.name == name)
    }

    /// What is posted to a controller's network: an object of `rules`, `capabilities` (`id`, `default`, `rules`) and
    /// `tags` (`id`, `default`).
    pub fn config(&self) -> Value {
        print::config(self)
    }

    /// Exactly what the reference compiler prints, without the final line feed: one-space indentation, object members
    /// in its order.
    pub fn to_json(&self) -> String {
        print::to_json(self)
    }
}

/// Compiles a program.
///
/// # Errors
/// The first error, in the order in which the reference finds them: definitions in document order, then the programs
/// of the capabilities, then the base program.
pub fn compile(source: &str, options: &Options) -> Result<Program, SourceError> {
    if source.len() > MAX_SOURCE {
        return Err(error::too_large("the source", source.len(), MAX_SOURCE, "bytes"));
    }
    let words = blocks::words(source);
    let exact = blocks::tree(&words, false);
    match definitions::document(&exact) {
        Err(error) if !options.strict => {
            let lenient = blocks::tree(&words, true);
            if lenient.leniencies.is_empty() {
                return Err(error);
            }
            let mut program = definitions::document(&lenient)?;
            program.leniencies = lenient.leniencies;
            Ok(program)
        }
        result => result,
    }
}
