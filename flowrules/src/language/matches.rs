//! Match blocks → entries.
//!
//! Specification: flow rules, rule language, matches; errors.

use serde_json::Value;

use super::Section;
use super::actions::{Compiler, Statement};
use super::blocks::{Node, Word, is_bare};
use super::error::SourceError;
use super::hints;
use super::names::{self, CHARACTERISTICS, ETHERTYPES, IP_PROTOCOLS, lookup};
use super::numbers::{NOTHING, contains_ipv4, contains_ipv6, is_clean, number, probability, range};
use crate::kind::{Row, Syntax, match_row, row_like};

/// The greatest number of a field of 32 bits, and of all numbers the reference does not check further.
const MOST: i64 = 0xffff_ffff;

/// The row of an entry, and the values of its fields.
type Fields = (&'static Row, Vec<Value>);

/// An argument of a match: its word, and what it says after parameters are replaced.
#[derive(Clone, Copy)]
struct Argument<'a> {
    word: Word<'a>,
    text: &'a str,
}

impl Argument<'_> {
    fn error(&self, message: &str) -> SourceError {
        SourceError::at(&self.word, message)
    }
}

impl<'a, 'd: 'a> Compiler<'a, 'd> {
    /// Compiles the matches of a statement; the action is not pushed.
    pub(super) fn matches(
        &mut self,
        block: &[Node<'a>],
        statement: Statement<'_, 'a>,
        section: &mut Section,
    ) -> Result<(), SourceError> {
        let (mut not, mut or) = (false, false);
        let mut at = 0;
        while let Some(node) = block.get(at) {
            let first = at == 0;
            at += 1;
            let Node::Word(word) = node else { continue };
            self.charge(word, word.text)?;
            let keyword = word.text.to_lowercase();
            match keyword.as_str() {
                "and" => continue,
                "not" => not = true,
                "or" => or = true,
                // The reference finds these in its table of matches, without arguments or effect.
                inherited if names::is_inherited(inherited) => (not, or) = (false, false),
                _ => {
                    let Some(row) = match_row(&keyword) else {
                        let action = statement.action.text;
                        return Err(SourceError::at(word, format!("Unrecognized match type \"{keyword}\"."))
                            .hint(hints::unknown_match(word.text, action, first && is_bare(action))));
                    };
                    let arguments = self.arguments(row, block, at, statement)?;
                    at += row.syntax.arguments();
                    let (row, fields) = self.match_fields(row, &arguments, statement)?;
                    let mut object = row.object(fields.into_iter().map(Some));
                    object.insert("not".to_owned(), not.into());
                    object.insert("or".to_owned(), or.into());
                    self.push(section, Value::Object(object), word, statement)?;
                    (not, or) = (false, false);
                }
            }
        }
        Ok(())
    }

    /// The arguments of the match before `at`.
    fn arguments(
        &mut self,
        row: &Row,
        block: &[Node<'a>],
        at: usize,
        statement: Statement<'_, 'a>,
    ) -> Result<[Argument<'a>; 2], SourceError> {
        let previous = |at: usize| {
            let node = at.checked_sub(1).and_then(|before| block.get(before));
            node.and_then(|node| self.tree.first_word(node)).unwrap_or(*statement.action)
        };
        let mut found: Vec<Argument<'a>> = Vec::with_capacity(2);
        for at in at..at + row.syntax.arguments() {
            let Some(node) = block.get(at) else {
                return Err(SourceError::at(&previous(at), "Missing argument(s) to match.")
                    .hint(format!("the match is {}", hints::usage(row.word))));
            };
            let word = node.word().filter(|word| !names::is_reserved(word.text));
            let Some(word) = word else {
                let message = "Missing argument(s) to match (invalid argument or argument is reserved word).";
                let argument = self.tree.first_word(node);
                let hint = hints::reserved_argument(row.word, node.word().map(|word| word.text));
                let mut error = SourceError::at(&previous(at), message).hint(hint);
                // The position is that of the word before, as in the reference; what is wrong is the argument.
                error.span = argument.map_or(error.span, |word| word.span());
                return Err(error);
            };
            let text = if word.text.starts_with('$') {
                let parameters = &statement.scope.parameters;
                *parameters.get(word.text).ok_or_else(|| {
                    SourceError::at(word, "Undefined variable name.")
                        .hint(hints::variable(word.text, parameters.keys().copied()))
                })?
            } else {
                word.text
            };
            found.push(Argument { word: *word, text });
        }
        for argument in &found {
            self.charge(&argument.word, argument.text)?;
        }
        // Every match has one or two; with one the second is never looked at.
        let first = found[0];
        Ok([first, found.get(1).copied().unwrap_or(first)])
    }

    fn match_fields(
        &mut self,
        row: &'static Row,
        arguments: &[Argument<'a>; 2],
        statement: Statement<'_, 'a>,
    ) -> Result<Fields, SourceError> {
        let [first, second] = arguments;
        let (word, text) = (row.word, first.text);
        let usage = || format!("the match is {}", hints::usage(word));
        let fields = match row.syntax {
            Syntax::Address => vec![address(first)?],
            Syntax::Number(most) => vec![self.value(word, first, None, most, statement)?],
            Syntax::Ethertype => {
                let named = lookup(&ETHERTYPES, text).map(i64::from);
                vec![self.value(word, first, named, u16::MAX, statement)?]
            }
            Syntax::Protocol => {
                let named = lookup(&IP_PROTOCOLS, text).map(i64::from);
                vec![self.value(word, first, named, u8::MAX.into(), statement)?]
            }
            Syntax::Mac => vec![mac(first)?],
            Syntax::Ipv4 | Syntax::Ipv6 => {
                let syntax = ip_family(first)?;
                self.check_ip(first, statement);
                return Ok((row_like(row, syntax).unwrap_or(row), vec![text.into()]));
            }
            Syntax::Tos => {
                let mask = number(text);
                if !(0..=0xff).contains(&mask) {
                    return Err(first.error("Invalid mask.").hint(usage()));
                }
                let (start, end) = range(second.text, 0xff)
                    .ok_or_else(|| second.error("Invalid value range.").hint(usage()))?;
                self.check_number(first, mask, statement);
                self.check_range(second, statement);
                vec![mask.into(), start.into(), end.into()]
            }
            Syntax::Icmp => {
                let (kind, code) = (number(text), number(second.text));
                if !(0..=0xff).contains(&kind) {
                    return Err(first
                        .error("Missing or invalid ICMP type.")
                        .hint(format!("types have no names here: {}", hints::usage(word))));
                }
                if code > 0xff {
                    return Err(second.error("Invalid ICMP code (use -1 for none).").hint(usage()));
                }
                self.check_number(first, kind, statement);
                if second.text != "-1" && !is_clean(second.text) {
                    self.check_number(second, code, statement);
                }
                vec![kind.into(), if code < 0 { Value::Null } else { code.into() }]
            }
            Syntax::Range => {
                let (start, end) =
                    range(text, 0xffff).ok_or_else(|| first.error("Invalid numeric range.").hint(usage()))?;
                self.check_range(first, statement);
                vec![start.into(), end.into()]
            }
            Syntax::Bits => vec![self.characteristics(first, statement)?],
            Syntax::Fraction => vec![probability(text).into()],
            Syntax::Tag => {
                let (id, value) = self.tag(first, second, statement)?;
                vec![id.into(), value.into()]
            }
            // No match is written so.
            Syntax::None | Syntax::Plain | Syntax::Copy | Syntax::Redirect | Syntax::Reserved => Vec::new(),
        };
        Ok((row, fields))
    }

    /// A number with its name or in digits. Members keep only the bits of `width`.
    fn value(
        &mut self,
        keyword: &str,
        argument: &Argument<'a>,
        named: Option<i64>,
        width: u16,
        statement: Statement<'_, 'a>,
    ) -> Result<Value, SourceError> {
        let value = named.unwrap_or_else(|| number(argument.text));
        if !(0..=MOST).contains(&value) {
            return Err(argument.error("Invalid numeric value.").hint(hints::value(keyword, argument.text)));
        }
        if named.is_none() {
            self.check_number(argument, value, statement);
        }
        let width = i64::from(width);
        if value > width {
            self.find(
                statement.place(&argument.word),
                "number-too-large",
                format!("`{keyword}` has room for {width} at most: {value} becomes {}", value & width),
                "controllers cut the number down without a word; write the number that is meant".into(),
            );
        }
        Ok(value.into())
    }

    fn check_number(&mut self, argument: &Argument<'_>, value: i64, statement: Statement<'_, '_>) {
        if !is_clean(argument.text) {
            let read = if value == NOTHING { "no number".to_owned() } else { value.to_string() };
            self.find(
                statement.place(&argument.word),
                "odd-number",
                format!("`{}` is read as {read}", argument.text),
                "numbers are decimal digits, or `0x` and hex digits; whatever follows these is ignored"
                    .into(),
            );
        }
    }

    fn check_range(&mut self, argument: &Argument<'_>, statement: Statement<'_, '_>) {
        if argument.text.split('-').any(|part| !is_clean(part)) {
            let read =
                range(argument.text, MOST).map_or(String::new(), |(start, end)| format!("{start}-{end}"));
            self.find(
                statement.place(&argument.word),
                "odd-number",
                format!("`{}` is read as {read}", argument.text),
                "numbers are decimal digits, or `0x` and hex digits; whatever follows these is ignored"
                    .into(),
            );
        }
    }

    /// Address texts are taken over as they are; controllers make 0.0.0.0/0 or ::/0 of what they cannot read.
    fn check_ip(&mut self, argument: &Argument<'_>, statement: Statement<'_, '_>) {
        let (address, bits) = argument.text.split_once('/').unwrap_or((argument.text, ""));
        let parsed: Option<std::net::IpAddr> = address.parse().ok();
        let most = parsed.map(|ip| if ip.is_ipv4() { 32 } else { 128 });
        let good = most.is_some_and(|most| {
            bits.bytes().all(|b| b.is_ascii_digit()) && bits.parse::<u32>().is_ok_and(|bits| bits <= most)
        });
        if !good {
            self.find(
                statement.place(&argument.word),
                "odd-address",
                format!("`{}` is not an address with prefix length; controllers read something else into it", argument.text),
                "write the address in full, then `/` and 0 to 32 (IPv4) or 0 to 128 (IPv6); what cannot be read \
                 becomes the prefix /0, which matches everything"
                    .into(),
            );
        }
    }

    /// The mask of a `chr` list, 16 hex digits.
    fn characteristics(
        &mut self,
        argument: &Argument<'a>,
        statement: Statement<'_, 'a>,
    ) -> Result<Value, SourceError> {
        let mut wanted: u64 = 0;
        for piece in argument.text.split(',').filter(|piece| !piece.is_empty()) {
            let bit = lookup(&CHARACTERISTICS, piece).map_or_else(|| number(piece), i64::from);
            if !(0..64).contains(&bit) {
                return Err(argument
                    .error("Invalid bit index (range 0-63) or unrecognized name.")
                    .hint(hints::characteristic(piece)));
            }
            wanted |= 1 << bit;
        }
        let mask = as_reference(wanted);
        if mask != wanted {
            self.find(
                statement.place(&argument.word),
                "chr-sign",
                format!("the mask of this list is {mask:016x}, not {wanted:016x}: the reference compiler gets it wrong"),
                "keep `inbound` (bit 63) apart from other names above bit 31, and bit 31 from lower ones: one `chr` \
                 each, joined by `or`"
                    .into(),
            );
        }
        Ok(format!("{mask:016x}").into())
    }

    /// Number and value of a tag match.
    fn tag(
        &mut self,
        first: &Argument<'a>,
        second: &Argument<'a>,
        statement: Statement<'_, 'a>,
    ) -> Result<(i64, i64), SourceError> {
        let definitions = self.definitions;
        let tag = definitions.tags.get(first.text);
        let id = tag.map_or_else(|| number(first.text), |tag| i64::from(tag.definition.id));
        let named =
            tag.and_then(|tag| tag.flags.get(second.text).or_else(|| tag.enums.get(second.text))).copied();
        let value = named.unwrap_or_else(|| number(second.text));
        if !(0..=MOST).contains(&id) {
            let mut known: Vec<_> = definitions.tags.keys().map(String::as_str).collect();
            known.sort_unstable();
            let otherwise = "a tag is defined by `tag NAME id NUMBER …;`";
            return Err(first.error("Undefined tag name and invalid tag value.").hint(hints::undefined(
                "tags",
                first.text,
                known.into_iter(),
                otherwise,
            )));
        }
        if !(0..=MOST).contains(&value) {
            let hint = match (tag, named) {
                (_, Some(mask)) => {
                    format!("the flag contains bit 31, which matches refuse by name: write {}", mask as u32)
                }
                (Some(tag), None) => {
                    let definition = &tag.definition;
                    let known =
                        definition.flags.iter().chain(&definition.enums).map(|(name, _)| name.as_str());
                    hints::undefined("names", second.text, known, "or a number from 0 to 4294967295")
                }
                (None, None) => {
                    "with a tag given by its number, the value is a number from 0 to 4294967295".into()
                }
            };
            return Err(second.error("Invalid tag value or unrecognized flag/enum name.").hint(hint));
        }
        if tag.is_none() {
            self.check_number(first, id, statement);
        }
        if named.is_none() {
            self.check_number(second, value, statement);
        }
        Ok((id, value))
    }
}

/// The mask the reference compiler makes of one: each half is calculated as a signed number, then made positive.
pub(crate) fn as_reference(mask: u64) -> u64 {
    let half = |half: u32| u64::from((half as i32).unsigned_abs());
    half((mask >> 32) as u32) << 32 | half(mask as u32)
}

/// Ten hex digits, whatever else is between them.
fn address(argument: &Argument<'_>) -> Result<Value, SourceError> {
    let digits: String = argument.text.to_lowercase().chars().filter(char::is_ascii_hexdigit).collect();
    if digits.len() == 10 {
        return Ok(digits.into());
    }
    let hint = if argument.text.starts_with('$') {
        "parameters are not replaced in the arguments of `include`".to_owned()
    } else {
        format!("an address is ten hex digits, `{}` has {}", argument.text, digits.len())
    };
    Err(argument.error("Invalid ZeroTier address.").hint(hint))
}

/// The first twelve hex digits, in pairs.
fn mac(argument: &Argument<'_>) -> Result<Value, SourceError> {
    let digits: Vec<char> =
        argument.text.to_lowercase().chars().filter(char::is_ascii_hexdigit).take(12).collect();
    if digits.len() < 12 {
        return Err(argument.error("Invalid MAC address.").hint(format!(
            "a MAC address has 12 hex digits, `{}` has {}",
            argument.text,
            digits.len()
        )));
    }
    let pairs: Vec<String> = digits.chunks(2).map(|pair| pair.iter().collect()).collect();
    Ok(pairs.join(":").into())
}

/// That of IPv4 or that of IPv6.
fn ip_family(argument: &Argument<'_>) -> Result<Syntax, SourceError> {
    let text = argument.text;
    let Some(at) = text.find('/').filter(|at| *at > 0) else {
        let bits = if text.contains(':') { 128 } else { 32 };
        let hint = match text.strip_prefix('/') {
            Some(_) => "the address before the `/` is missing".to_owned(),
            None => format!("one address is `{text}/{bits}`, a subnet has fewer bits"),
        };
        return Err(argument.error("Missing /bits netmask length designation in IP.").hint(hint));
    };
    let address = &text[..at];
    if contains_ipv6(address) {
        Ok(Syntax::Ipv6)
    } else if contains_ipv4(address) {
        Ok(Syntax::Ipv4)
    } else {
        Err(argument
            .error("Invalid IP address (not valid IPv4 or IPv6).")
            .hint("write the address in digits: `10.0.0.0/8`, `fd00::/8`; names of hosts are not possible"))
    }
}
