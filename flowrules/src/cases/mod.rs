//! Case files: what is to become of packets, written down so that a machine can check it.
//!
//! ```text
//! # who is who; a line that begins with a blank goes on with the one before
//! member aws  62f865ae71 ip 10.0.1.1 fd00::1
//!     tag department=sales capability ssh
//! member gcp  5aca06ff8e ip 10.0.3.1
//! member observer 37f2b7c94f
//!
//! # from -> to, the packet, a colon, what is expected
//! aws -> gcp tcp 5000 > 22 syn : drop by line 12
//! aws -> gcp icmp echo-request : accept, tee observer
//! gcp -> * arp who-has 10.0.1.1 : accept
//! ```
//!
//! The grammar, line by line (`#` begins a comment at the start of a word):
//!
//! ```text
//! "network" ID                                   MACs are those of this network's members
//! "member" NAME [ADDRESS] { "ip" IP… | "tag" NAME=VALUE… | "capability" NAME… | "no-capability" NAME… | "mac" MAC }
//! FROM "->" (TO | "*") ["first-contact"] PACKET ":" EXPECTED { "," EXPECTED }
//!
//! EXPECTED = ("accept" | "drop") [BY] | ("tee" | "watch" | "redirect") WHO [BY] | "no" "copies"
//! BY       = "by" ["sender" | "receiver"] [ "line" N | "default" | "capability" NAME ]
//! ```
//!
//! PACKET is the notation of [`describe`](mod@crate::describe). The sender judges first, outbound; if it lets the packet
//! go, the receiver judges, inbound. With `*` instead of a receiver only the sender does. Without BY anybody's and any line
//! is right.

mod parse;
mod run;

use std::collections::BTreeMap;
use std::fmt;
use std::net::IpAddr;
use std::ops::Range;

use crate::describe::Description;
use crate::explain::Side;
use crate::language::Program;

pub use parse::parse;
pub use run::{Outcome, Scenes, expected_words};

/// Largest case file that is read, in bytes.
pub const MAX_FILE: usize = 1 << 20;
/// Most members of a file.
pub const MAX_MEMBERS: usize = 1000;

/// A case file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct File {
    /// The network, if it is said: MACs depend on it.
    pub network: Option<u64>,
    /// Who is who, in the order of the file.
    pub members: Vec<Member>,
    /// The cases, in the order of the file.
    pub cases: Vec<Case>,
}

impl File {
    /// The member of that name.
    pub fn member(&self, name: &str) -> Option<&Member> {
        self.members.iter().find(|member| member.name == name)
    }

    /// The member a person means: by name, or by address after an optional `@`.
    pub fn find(&self, typed: &str) -> Option<&Member> {
        let address = parse::address(typed.strip_prefix('@').unwrap_or(typed));
        self.member(typed).or_else(|| {
            let address = address?;
            self.members.iter().find(|member| member.address == address)
        })
    }

    /// What a node is called here, or its address.
    pub fn name_of(&self, address: u64) -> String {
        self.members
            .iter()
            .find(|member| member.address == address)
            .map_or_else(|| format!("{address:010x}"), |member| member.name.clone())
    }
}

/// A member.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    /// What it is called in the file.
    pub name: String,
    /// Its address, 40 bits; made up when none is given.
    pub address: u64,
    /// Its IP addresses.
    pub ips: Vec<IpAddr>,
    /// Its MAC, if it is said.
    pub mac: Option<[u8; 6]>,
    /// Tags: name or id, value.
    pub tags: Vec<(Said, String)>,
    /// Capabilities it holds beside the default ones: name or id.
    pub capabilities: Vec<Said>,
    /// Default capabilities it does not hold.
    pub without: Vec<Said>,
}

/// A word of the file and where it stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Said {
    /// The word.
    pub text: String,
    /// Where.
    pub at: Spot,
}

/// A place in a case file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Spot {
    /// 1-based.
    pub line: u32,
    /// Bytes of the line.
    pub columns: Range<usize>,
}

/// One case.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Case {
    /// 1-based line.
    pub line: u32,
    /// The case up to the colon, blanks folded.
    pub text: String,
    /// Name of the sender.
    pub from: String,
    /// Name of the receiver; `None` = everybody.
    pub to: Option<String>,
    /// The sender does not know the receiver's tags yet.
    pub first_contact: bool,
    /// The packet.
    pub packet: Description,
    /// Where the packet stands in the file.
    pub packet_at: Spot,
    /// What is expected; never empty.
    pub expected: Vec<Expected>,
}

/// One expectation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Expected {
    /// The packet is delivered.
    Accept(By),
    /// It is dropped, on either side.
    Drop(By),
    /// A copy goes to a node.
    Copy {
        /// By `watch` instead of `tee`.
        watch: bool,
        /// To whom.
        to: Said,
        /// By what.
        by: By,
    },
    /// It goes to another node instead.
    Redirect {
        /// To whom.
        to: Said,
        /// By what.
        by: By,
    },
    /// Nobody gets a copy.
    NoCopies,
}

/// Who or what is to be behind it; nothing = that does not matter.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct By {
    /// Which side.
    pub side: Option<Side>,
    /// Which statement.
    pub what: Option<Decider>,
}

/// What decides.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Decider {
    /// The statement at this line of the rules (or included there).
    Line(u32),
    /// No statement: the rules came to their end.
    Default,
    /// A capability, by name or id.
    Capability(Said),
}

/// Why a file is no case file, or does not fit the rules.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CaseError {
    /// Where.
    pub at: Spot,
    /// What is wrong.
    pub message: String,
    /// What to write instead.
    pub hint: String,
}

impl CaseError {
    pub(crate) fn new(at: &Spot, message: impl Into<String>, hint: impl Into<String>) -> Self {
        Self { at: at.clone(), message: message.into(), hint: hint.into() }
    }

    /// The complaint with the line of the source underlined, four lines without a final newline.
    pub fn render(&self, file: &str, source: &str) -> String {
        let number = usize::try_from(self.at.line).unwrap_or(1).saturating_sub(1);
        let line = source.lines().nth(number).unwrap_or_default();
        let shown: String = line.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
        let columns = |end: usize| line.char_indices().filter(|(at, _)| *at < end).count();
        let before = columns(self.at.columns.start);
        let width = columns(self.at.columns.end).saturating_sub(before).max(1);
        let Self { at, message, hint } = self;
        let column = before + 1;
        format!(
            "ERROR in {file} line {} column {column}: {message}\n  {shown}\n  {:before$}{}\nhint: {hint}",
            at.line,
            "",
            "^".repeat(width)
        )
    }
}

impl fmt::Display for CaseError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}: {}; {}", self.at.line, self.message, self.hint)
    }
}

impl std::error::Error for CaseError {}

/// The names a rule source defines, for whoever reads tags and capabilities by name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Vocabulary {
    /// Tags by name.
    pub tags: BTreeMap<String, TagWords>,
    /// Capabilities by name.
    pub capabilities: BTreeMap<String, CapabilityWords>,
}

/// A tag and the names of its values.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TagWords {
    /// Its id.
    pub id: u32,
    /// The value of members that have none of their own.
    pub default: Option<u32>,
    /// Names of values: enums and flags.
    pub values: BTreeMap<String, u32>,
}

/// A capability.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CapabilityWords {
    /// Its id.
    pub id: u32,
    /// New members get it.
    pub default: bool,
}

impl From<&Program> for Vocabulary {
    fn from(program: &Program) -> Self {
        // Values are 32 bits on the wire, whatever sign the language gives them.
        let bits = |value: &i64| *value as u32;
        let tags = program.tags.iter().map(|tag| {
            let values = tag.flags.iter().chain(&tag.enums).map(|(name, value)| (name.clone(), bits(value)));
            let words =
                TagWords { id: tag.id, default: tag.default.as_ref().map(bits), values: values.collect() };
            (tag.name.clone(), words)
        });
        let capabilities = program.capabilities.iter().map(|capability| {
            (capability.name.clone(), CapabilityWords { id: capability.id, default: capability.default })
        });
        Self { tags: tags.collect(), capabilities: capabilities.collect() }
    }
}

impl Vocabulary {
    /// The id of a tag given by name or number, `Err` with what would be right.
    ///
    /// # Errors
    /// A hint that lists the names there are.
    pub fn tag(&self, typed: &str) -> Result<u32, String> {
        self.tags
            .get(typed)
            .map(|tag| tag.id)
            .or_else(|| number(typed))
            .ok_or_else(|| one_of("tag", self.tags.keys()))
    }

    /// A value of a tag given by the name of an enum or flag, several flags joined by `,` or `+`, or a number.
    ///
    /// # Errors
    /// A hint that lists the names there are.
    pub fn value(&self, tag: u32, typed: &str) -> Result<u32, String> {
        let words = self.tags.values().find(|words| words.id == tag);
        let one =
            |word: &str| words.and_then(|words| words.values.get(word).copied()).or_else(|| number(word));
        let mut all = 0;
        for word in typed.split([',', '+']) {
            let none = BTreeMap::new();
            all |= one(word)
                .ok_or_else(|| one_of("value", words.map_or(&none, |words| &words.values).keys()))?;
        }
        Ok(all)
    }

    /// The id of a capability given by name or number.
    ///
    /// # Errors
    /// A hint that lists the names there are.
    pub fn capability(&self, typed: &str) -> Result<u32, String> {
        self.capabilities
            .get(typed)
            .map(|capability| capability.id)
            .or_else(|| number(typed))
            .ok_or_else(|| one_of("capability", self.capabilities.keys()))
    }

    /// `department=sales` for a tag and its value, as far as there are names.
    pub fn tag_text(&self, id: u32, value: u32) -> String {
        let Some((name, words)) = self.tags.iter().find(|(_, words)| words.id == id) else {
            return format!("{id}={value}");
        };
        match words.values.iter().find(|(_, known)| **known == value) {
            Some((word, _)) => format!("{name}={word}"),
            None => format!("{name}={value}"),
        }
    }

    /// The name of a capability, or its id.
    pub fn capability_text(&self, id: u32) -> String {
        self.capabilities
            .iter()
            .find(|(_, words)| words.id == id)
            .map_or_else(|| id.to_string(), |(name, _)| name.clone())
    }
}

fn number(text: &str) -> Option<u32> {
    match text.strip_prefix("0x") {
        Some(hex) if !hex.starts_with('+') => u32::from_str_radix(hex, 16).ok(),
        None if !text.starts_with('+') => text.parse().ok(),
        _ => None,
    }
}

fn one_of<'a>(what: &str, names: impl Iterator<Item = &'a String>) -> String {
    let names: Vec<&str> = names.map(String::as_str).collect();
    if names.is_empty() {
        return format!("the rules name no {what}; a number from 0 to 4294967295 always works");
    }
    format!("the rules name these: {}; a number works, too", names.join(" "))
}
