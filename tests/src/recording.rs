//! What of an answer is the same in every run.

use std::path::Path;

use serde_json::Value;

/// Keys whose values differ from run to run, or from machine to machine. Their values are hidden, not their keys, and of a
/// list of such values equal ones are shown once.
const VOLATILE: &[&str] = &[
    "latency",
    "localSocket",
    "lastSend",
    "lastReceive",
    "mtuSource",
    "udpBuffers",
    "udpOffloads",
    "offloads",
    "multicastSubscriptions",
    "ztnodeVersion",
    "planetWorldTimestamp",
    "milliseconds",
    "hits",
    "counters",
];

/// What has another name in every run, and what it is called in the recording.
pub struct Names {
    known: Vec<(String, String)>,
    tokens: usize,
}

impl Names {
    /// Of a lab.
    pub fn new(script: &Path, folder: &Path, lab: &str) -> Self {
        let known = vec![
            (script.display().to_string(), "<script>".to_owned()),
            (folder.display().to_string(), "<lab>".to_owned()),
            (lab.to_owned(), "<lab-name>".to_owned()),
        ];
        Self { known, tokens: 0 }
    }

    /// The planet, which is made anew for every lab.
    pub fn planet(&mut self, status: &Value, planet: &Value) {
        let mut add = |value: &Value, name: &str| {
            let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
            self.known.push((text, name.to_owned()));
        };
        add(&status["planetWorldId"], "<planet-number>");
        add(&planet["id"], "<planet>");
        add(&planet["sha256"], "<sha256>");
        add(&planet["signature"], "<signature>");
        add(&planet["updatesMustBeSignedBy"], "<key>");
    }

    /// A join token, whose names are as long as what they stand for.
    pub fn token(&mut self, id: &str, secret: &str) {
        self.tokens += 1;
        self.known.push((secret.to_owned(), "secret".to_owned()));
        self.known.push((id.to_owned(), format!("token-{:02}", self.tokens)));
    }

    /// An answer as it is recorded.
    pub fn hide(&self, said: &str) -> String {
        let mut said = said.to_owned();
        for (value, name) in &self.known {
            said = said.replace(value.as_str(), name);
        }
        times(&link_local(&json(&said)))
    }
}

/// Hides the values of volatile keys wherever JSON stands in a text.
fn json(text: &str) -> String {
    let mut out = String::new();
    let mut rest = text;
    while let Some((at, key)) = next_key(rest) {
        let value = at + rest[at..].find(':').unwrap_or(0) + 1;
        let value = value + (rest[value..].len() - rest[value..].trim_start().len());
        out.push_str(&rest[..value]);
        let length = value_length(&rest[value..]);
        hide_value(&rest[value..value + length], key, &mut out);
        rest = &rest[value + length..];
    }
    out.push_str(rest);
    out
}

/// Where the next volatile key begins.
fn next_key(text: &str) -> Option<(usize, &'static str)> {
    let found = VOLATILE.iter().filter_map(|key| {
        let quoted = format!("\"{key}\"");
        let mut places = text.match_indices(&quoted);
        places
            .find(|(at, _)| text[at + quoted.len()..].trim_start().starts_with(':'))
            .map(|(at, _)| (at, *key))
    });
    found.min()
}

/// How far the JSON value at the beginning of a text goes.
fn value_length(text: &str) -> usize {
    let (mut depth, mut quoted, mut escaped) = (0_u32, false, false);
    for (at, c) in text.char_indices() {
        if quoted {
            match c {
                _ if escaped => escaped = false,
                '\\' => escaped = true,
                '"' => quoted = false,
                _ => {}
            }
            continue;
        }
        match c {
            '"' => quoted = true,
            '[' | '{' => depth += 1,
            ']' | '}' | ',' | '\n' if depth == 0 => return at,
            ']' | '}' => depth -= 1,
            _ => {}
        }
    }
    text.len()
}

/// The keys of a value and its shape, without what it says.
fn hide_value(value: &str, key: &str, out: &mut String) {
    if !value.starts_with(['[', '{']) {
        out.push_str(&format!("<{key}>"));
        return;
    }
    let mut inner = String::new();
    let mut rest = &value[1..];
    let mut seen: Vec<String> = Vec::new();
    while !rest.is_empty() && !rest.starts_with([']', '}']) {
        let skip = rest.len() - rest.trim_start_matches([',', ' ', '\t', '\n']).len();
        let mut element = rest[..skip].to_owned();
        rest = &rest[skip..];
        if rest.starts_with([']', '}']) || rest.is_empty() {
            inner.push_str(&element);
            break;
        }
        if value.starts_with('{') {
            let colon = rest.find(':').map_or(rest.len(), |at| at + 1);
            let spaces = rest[colon..].len() - rest[colon..].trim_start().len();
            element.push_str(&rest[..colon + spaces]);
            rest = &rest[colon + spaces..];
        }
        let length = value_length(rest).max(1);
        hide_value(&rest[..length], key, &mut element);
        rest = &rest[length..];
        let plain = element.trim_start_matches(',').to_owned();
        if value.starts_with('{') || !seen.contains(&plain) {
            inner.push_str(&element);
        }
        seen.push(plain);
    }
    out.push_str(&value[..1]);
    out.push_str(&inner);
    out.push_str(if value.starts_with('[') { "]" } else { "}" });
}

/// Hides addresses that the kernel makes of random hardware addresses.
fn link_local(text: &str) -> String {
    let mut parts = text.split("fe80::");
    let mut out = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let end = part.find(|c: char| !c.is_ascii_hexdigit() && c != ':').unwrap_or(part.len());
        out.push_str("<link-local>");
        out.push_str(&part[end..]);
    }
    out
}

/// Hides milliseconds since the epoch, dates, and how long ago something was.
fn times(text: &str) -> String {
    let mut out = String::new();
    let mut rest = text;
    while let Some(at) = rest.find(|c: char| c.is_ascii_digit()) {
        let (before, from) = rest.split_at(at);
        out.push_str(before);
        let word = out.ends_with(|c: char| c.is_ascii_alphanumeric());
        let digits = from.len() - from.trim_start_matches(|c: char| c.is_ascii_digit()).len();
        let (number, after) = from.split_at(digits);
        rest = after;
        if digits == 13 && !word && !after.starts_with(|c: char| c.is_ascii_alphanumeric()) {
            out.push_str("<time>");
        } else if digits == 4 && !word && is_date(from) {
            out.push_str("<date>");
            rest = &from[10..];
            let clock = rest.len()
                - rest.trim_start_matches(|c: char| c.is_ascii_digit() || " T:.".contains(c)).len();
            if clock >= 6 {
                out.push_str("<clock>");
                rest = &rest[clock..];
            }
        } else {
            out.push_str(number);
        }
    }
    out.push_str(rest);
    out
}

fn is_date(text: &str) -> bool {
    let shape = text.bytes().take(10).map(|b| if b.is_ascii_digit() { b'0' } else { b });
    shape.eq(*b"0000-00-00")
}

/// Hides numbers that stand alone, and how far apart words stand.
pub fn numbers(text: &str) -> String {
    let number = |word: &str| word.parse::<i64>().is_ok();
    let hide = |word: &str| {
        let parts: Vec<&str> = word.split(';').map(|part| if number(part) { "<n>" } else { part }).collect();
        parts.join(";")
    };
    let line = |line: &str| line.split_whitespace().map(hide).collect::<Vec<_>>().join(" ") + "\n";
    text.lines().map(line).collect()
}

/// Names, types and label names of metrics, each once.
pub fn metrics(page: &str) -> String {
    let mut seen: Vec<String> = Vec::new();
    // A peer has a latency as soon as it was asked for something, whenever that is.
    for line in page
        .lines()
        .filter(|line| !line.starts_with("zt_peer_latency_") && !line.starts_with("ztnode_peer_latency"))
    {
        let shown = if line.starts_with('#') {
            line.to_owned()
        } else {
            let (name, _) = line.rsplit_once(' ').unwrap_or((line, ""));
            match name.split_once('{') {
                None => name.to_owned(),
                Some((name, labels)) => {
                    let labels = labels.trim_end_matches('}').split("\",");
                    let labels: Vec<&str> = labels.filter_map(|label| label.split('=').next()).collect();
                    format!("{name}{{{}}}", labels.join(","))
                }
            }
        };
        if !seen.contains(&shown) {
            seen.push(shown);
        }
    }
    seen.join("\n")
}

/// What differs between two recordings, one text for each question.
pub fn differences(recorded: &str, said: &str) -> Vec<String> {
    let blocks = |text: &str| -> Vec<String> { text.split("=== ").skip(1).map(str::to_owned).collect() };
    let (before, now) = (blocks(recorded), blocks(said));
    let mut found: Vec<String> = before
        .iter()
        .zip(&now)
        .filter(|(before, now)| before != now)
        .map(|(before, now)| format!("--- recorded\n{before}--- now\n{now}"))
        .collect();
    if before.len() != now.len() {
        found.push(format!(
            "{} questions were recorded, {} were asked; record anew",
            before.len(),
            now.len()
        ));
    }
    found
}
