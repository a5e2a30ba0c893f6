//! Definitions of tags and capabilities.

use std::collections::HashSet;
use std::fmt::Write as _;

use super::Names;
use crate::language::{TagDefinition, is_reserved, is_valid_name};

/// The names the language can take: valid, lower case, not reserved, no doubles.
pub(super) fn usable(names: &Names) -> Names {
    let mut seen = HashSet::new();
    let mut tags: Vec<TagDefinition> = names
        .tags
        .iter()
        .filter(|tag| is_usable(&tag.name) && seen.insert(tag.name.clone()))
        .cloned()
        .collect();
    for tag in &mut tags {
        let mut seen = HashSet::new();
        tag.flags.retain(|(name, mask)| {
            is_usable(name) && *mask != 0 && i32::try_from(*mask).is_ok() && seen.insert(name.clone())
        });
        let mut seen = HashSet::new();
        tag.enums.retain(|(name, value)| {
            is_usable(name) && u32::try_from(*value).is_ok() && seen.insert(name.clone())
        });
    }
    let mut seen = HashSet::new();
    let mut ids = HashSet::new();
    let capabilities = names.capabilities.iter();
    let capabilities = capabilities
        .filter(|(name, id, _)| is_usable(name) && seen.insert(name.clone()) && ids.insert(*id))
        .cloned()
        .collect();
    Names { tags, capabilities }
}

fn is_usable(name: &str) -> bool {
    is_valid_name(name) && name.to_lowercase() == name && !is_reserved(name)
}

/// A tag's definition, on one line if it has no names.
pub(super) fn tag(tag: &TagDefinition) -> String {
    let mut out = format!("tag {} id {}", tag.name, tag.id);
    let mut defined = String::new();
    for (name, mask) in &tag.flags {
        let bits: Vec<String> =
            (0..32).filter(|bit| mask >> bit & 1 != 0).map(|bit: u32| bit.to_string()).collect();
        let _ = write!(defined, "\n\tflag {} {name}", bits.join(","));
    }
    for (name, value) in &tag.enums {
        let _ = write!(defined, "\n\tenum {value} {name}");
    }
    if let Some(default) = tag.default {
        let is_enum = |name: &str| tag.enums.iter().any(|(known, _)| known == name);
        let named = tag.enums.iter().find(|(_, value)| *value == default);
        let named =
            named.or_else(|| tag.flags.iter().find(|(name, mask)| *mask == default && !is_enum(name)));
        let text = match named {
            Some((name, _)) => name.clone(),
            // Read back as a signed number of 32 bits.
            None => (default as u32).to_string(),
        };
        let _ = write!(out, " default {text}");
    }
    out.push_str(&defined);
    out.push_str(if defined.is_empty() { ";" } else { "\n;" });
    out
}

/// The name of a capability and whether new members get it.
pub(super) fn capability(id: u32, names: &Names) -> (String, bool) {
    if let Some((name, _, default)) = names.capabilities.iter().find(|(_, known, _)| *known == id) {
        return (name.clone(), *default);
    }
    let mut name = format!("cap_{id}");
    while names.capabilities.iter().any(|(known, _, _)| *known == name) {
        name.push('_');
    }
    (name, false)
}
