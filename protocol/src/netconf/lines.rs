//! Where the rules in force were written: the source lines of their statements.
//!
//! An extension of our own beside the reference's configuration. A controller that knows the source of the rules sends it
//! to members whose request asks for it ([`crate::metadata::RequestMetadata::rule_lines`]), so that a member can name the
//! line that dropped a packet. Everybody else neither sends nor reads it; nothing about a packet depends on it.
//!
//! The text form: lists separated by `;`, the base rules first, a capability's with `ID:` before it, ascending; in a list one
//! decimal line number for each statement, separated by `,`, and `@` with the line of the include behind that of a
//! statement out of a macro. For instance `1,4@9,4@10;1000:13`.

use std::fmt;

use flowrules::Rule;

use super::MAX_CAPABILITIES;

/// Longest text form, bytes; what is longer is not sent.
pub const MAX_RULE_LINES: usize = 16 * 1024;

/// Where a statement of a rule program stands. Lines count from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct StatementLine {
    /// Its line.
    pub line: u32,
    /// The line of the outermost `include`, when the statement stands in a macro.
    pub included_at: Option<u32>,
}

impl fmt::Display for StatementLine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.included_at {
            None => write!(f, "line {}", self.line),
            Some(at) => write!(f, "line {}, included at line {at}", self.line),
        }
    }
}

/// The lines of a network's rules: one for each statement, that is for each action entry, in order.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct RuleLines {
    /// Of the base rules.
    pub base: Vec<StatementLine>,
    /// Of the capabilities the network defines, by ascending ID.
    pub capabilities: Vec<(u32, Vec<StatementLine>)>,
}

impl RuleLines {
    /// Whether nothing is known.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.base.is_empty() && self.capabilities.is_empty()
    }

    /// The statement that entry `index` of a list belongs to: of the base rules, or of a capability. `None` when its line is
    /// not known, when the list has another number of statements than the lines are for (a capability granted before the
    /// last change), or when no action follows the entry.
    #[must_use]
    pub fn of(&self, capability: Option<u32>, rules: &[Rule], index: usize) -> Option<StatementLine> {
        let lines = match capability {
            None => &self.base,
            Some(id) => {
                let at = self.capabilities.binary_search_by_key(&id, |(id, _)| *id).ok()?;
                &self.capabilities[at].1
            }
        };
        let actions = |rules: &[Rule]| rules.iter().filter(|rule| rule.kind.is_action()).count();
        if index >= rules.len() || actions(rules) != lines.len() {
            return None;
        }
        lines.get(actions(&rules[..index])).copied()
    }

    /// Leaves out what cannot be sent: capabilities from the highest ID down until the rest fits, and everything when the
    /// base rules alone do not.
    pub fn fit(&mut self) {
        while self.to_text().is_none() {
            if self.capabilities.pop().is_none() {
                self.base.clear();
            }
        }
    }

    /// The text form; `None` when it is too long or has too many lists or statements.
    pub(super) fn to_text(&self) -> Option<String> {
        let within = self.base.len() <= flowrules::MAX_RULES && self.capabilities.len() <= MAX_CAPABILITIES;
        if !within || self.capabilities.iter().any(|(_, lines)| lines.len() > flowrules::MAX_CAPABILITY_RULES)
        {
            return None;
        }
        let mut text = list(&self.base);
        for (id, lines) in &self.capabilities {
            text.push_str(&format!(";{id}:{}", list(lines)));
        }
        (text.len() <= MAX_RULE_LINES).then_some(text)
    }

    /// Reads the text form. It only serves to inform, so what is malformed is as if it were absent.
    pub(super) fn from_text(text: &str) -> Self {
        Self::parse(text).unwrap_or_default()
    }

    fn parse(text: &str) -> Option<Self> {
        if text.len() > MAX_RULE_LINES {
            return None;
        }
        let mut lists = text.split(';');
        let base = read_list(lists.next()?, flowrules::MAX_RULES)?;
        let mut capabilities: Vec<(u32, Vec<StatementLine>)> = Vec::new();
        for part in lists {
            let (id, lines) = part.split_once(':')?;
            let id = number(id)?;
            let ascends = capabilities.last().is_none_or(|(last, _)| *last < id);
            if !ascends || capabilities.len() >= MAX_CAPABILITIES {
                return None;
            }
            capabilities.push((id, read_list(lines, flowrules::MAX_CAPABILITY_RULES)?));
        }
        Some(Self { base, capabilities })
    }
}

fn list(lines: &[StatementLine]) -> String {
    let one = |statement: &StatementLine| match statement.included_at {
        None => statement.line.to_string(),
        Some(at) => format!("{}@{at}", statement.line),
    };
    lines.iter().map(one).collect::<Vec<_>>().join(",")
}

fn read_list(text: &str, most: usize) -> Option<Vec<StatementLine>> {
    if text.is_empty() {
        return Some(Vec::new());
    }
    let mut lines = Vec::new();
    for word in text.split(',') {
        if lines.len() >= most {
            return None;
        }
        lines.push(match word.split_once('@') {
            None => StatementLine { line: number(word)?, included_at: None },
            Some((line, at)) => StatementLine { line: number(line)?, included_at: Some(number(at)?) },
        });
    }
    Some(lines)
}

/// Digits only: the form that is written.
fn number(text: &str) -> Option<u32> {
    text.bytes().all(|b| b.is_ascii_digit()).then(|| text.parse().ok()).flatten()
}

#[cfg(test)]
mod tests {
    use flowrules::Kind;

    use super::*;

    fn at(line: u32) -> StatementLine {
        StatementLine { line, included_at: None }
    }

    fn sample() -> RuleLines {
        let base = vec![at(1), StatementLine { line: 4, included_at: Some(9) }];
        RuleLines { base, capabilities: vec![(7, Vec::new()), (1000, vec![at(13)])] }
    }

    #[test]
    fn the_text_form() {
        assert_eq!(sample().to_text().unwrap(), "1,4@9;7:;1000:13");
        assert_eq!(RuleLines::from_text("1,4@9;7:;1000:13"), sample());
        assert_eq!(RuleLines::from_text(";3:5").capabilities, [(3, vec![at(5)])]);
        assert!(RuleLines::default().to_text().unwrap().is_empty());
        for bad in ["x", "1,", "1;5", "1;5:x", "1;5:1;5:1", "1;5:1;4:1", "+1", "1@", "1@2@3", "4294967296"] {
            assert!(RuleLines::from_text(bad).is_empty(), "{bad}");
        }
    }

    #[test]
    fn too_much_is_left_out() {
        let long = StatementLine { line: u32::MAX, included_at: Some(u32::MAX) };
        let mut lines = RuleLines { base: vec![at(1); 1024], capabilities: Vec::new() };
        lines.capabilities = (0..128).map(|id| (id, vec![long; 64])).collect();
        assert_eq!(lines.to_text(), None);
        lines.fit();
        assert_eq!(lines.base.len(), 1024);
        assert!((1..128).contains(&lines.capabilities.len()), "{}", lines.capabilities.len());
        assert_eq!(RuleLines::from_text(&lines.to_text().unwrap()), lines);
        lines.base = vec![long; 1024];
        lines.fit();
        assert!(lines.is_empty());
        assert!(RuleLines::from_text(&"1,".repeat(MAX_RULE_LINES)).is_empty());
        assert!(RuleLines::from_text(&["1"; 1025].join(",")).is_empty());
        let many: String = (0..129).map(|id| format!(";{id}:")).collect();
        assert!(RuleLines::from_text(&many).is_empty());
    }

    #[test]
    fn the_line_of_an_entry_is_that_of_its_action() {
        let lines = sample();
        let rules: Vec<Rule> =
            [Kind::Ethertype(2048), Kind::Drop, Kind::Ethertype(2054), Kind::Accept, Kind::Ethertype(1)]
                .map(Rule::new)
                .into();
        let found: Vec<Option<u32>> =
            (0..6).map(|index| lines.of(None, &rules, index).map(|at| at.line)).collect();
        assert_eq!(found, [Some(1), Some(1), Some(4), Some(4), None, None]);
        assert_eq!(lines.of(None, &rules[..2], 0), None, "other rules than the lines are for");
        assert_eq!(lines.of(Some(1000), &[Kind::Accept.into()], 0), Some(at(13)));
        assert_eq!(lines.of(Some(7), &[], 0), None);
        assert_eq!(lines.of(Some(8), &[Kind::Accept.into()], 0), None);
        assert_eq!(lines.base[1].to_string(), "line 4, included at line 9");
    }
}
