//! Rule lists → readable source.
//!
//! The text compiles with the reference compiler too: bare actions in the middle are written in capitals, which is the
//! only way it takes them there. What the language cannot say (an integer in the payload, numbers of unknown meaning,
//! reversed ranges, some masks …) is shown as a comment, the whole statement with it, since a statement without one of its
//! matches would do more than it should.

mod definitions;
mod entry;

use crate::language::{CapabilityDefinition, MAX_SOURCE, Options, Program, TagDefinition, compile};
use crate::rule::{Kind, Rule};

/// Longest line a statement is written on.
const WIDTH: usize = 100;

/// Names for numbers, usually of the program the rules come from. Names that the language does not allow are passed over.
#[derive(Clone, Debug, Default)]
pub struct Names {
    /// Tags with the names of their values.
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
    /// The source: tags, capabilities, then the base rules.
    pub text: String,
    /// Per entry of the base rules: the line of [`Self::text`], from 1, where its statement begins.
    pub base_lines: Vec<u32>,
    /// The same per capability, in the order given.
    pub capability_lines: Vec<(u32, Vec<u32>)>,
    /// Whether compiling the text gives the same lists back.
    pub exact: bool,
}

/// Writes rule lists as source, with definitions of the tags in `names` in front.
pub fn decompile(base: &[Rule], capabilities: &[(u32, &[Rule])], names: &Names) -> Decompiled {
    let names = definitions::usable(names);
    let mut writer = Writer::default();
    for tag in &names.tags {
        writer.put(&definitions::tag(tag));
    }
    let mut capability_lines = Vec::with_capacity(capabilities.len());
    for (index, (id, rules)) in capabilities.iter().enumerate() {
        let again = capabilities[..index].iter().any(|(other, _)| other == id);
        let (name, default) = definitions::capability(*id, &names);
        let mark = if again { "# again: " } else { "" };
        let default = if default { " default" } else { "" };
        writer.put(&format!("{mark}cap {name} id {id}{default}"));
        let lines = writer.list(rules, &names, if again { List::Again } else { List::Capability });
        writer.put(&format!("{mark};"));
        capability_lines.push((*id, lines));
    }
    let base_lines = writer.list(base, &names, List::Base);
    let exact = is_exact(&writer.text, base, capabilities);
    Decompiled { text: writer.text, base_lines, capability_lines, exact }
}

/// The text of the one statement that contains entry `index`, on one line; empty if there is no such entry.
///
/// What the language cannot say stands in angle brackets.
pub fn statement(rules: &[Rule], index: usize, names: &Names) -> String {
    let names = definitions::usable(names);
    let start = rules.iter().take(index).rposition(|rule| rule.kind.is_action()).map_or(0, |at| at + 1);
    let mut rest = rules.get(start..).unwrap_or(&[]);
    if index >= rules.len() {
        return String::new();
    }
    let Some(statement) = next_statement(&mut rest) else { return String::new() };
    Written::new(statement, &names).on_one_line()
}

/// Whether the text says just these lists.
fn is_exact(text: &str, base: &[Rule], capabilities: &[(u32, &[Rule])]) -> bool {
    if text.len() > MAX_SOURCE {
        return false;
    }
    compile(text, &Options { strict: true }).is_ok_and(|program| {
        let sections = program.capabilities.iter().map(|c| (c.id, c.section.rules.as_slice()));
        program.base.rules == base && sections.eq(capabilities.iter().copied())
    })
}

/// Cuts off the first statement: matches up to and with an action, or the matches at the end of the list.
fn next_statement<'r>(rules: &mut &'r [Rule]) -> Option<&'r [Rule]> {
    if rules.is_empty() {
        return None;
    }
    let length = rules.iter().position(|rule| rule.kind.is_action()).map_or(rules.len(), |at| at + 1);
    let (statement, rest) = rules.split_at(length);
    *rules = rest;
    Some(statement)
}

/// Which list is written.
#[derive(Clone, Copy, PartialEq, Eq)]
enum List {
    Base,
    Capability,
    /// A capability that cannot be defined because its number is taken.
    Again,
}

/// A statement in words.
struct Written {
    /// The action with its operands; without one, what is said instead.
    head: String,
    matches: Vec<String>,
    /// Whether the language can say all of it.
    sayable: bool,
    /// Whether the action is one word (`drop`, `accept`, `break`) and alone.
    bare: bool,
}

impl Written {
    fn new(statement: &[Rule], names: &Names) -> Self {
        let action = statement.last().filter(|rule| rule.kind.is_action());
        let matches = &statement[..statement.len() - usize::from(action.is_some())];
        let mut sayable = action.is_some();
        let head = match action.map(|rule| entry::action(&rule.kind)) {
            Some(Ok(text)) => text,
            Some(Err(text)) => {
                sayable = false;
                text
            }
            None => "<no action>".into(),
        };
        let mut words = Vec::with_capacity(matches.len());
        for (index, rule) in matches.iter().enumerate() {
            let text = match entry::matching(&rule.kind, names) {
                Ok(text) => text,
                Err(text) => {
                    sayable = false;
                    text
                }
            };
            let joint = match (rule.or, index) {
                (true, _) => "or ",
                (false, 0) => "",
                (false, _) => "and ",
            };
            words.push(format!("{joint}{}{text}", if rule.not { "not " } else { "" }));
        }
        let plain = matches!(action.map(|rule| &rule.kind), Some(Kind::Drop | Kind::Accept | Kind::Break));
        Self { head, bare: plain && words.is_empty(), matches: words, sayable }
    }

    fn on_one_line(&self) -> String {
        let mut out = self.head.clone();
        for word in &self.matches {
            out.push(' ');
            out.push_str(word);
        }
        out.push(';');
        out
    }
}

#[derive(Default)]
struct Writer {
    text: String,
    lines: u32,
}

impl Writer {
    fn put(&mut self, text: &str) {
        self.text.push_str(text);
        self.text.push('\n');
        self.lines += 1 + text.bytes().filter(|b| *b == b'\n').count() as u32;
    }

    /// Writes a list; per entry the line where its statement begins.
    fn list(&mut self, rules: &[Rule], names: &Names, list: List) -> Vec<u32> {
        let mut lines = Vec::with_capacity(rules.len());
        let mut rest = rules;
        while let Some(statement) = next_statement(&mut rest) {
            lines.extend(std::iter::repeat_n(self.lines + 1, statement.len()));
            let written = Written::new(statement, names);
            let indent = if list == List::Base { "" } else { "\t" };
            let line = written.on_one_line();
            if list == List::Again {
                self.put(&format!("# {line}"));
            } else if !written.sayable {
                self.put(&format!("{indent}# not possible in this language: {line}"));
            } else if written.bare {
                // Only the last statement of a document or capability may be bare in lower case, and a `;` would
                // end the capability.
                self.put(&match (rest.is_empty(), list) {
                    (true, _) => format!("{indent}{line}"),
                    (false, List::Base) => line.to_uppercase(),
                    (false, _) => format!("{indent}{}", written.head.to_uppercase()),
                });
            } else if line.len() <= WIDTH {
                self.put(&format!("{indent}{line}"));
            } else {
                self.put(&format!("{indent}{}", written.head));
                for word in &written.matches {
                    self.put(&format!("{indent}\t{word}"));
                }
                self.put(&format!("{indent};"));
            }
        }
        lines
    }
}
