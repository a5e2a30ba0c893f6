//! The JSON a program is printed as, and statements as text.
//!
//! Specification: flow rules, rule language, output.

use std::fmt::Write as _;

use serde_json::{Value, json};

use super::{Place, Program, TagDefinition, names};

/// Members of a rule in the order in which they are printed; no rule has others.
const MEMBERS: [&str; 22] = [
    "type",
    "not",
    "or",
    "zt",
    "vlanId",
    "vlanPcp",
    "vlanDei",
    "etherType",
    "ipProtocol",
    "probability",
    "mac",
    "ip",
    "icmpType",
    "icmpCode",
    "mask",
    "start",
    "end",
    "id",
    "value",
    "address",
    "length",
    "flags",
];

pub(super) fn config(program: &Program) -> Value {
    let capabilities: Vec<Value> = program
        .capabilities
        .iter()
        .map(|c| json!({ "id": c.id, "default": c.default, "rules": c.section.json }))
        .collect();
    let tags: Vec<Value> =
        program.tags.iter().map(|tag| json!({ "id": tag.id, "default": tag.default })).collect();
    json!({ "rules": program.base.json, "capabilities": capabilities, "tags": tags })
}

/// A printed value; like a JSON value, but members keep their order.
enum Node<'a> {
    Plain(Value),
    List(Vec<Node<'a>>),
    Object(Vec<(&'a str, Node<'a>)>),
}

pub(super) fn to_json(program: &Program) -> String {
    let rule = |value: &Value| {
        let member = |key: &&'static str| value.get(*key).map(|member| (*key, Node::Plain(member.clone())));
        Node::Object(MEMBERS.iter().filter_map(member).collect())
    };
    let rules = |values: &[Value]| Node::List(values.iter().map(rule).collect());
    let tag_default = |tag: &TagDefinition| Node::Plain(json!(tag.default));
    let capabilities = program
        .capabilities
        .iter()
        .map(|capability| {
            Node::Object(vec![
                ("id", Node::Plain(capability.id.into())),
                ("default", Node::Plain(capability.default.into())),
                ("rules", rules(&capability.section.json)),
            ])
        })
        .collect();
    let tags = program
        .tags
        .iter()
        .map(|tag| Node::Object(vec![("id", Node::Plain(tag.id.into())), ("default", tag_default(tag))]))
        .collect();
    let capabilities_by_name = program
        .capabilities
        .iter()
        .map(|capability| (capability.name.as_str(), Node::Plain(capability.id.into())))
        .collect();
    let tags_by_name = program
        .tags
        .iter()
        .map(|tag| {
            let object = vec![
                ("id", Node::Plain(tag.id.into())),
                ("default", tag_default(tag)),
                ("enums", named_values(&tag.enums)),
                ("flags", named_values(&tag.flags)),
            ];
            (tag.name.as_str(), Node::Object(object))
        })
        .collect();
    let document = Node::Object(vec![
        (
            "config",
            Node::Object(vec![
                ("rules", rules(&program.base.json)),
                ("capabilities", Node::List(capabilities)),
                ("tags", Node::List(tags)),
            ]),
        ),
        ("capabilitiesByName", Node::Object(capabilities_by_name)),
        ("tagsByName", Node::Object(tags_by_name)),
    ]);
    let mut out = String::new();
    write(&document, 0, &mut out);
    out
}

fn named_values(list: &[(String, i64)]) -> Node<'_> {
    Node::Object(list.iter().map(|(name, value)| (name.as_str(), Node::Plain((*value).into()))).collect())
}

fn write(node: &Node<'_>, depth: usize, out: &mut String) {
    let line = |depth: usize, out: &mut String| {
        out.push('\n');
        out.extend(std::iter::repeat_n(' ', depth));
    };
    match node {
        Node::Plain(value) => {
            let _ = write!(out, "{value}");
        }
        Node::List(list) if list.is_empty() => out.push_str("[]"),
        Node::Object(members) if members.is_empty() => out.push_str("{}"),
        Node::List(list) => {
            out.push('[');
            for (index, item) in list.iter().enumerate() {
                if index > 0 {
                    out.push(',');
                }
                line(depth + 1, out);
                write(item, depth + 1, out);
            }
            line(depth, out);
            out.push(']');
        }
        Node::Object(members) => {
            out.push('{');
            for (index, (key, item)) in members.iter().enumerate() {
                if index > 0 {
                    out.push(',');
                }
                line(depth + 1, out);
                let _ = write!(out, "{}: ", Value::from(*key));
                write(item, depth + 1, out);
            }
            line(depth, out);
            out.push('}');
        }
    }
}

/// The statement whose action word stands at a place: comments left out, blanks folded, with its `;`. Empty if nothing
/// stands there.
///
/// The statement's end is found by its `;` or by the next word that can only begin another one.
pub fn statement_text(source: &str, place: &Place) -> String {
    let line_at = |number: u32| {
        let mut start = 0;
        for _ in 1..number {
            start += source[start..].find('\n')? + 1;
        }
        Some(start)
    };
    let Some(line_start) = line_at(place.line) else { return String::new() };
    let skip = (place.column as usize).saturating_sub(1);
    let Some((offset, _)) = source[line_start..].char_indices().nth(skip) else { return String::new() };
    let mut out = String::new();
    let mut rest = &source[line_start + offset..];
    let mut first = true;
    while !rest.is_empty() {
        rest = rest.trim_start_matches([' ', '\t', '\r', '\n']);
        if rest.starts_with('#') {
            rest = &rest[rest.find(['\r', '\n']).unwrap_or(rest.len())..];
            continue;
        }
        let end = rest.find([' ', '\t', '\r', '\n']).unwrap_or(rest.len());
        let (word, behind) = rest.split_at(end);
        rest = behind;
        if word.is_empty() {
            break;
        }
        let (text, ends) = word.strip_suffix(';').map_or((word, false), |text| (text, true));
        let begins_another =
            names::opens_block(&text.to_lowercase()) || matches!(text, "include" | "macro" | "tag" | "cap");
        if !first && begins_another {
            break;
        }
        if !text.is_empty() {
            if !out.is_empty() {
                out.push(' ');
            }
            out.push_str(text);
        }
        // An action in capitals is complete by itself.
        if ends || first && !names::opens_block(text) {
            break;
        }
        first = false;
    }
    if !out.is_empty() {
        out.push(';');
    }
    out
}
