//! The document: macros, tags, capabilities, and the base program that remains.
//!
//! Specification: flow rules, rule language, document structure; errors.

use std::collections::{BTreeMap, HashMap, HashSet};

use super::actions::Compiler;
use super::blocks::{Node, Tree, Word};
use super::error::SourceError;
use super::names::{is_inherited, is_reserved, is_valid_name};
use super::numbers::{default_value, is_clean, number};
use super::{CapabilityDefinition, Program, TagDefinition, hints};
use crate::lint::Finding;

/// The greatest number of a tag, capability or value.
const MOST: i64 = 0xffff_ffff;

/// A `macro` definition.
#[derive(Debug)]
pub(super) struct Macro<'a> {
    /// Parameters with the number of the argument that stands for each.
    pub(super) parameters: BTreeMap<String, usize>,
    pub(super) program: &'a [Node<'a>],
    pub(super) name: Word<'a>,
}

/// A tag with its names ready to be looked up.
#[derive(Debug)]
pub(super) struct Tag {
    pub(super) definition: TagDefinition,
    pub(super) enums: HashMap<String, i64>,
    pub(super) flags: HashMap<String, i64>,
}

/// What a document defines.
#[derive(Debug, Default)]
pub(super) struct Definitions<'a> {
    pub(super) macros: BTreeMap<String, Macro<'a>>,
    pub(super) tags: HashMap<String, Tag>,
}

struct Capability<'a> {
    name: String,
    word: Word<'a>,
    id: u32,
    default: bool,
    program: Vec<Node<'a>>,
}

/// Compiles a document.
pub(super) fn document<'a>(tree: &'a Tree<'a>) -> Result<Program, SourceError> {
    let mut definitions = Definitions::default();
    let mut tag_order: Vec<String> = Vec::new();
    let mut capabilities: Vec<Capability<'_>> = Vec::new();
    let mut capability_names = HashSet::new();
    let mut capability_ids = HashSet::new();
    let mut base: Vec<Node<'_>> = Vec::new();
    let mut findings = Vec::new();

    let mut elements = tree.document().iter();
    while let Some(element) = elements.next() {
        let keyword = element.word().map(|word| (word, word.text.to_lowercase()));
        let Some((word, keyword)) = keyword.filter(|(_, k)| matches!(k.as_str(), "macro" | "tag" | "cap"))
        else {
            base.push(*element);
            continue;
        };
        let block = match elements.as_slice().first() {
            Some(Node::Block(number)) => tree.block(*number),
            _ => return Err(missing_name(word, &keyword)),
        };
        elements.next();
        let Some((Node::Word(name), body)) = block.split_first() else {
            return Err(missing_name(word, &keyword));
        };
        match keyword.as_str() {
            "macro" => {
                let (lower, parameters) = macro_head(&name.text.to_lowercase());
                check_name(name, &lower, "macro", definitions.macros.contains_key(&lower))?;
                definitions.macros.insert(lower, Macro { parameters, program: body, name: *name });
            }
            "tag" => {
                let lower = name.text.to_lowercase();
                check_name(name, &lower, "tag", definitions.tags.contains_key(&lower))?;
                let tag = tag(tree, name, lower.clone(), body, &mut findings)?;
                tag_order.push(lower.clone());
                definitions.tags.insert(lower, tag);
            }
            _ => {
                let lower = name.text.to_lowercase();
                check_name(name, &lower, "capability", capability_names.contains(&lower))?;
                let capability = capability(name, lower.clone(), body, &capability_ids)?;
                capability_ids.insert(capability.id);
                capability_names.insert(lower);
                capabilities.push(capability);
            }
        }
    }

    let mut compiler = Compiler::new(tree, &definitions, &mut findings);
    let mut compiled = Vec::with_capacity(capabilities.len());
    for capability in capabilities {
        compiled.push(CapabilityDefinition {
            section: compiler.section(&capability.program)?,
            name: capability.name,
            id: capability.id,
            default: capability.default,
            place: capability.word.place,
        });
    }
    let base = compiler.section(&base)?;
    compiler.finish();
    for closing in &tree.closings {
        let (keyword, word) = (closing.keyword, closing.word.text);
        findings.push(Finding {
            place: closing.word.place,
            code: "closed-early",
            message: format!("`{word};` ends the `{keyword}` here: what follows is not part of it"),
            hint: format!(
                "write `{}` without `;` if the `{keyword}` goes on; if not, begin the next statement on a line of its own",
                if super::opens_block(word) { word.to_uppercase() } else { word.to_owned() }
            ),
        });
    }
    if let Some(lost) = tree.lost {
        findings.push(Finding {
            place: lost.place,
            code: "lost-block",
            message: format!(
                "what follows this `{}` up to the end of the program is lost: the last action there is still open",
                lost.text
            ),
            hint: "end every statement with a `;`, and write bare actions in definitions without a blank before it".into(),
        });
    }
    let mut tags = definitions.tags;
    let tags = tag_order.iter().filter_map(|name| tags.remove(name)).map(|tag| tag.definition).collect();
    Ok(Program { base, capabilities: compiled, tags, leniencies: Vec::new(), findings })
}

fn missing_name(word: &Word<'_>, keyword: &str) -> SourceError {
    let what = match keyword {
        "macro" => "Macro",
        "tag" => "Tag",
        _ => "Capability",
    };
    let error = SourceError::at(word, format!("{what} definition is missing name."));
    if word.text == keyword {
        error.hint(format!(
            "a definition is `{keyword} NAME …` up to its `;`; it is lost if the last action in it is still open, as \
             after a bare `accept ;` with a blank"
        ))
    } else {
        error.hint(format!("write `{keyword}` in lower case"))
    }
}

fn check_name(word: &Word<'_>, name: &str, what: &str, known: bool) -> Result<(), SourceError> {
    let capital = format!("{}{}", what[..1].to_uppercase(), &what[1..]);
    if !is_valid_name(name) {
        let error = SourceError::at(word, format!("Invalid {what} name."));
        let hint = if what == "macro" && name.is_empty() || name.starts_with('(') {
            "the name and its parameters are one word: `macro name($a,$b)`".into()
        } else {
            hints::name(name)
        };
        return Err(error.hint(hint));
    }
    if is_reserved(name) {
        let hint = if is_inherited(name) {
            format!("the reference compiler refuses `{name}`; choose another name")
        } else {
            format!("`{name}` is a keyword; choose another name")
        };
        return Err(SourceError::at(word, format!("{capital} name is a reserved word.")).hint(hint));
    }
    if known {
        return Err(SourceError::at(word, format!("Multiple definition of {what} name."))
            .hint(format!("`{name}` is defined above; upper and lower case make no difference")));
    }
    Ok(())
}

/// Splits `name($a,$b)` in lower case. Empty pieces at the beginning of the list count as places of arguments, as in the
/// reference.
fn macro_head(word: &str) -> (String, BTreeMap<String, usize>) {
    let Some(at) = word.find('(').filter(|at| *at > 0) else {
        return (word.to_owned(), BTreeMap::new());
    };
    let list = &word[at + 1..];
    let mut parameters = BTreeMap::new();
    let skipped = usize::from(list.starts_with([',', ')']));
    for (index, piece) in list.split([',', ')']).filter(|piece| !piece.is_empty()).enumerate() {
        parameters.insert(piece.to_owned(), index + skipped);
    }
    (word[..at].to_owned(), parameters)
}

fn capability<'a>(
    name: &Word<'a>,
    lower: String,
    body: &[Node<'a>],
    ids: &HashSet<u32>,
) -> Result<Capability<'a>, SourceError> {
    let mut id = None;
    let mut default = false;
    let mut program = Vec::new();
    let mut elements = body.iter();
    while let Some(element) = elements.next() {
        let word = element.word();
        match word.map(|word| (word, word.text.to_lowercase())) {
            Some((word, directive)) if directive == "id" => {
                if id.is_some() {
                    return Err(SourceError::at(word, "Duplicate id directive in capability definition.")
                        .hint("a capability has one `id`"));
                }
                let Some(value) = elements.next() else {
                    return Err(SourceError::at(word, "Missing value for ID.").hint("write `id NUMBER`"));
                };
                let text = value.word().map_or("", |word| word.text);
                // The position is that of `id`, as in the reference; what is wrong is the value.
                let span = value.word().map_or(word.span(), Word::span);
                let number = checked(text).ok_or_else(|| SourceError {
                    span: span.clone(),
                    ..SourceError::at(word, "Invalid or out of range capability ID.")
                        .hint(format!("`{text}` should be a number from 0 to {MOST}"))
                })?;
                if ids.contains(&number) {
                    return Err(SourceError {
                        span,
                        ..SourceError::at(word, "Duplicate capability ID.")
                            .hint(format!("another capability above has the id {number}"))
                    });
                }
                id = Some(number);
            }
            Some((_, directive)) if directive == "default" => default = true,
            _ => program.push(*element),
        }
    }
    let Some(id) = id else {
        return Err(SourceError::at(name, "Capability definition is missing a numeric ID.")
            .hint(format!("write `id NUMBER` after `cap {}`", name.text)));
    };
    Ok(Capability { name: lower, word: *name, id, default, program })
}

fn checked(text: &str) -> Option<u32> {
    u32::try_from(number(text)).ok()
}

/// The two words after a directive, if there are two elements.
fn pair<'a>(tree: &Tree<'a>, elements: &mut std::slice::Iter<'_, Node<'a>>) -> Option<(Word<'a>, Word<'a>)> {
    let [first, second, ..] = elements.as_slice() else { return None };
    let words = (tree.first_word(first)?, tree.first_word(second)?);
    elements.nth(1);
    Some(words)
}

fn tag<'a>(
    tree: &Tree<'a>,
    name: &Word<'a>,
    lower: String,
    body: &[Node<'a>],
    findings: &mut Vec<Finding>,
) -> Result<Tag, SourceError> {
    let mut id = None;
    let mut default: Option<Word<'_>> = None;
    let mut enums: Vec<(String, i64)> = Vec::new();
    let mut flags: Vec<(String, i64)> = Vec::new();
    let mut enum_values: HashMap<String, i64> = HashMap::new();
    let mut flag_masks: HashMap<String, i64> = HashMap::new();
    let mut elements = body.iter();
    while let Some(element) = elements.next() {
        let word = match element {
            Node::Word(word) => *word,
            // The reference fails in its own way when a block stands here (an action inside a tag, mostly).
            Node::Block(_) => tree.first_word(element).unwrap_or(*name),
        };
        match word.text.to_lowercase().as_str() {
            _ if element.word().is_none() => return Err(unknown_directive(&word)),
            "id" => {
                if id.is_some() {
                    return Err(
                        SourceError::at(&word, "Duplicate tag id definition.").hint("a tag has one `id`")
                    );
                }
                let Some(value) = elements.next() else {
                    return Err(
                        SourceError::at(&word, "Missing numeric value for ID.").hint("write `id NUMBER`")
                    );
                };
                let value = tree.first_word(value).unwrap_or(word);
                id = Some(checked(value.text).ok_or_else(|| {
                    SourceError::at(&value, "Invalid or out of range tag ID.")
                        .hint(format!("`{}` should be a number from 0 to {MOST}", value.text))
                })?);
            }
            "default" => {
                if default.is_some() {
                    return Err(SourceError::at(&word, "Duplicate tag default directive.")
                        .hint("a tag has at most one `default`"));
                }
                let Some(value) = elements.next() else {
                    return Err(SourceError::at(&word, "Missing value for default.")
                        .hint("write `default VALUE`: the name of an enum or flag, or a number"));
                };
                default = Some(tree.first_word(value).unwrap_or(word));
            }
            "flag" => {
                let Some((bits, flag)) = pair(tree, &mut elements) else {
                    return Err(SourceError::at(&word, "Missing tag flag name or bit index.")
                        .hint("write `flag BITS NAME`, for example `flag 0 public` or `flag 0,3 both`"));
                };
                let mask = flag_mask(&bits, &flag_masks)?;
                let lower = flag.text.to_lowercase();
                if !is_valid_name(&lower) {
                    return Err(
                        SourceError::at(&flag, "Invalid or reserved flag name.").hint(hints::name(&lower))
                    );
                }
                if flag_masks.contains_key(&lower) || is_inherited(&lower) {
                    return Err(SourceError::at(&flag, "Duplicate flag name in tag definition.")
                        .hint("upper and lower case make no difference"));
                }
                if mask < 0 {
                    findings.push(Finding {
                        place: bits.place,
                        code: "flag-bit-31",
                        message: format!(
                            "the flag `{lower}` contains bit 31: its mask becomes negative ({mask})"
                        ),
                        hint: format!(
                            "matches refuse the name; use bits 0 to 30, or write {} in matches",
                            mask as u32
                        ),
                    });
                }
                flags.push((lower.clone(), mask));
                flag_masks.insert(lower, mask);
            }
            "enum" => {
                let Some((value, word)) = pair(tree, &mut elements) else {
                    return Err(SourceError::at(&word, "Missing tag enum name or value.")
                        .hint("write `enum NUMBER NAME`, for example `enum 100 sales`"));
                };
                let Some(number) = checked(value.text) else {
                    let hint = if checked(word.text).is_some() {
                        format!("the number comes first: `enum {} {}`", word.text, value.text)
                    } else {
                        format!("`{}` should be a number from 0 to {MOST}", value.text)
                    };
                    return Err(SourceError::at(&value, "Tag enum value invalid or out of range.").hint(hint));
                };
                let lower = word.text.to_lowercase();
                if !is_valid_name(&lower) {
                    return Err(SourceError::at(&word, "Invalid or reserved tag enum name.")
                        .hint(hints::name(&lower)));
                }
                if enum_values.contains_key(&lower) || is_inherited(&lower) {
                    return Err(SourceError::at(&word, "Duplicate enum name in tag definition.")
                        .hint("upper and lower case make no difference"));
                }
                enums.push((lower.clone(), i64::from(number)));
                enum_values.insert(lower, i64::from(number));
            }
            _ => return Err(unknown_directive(&word)),
        }
    }
    let Some(id) = id else {
        return Err(SourceError::at(name, "Tag definition is missing a numeric ID.")
            .hint(format!("write `id NUMBER` after `tag {}`", name.text)));
    };
    let default = default.map(|word| {
        let named = enum_values.get(word.text).or_else(|| flag_masks.get(word.text)).copied();
        named.unwrap_or_else(|| {
            let value = default_value(word.text);
            odd_default(&word, value, findings);
            value
        })
    });
    let definition = TagDefinition { name: lower, id, default, enums, flags, place: name.place };
    Ok(Tag { definition, enums: enum_values, flags: flag_masks })
}

/// A default that is a number by accident.
fn odd_default(word: &Word<'_>, value: i64, findings: &mut Vec<Finding>) {
    let message = if !is_clean(word.text) && number(word.text) < 0 && !word.text.starts_with('-') {
        format!("`{}` is no flag or enum of this tag, so the default is {value}", word.text)
    } else if !is_clean(word.text) || number(word.text) != value {
        format!("the default `{}` is read as {value}", word.text)
    } else {
        return;
    };
    findings.push(Finding {
        place: word.place,
        code: "default-value",
        message,
        hint: "give a name defined in the tag (lower case), or a number from 0 to 2147483647".into(),
    });
}

fn unknown_directive(word: &Word<'_>) -> SourceError {
    let lower = word.text.to_lowercase();
    let error = SourceError::at(word, "Unrecognized keyword in tag definition.");
    if super::opens_block(&lower) || lower == "include" {
        return error
            .hint("a tag holds only `id`, `default`, `flag` and `enum`; is the `;` missing that ends it?");
    }
    let known = ["id", "default", "flag", "enum"];
    let hint = hints::suggest(&lower, known.into_iter()).unwrap_or_else(|| {
        "a tag consists of `id N`, `default VALUE`, `flag BITS NAME` and `enum N NAME`".into()
    });
    error.hint(hint)
}

/// Bits and names of flags joined by commas. A mask with bit 31 is negative.
fn flag_mask(bits: &Word<'_>, known: &HashMap<String, i64>) -> Result<i64, SourceError> {
    let mut mask: u32 = 0;
    let mut pieces = bits.text.split(',').peekable();
    let mut first = true;
    while let Some(piece) = pieces.next() {
        // Commas in a row count as one, but not at the ends.
        let inner = !first && pieces.peek().is_some();
        first = false;
        if piece.is_empty() && inner {
            continue;
        }
        let lower = piece.to_lowercase();
        if let Some(flag) = known.get(&lower) {
            mask |= *flag as u32;
        } else if !is_inherited(&lower) {
            let bit = number(&lower);
            if !(0..32).contains(&bit) {
                let message = "Bit index invalid, out of range, or references an undefined flag name.";
                let mut names: Vec<_> = known.keys().map(String::as_str).collect();
                names.sort_unstable();
                let hint = hints::undefined(
                    "flags so far",
                    piece,
                    names.into_iter(),
                    "bits are 0 to 31, joined by commas without blanks",
                );
                return Err(SourceError::at(bits, message).hint(hint));
            }
            mask |= 1 << bit;
        }
    }
    Ok(i64::from(mask as i32))
}
