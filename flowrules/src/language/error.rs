//! Errors of the compiler and how they are shown.

use std::fmt::Write as _;
use std::ops::Range;

use super::Place;
use super::blocks::Word;
use super::width::{cells, shown};

/// Most cells of a source line that are shown.
const SHOWN: usize = 100;
/// Cells a tab is shown as.
const TAB: usize = 4;

/// Why a program is not accepted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SourceError {
    /// Line as the reference compiler counts: from 1, a comment ended by CRLF counts twice; 0 if the error is about the
    /// program as a whole.
    pub line: u32,
    /// Column as the reference counts: UTF-16 units, from 0 on the first line and from 1 on the others.
    pub column: u32,
    /// What is wrong: the reference's message, or one of our own where the reference fails in its own way (recursion,
    /// size).
    pub message: String,
    /// What to do about it.
    pub hint: Option<String>,
    /// The offending word, in bytes of the source; empty if there is none.
    pub span: Range<usize>,
    /// For an error inside a macro, the line of the outermost `include`.
    pub(super) included_at: Option<u32>,
}

impl SourceError {
    /// An error whose position is that of a word.
    pub(super) fn at(word: &Word<'_>, message: impl Into<String>) -> Self {
        Self {
            line: word.position.line,
            column: word.position.column,
            message: message.into(),
            hint: None,
            span: word.span(),
            included_at: None,
        }
    }

    pub(super) fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// Where the offending word stands, as a reader of the file counts.
    pub fn place(&self, source: &str) -> Place {
        let before = &source[..floor(source, self.span.start)];
        let line_start = before.rfind('\n').map_or(0, |at| at + 1);
        Place {
            line: 1 + before.bytes().filter(|b| *b == b'\n').count() as u32,
            column: 1 + before[line_start..].chars().count() as u32,
            included_at: self.included_at,
        }
    }

    /// Several lines without a final line feed: `ERROR parsing FILE line L column C: MESSAGE` as the reference prints
    /// it, the source line, the offending word underlined, `hint: …`.
    pub fn render(&self, file: &str, source: &str) -> String {
        let mut out = format!(
            "ERROR parsing {file} line {} column {}: {}",
            self.line,
            self.column,
            clean(&self.message)
        );
        if !self.span.is_empty() {
            let place = self.place(source);
            let (line, underline) = excerpt(source, &self.span);
            let number = place.line.to_string();
            let _ = write!(out, "\n{number} | {line}\n{:1$} | {underline}", "", number.len());
            if let Some(line) = place.included_at {
                let _ = write!(out, "\n(in a macro included at line {line})");
            }
        }
        if let Some(hint) = &self.hint {
            let _ = write!(out, "\nhint: {}", clean(hint));
        }
        out
    }
}

impl std::fmt::Display for SourceError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "line {} column {}: {}", self.line, self.column, self.message)
    }
}

impl std::error::Error for SourceError {}

/// A bound of the compiler that was hit before there was any word to blame.
pub(super) fn too_large(what: &str, has: usize, most: usize, unit: &str) -> SourceError {
    SourceError {
        line: 0,
        column: 0,
        message: format!("Too large: {what} has {has} {unit}, the limit is {most}."),
        hint: Some("split the program, or generate less of it".into()),
        span: 0..0,
        included_at: None,
    }
}

/// Text for a terminal: nothing that moves the cursor; long words shortened.
fn clean(text: &str) -> String {
    let mut out: String = text.chars().take(400).map(shown).collect();
    if text.chars().nth(400).is_some() {
        out.push('…');
    }
    out
}

/// The nearest character boundary at or below an offset.
fn floor(text: &str, mut at: usize) -> usize {
    at = at.min(text.len());
    while !text.is_char_boundary(at) {
        at -= 1;
    }
    at
}

/// The line around a span, tabs expanded and cut to the neighbourhood of the span, and the underline that belongs below.
fn excerpt(source: &str, span: &Range<usize>) -> (String, String) {
    let (start, end) = (floor(source, span.start), floor(source, span.end));
    let line_start = source[..start].rfind('\n').map_or(0, |at| at + 1);
    let line_end = source[start..].find('\n').map_or(source.len(), |at| start + at);
    let line = source[line_start..line_end].trim_end_matches('\r');
    // Every character with its cells and whether it belongs to the word.
    let mut characters: Vec<(char, usize, bool)> = Vec::new();
    for (at, c) in line.char_indices() {
        let inside = (start..end).contains(&(line_start + at));
        if c == '\t' {
            characters.extend(std::iter::repeat_n((' ', 1, inside), TAB));
        } else {
            characters.push((shown(c), cells(c), inside));
        }
    }
    let width = |part: &[(char, usize, bool)]| part.iter().map(|(_, cells, _)| cells).sum::<usize>();
    let first = characters.iter().position(|(_, _, inside)| *inside).unwrap_or(characters.len());
    let mut from = 0;
    let mut to = characters.len();
    if width(&characters) > SHOWN {
        // A third of the room before the word, the rest for it and what follows.
        from = first;
        let mut room = SHOWN / 3;
        while from > 0 && characters[from - 1].1 <= room {
            from -= 1;
            room -= characters[from].1;
        }
        to = from;
        let mut room = SHOWN;
        while to < characters.len() && characters[to].1 <= room {
            room -= characters[to].1;
            to += 1;
        }
    }
    let mut text = String::new();
    let mut underline = String::new();
    if from > 0 {
        text.push('…');
        underline.push(' ');
    }
    for (c, cells, inside) in &characters[from..to] {
        text.push(*c);
        underline.extend(std::iter::repeat_n(if *inside { '^' } else { ' ' }, *cells));
    }
    if to < characters.len() {
        text.push('…');
    }
    let mut underline = underline.trim_end().to_owned();
    if underline.is_empty() {
        underline.push('^');
    }
    (text, underline)
}
