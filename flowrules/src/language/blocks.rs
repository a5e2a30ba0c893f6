//! Text → words → tree of blocks.
//!
//! Specification: flow rules, rule language, lexical structure.

use super::{Place, names};
use crate::kind::{Syntax, action_row};

/// A position as the reference compiler counts: lines from 1, columns from 0 on the first line and from 1 on later
/// ones, in UTF-16 units; a comment that ends with CRLF counts as two lines.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Position {
    pub(super) line: u32,
    pub(super) column: u32,
}

/// A run of characters between blanks.
#[derive(Clone, Copy, Debug)]
pub(super) struct Word<'a> {
    /// Without the one `;` that ends a block; empty if there was nothing else.
    pub(super) text: &'a str,
    /// Whether that `;` was there.
    ends: bool,
    /// Whether a blank follows; only the last word of a source can lack it.
    finished: bool,
    pub(super) position: Position,
    pub(super) place: Place,
    /// Offset of the first byte in the source.
    pub(super) start: usize,
}

impl Word<'_> {
    /// The bytes of the word in the source.
    pub(super) fn span(&self) -> std::ops::Range<usize> {
        self.start..self.start + self.text.len().max(1)
    }
}

/// Splits a source into words, comments left out.
pub(super) fn words(source: &str) -> Vec<Word<'_>> {
    let mut out = Vec::new();
    let mut in_comment = false;
    let mut start: Option<(usize, Position, Place)> = None;
    let mut position = Position { line: 1, column: 0 };
    let mut place = Place { line: 1, column: 1, included_at: None };
    let word = |(start, position, place): (usize, Position, Place), end: usize, finished: bool| {
        let text = &source[start..end];
        let (text, ends) = text.strip_suffix(';').map_or((text, false), |text| (text, true));
        Word { text, ends, finished, position, place, start }
    };
    for (at, c) in source.char_indices() {
        if in_comment {
            if matches!(c, '\r' | '\n') {
                in_comment = false;
                position = Position { line: position.line + 1, column: 0 };
            }
        } else {
            if c == '\n' {
                position = Position { line: position.line + 1, column: 0 };
            }
            if matches!(c, '\n' | '\r' | '\t' | ' ') {
                if let Some(begin) = start.take() {
                    out.push(word(begin, at, true));
                }
            } else if start.is_none() {
                if c == '#' {
                    in_comment = true;
                } else {
                    start = Some((at, position, place));
                }
            }
        }
        position.column += c.len_utf16() as u32;
        place.column += 1;
        if c == '\n' {
            place = Place { line: place.line + 1, column: 1, included_at: None };
        }
    }
    if let Some(begin) = start {
        out.push(word(begin, source.len(), false));
    }
    out
}

/// An element of a block.
#[derive(Clone, Copy, Debug)]
pub(super) enum Node<'a> {
    Word(Word<'a>),
    /// The number of a block in its [`Tree`]; never the document, never empty.
    Block(usize),
}

impl<'a> Node<'a> {
    pub(super) fn word(&self) -> Option<&Word<'a>> {
        match self {
            Node::Word(word) => Some(word),
            Node::Block(_) => None,
        }
    }
}

/// A word with `;` that closed a `cap` or `macro` although it reads like a complete statement in it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Closing<'a> {
    /// `cap` or `macro`.
    pub(super) keyword: &'static str,
    /// The word that closed it.
    pub(super) word: Word<'a>,
}

/// The blocks of a source. Flat, so that deep nesting costs no stack.
#[derive(Debug)]
pub(super) struct Tree<'a> {
    blocks: Vec<Vec<Node<'a>>>,
    /// Where a bare action was taken for a complete statement.
    pub(super) leniencies: Vec<Place>,
    pub(super) closings: Vec<Closing<'a>>,
    /// The word that opened a block which is lost, with all blocks in it, because at the end of the source the innermost
    /// block was open and empty.
    pub(super) lost: Option<Word<'a>>,
}

impl<'a> Tree<'a> {
    /// The outermost block.
    pub(super) fn document(&self) -> &[Node<'a>] {
        &self.blocks[0]
    }

    /// The elements of a block.
    pub(super) fn block(&self, number: usize) -> &[Node<'a>] {
        &self.blocks[number]
    }

    /// The word itself, or the first word of the block.
    pub(super) fn first_word(&self, node: &Node<'a>) -> Option<Word<'a>> {
        let mut node = *node;
        loop {
            match node {
                Node::Word(word) => return Some(word),
                Node::Block(number) => node = *self.blocks[number].first()?,
            }
        }
    }
}

/// Builds the tree; `lenient` takes bare actions for complete statements where the reference is bound to fail.
pub(super) fn tree<'a>(words: &[Word<'a>], lenient: bool) -> Tree<'a> {
    let mut tree =
        Tree { blocks: vec![Vec::new()], leniencies: Vec::new(), closings: Vec::new(), lost: None };
    // Open blocks with the words that opened them; the document is opened by nothing.
    let mut stack: Vec<(usize, Option<Word<'a>>)> = vec![(0, None)];
    let mut next_word = 0;
    for (index, word) in words.iter().enumerate() {
        let depth = stack.len();
        let (top, opener) = *stack.last().expect("the document is never closed");
        if !word.text.is_empty() {
            tree.blocks[top].push(Node::Word(*word));
        }
        if !word.finished {
            break;
        }
        let rest = &words[index + 1..];
        // A program may consist of `;` alone, so what follows them is found only once.
        if next_word <= index {
            next_word = words
                .iter()
                .skip(index + 1)
                .position(|word| !word.text.is_empty())
                .map_or(words.len(), |at| index + 1 + at);
        }
        let next = words.get(next_word);
        if word.ends && depth > 1 && !tree.blocks[top].is_empty() {
            stack.pop();
            let (parent, _) = *stack.last().expect("the document is below");
            tree.blocks[parent].push(Node::Block(top));
            note_closing(&mut tree, opener, word, rest);
        } else if word.text.is_empty() {
            let bare = opener.filter(|opener| is_bare(opener.text) && tree.blocks[top].is_empty());
            if let Some(opener) = bare
                && lenient
                && begins_statement(next, depth > 2)
            {
                stack.pop();
                tree.leniencies.push(opener.place);
            }
        } else if names::opens_block(word.text) {
            if lenient && word.ends && depth == 1 && is_bare(word.text) && begins_statement(next, false) {
                tree.leniencies.push(word.place);
                continue;
            }
            stack.push((tree.blocks.len(), Some(*word)));
            tree.blocks.push(Vec::new());
        }
    }
    while let [.., (parent, _), (top, _)] = stack[..]
        && !tree.blocks[top].is_empty()
    {
        stack.pop();
        tree.blocks[parent].push(Node::Block(top));
    }
    tree.lost = stack
        .iter()
        .skip(1)
        .find(|(block, _)| !tree.blocks[*block].is_empty())
        .and_then(|(_, opener)| *opener);
    tree
}

/// Whether an action can do without operands.
pub(super) fn is_bare(text: &str) -> bool {
    action_row(text).is_some_and(|row| row.syntax == Syntax::Plain)
}

/// Whether the next word that is more than a `;` can only be the beginning of a statement or definition, or, for
/// `inside` a definition, whether nothing but its end follows.
fn begins_statement(next: Option<&Word<'_>>, inside: bool) -> bool {
    match next {
        None => inside,
        Some(word) => {
            let text = word.text.to_lowercase();
            action_row(&text).is_some()
                || matches!(text.as_str(), "include" | "macro" | "tag" | "cap")
                || inside && matches!(text.as_str(), "id" | "default")
        }
    }
}

/// Remembers a `cap` or `macro` closed by a word that was hardly meant to: more of it seems to follow.
fn note_closing<'a>(tree: &mut Tree<'a>, opener: Option<Word<'a>>, word: &Word<'a>, rest: &[Word<'a>]) {
    let (Some(opener), Some(next)) = (opener, rest.first()) else { return };
    let keyword = match opener.text {
        "cap" => "cap",
        "macro" => "macro",
        _ => return,
    };
    // A `;` alone right behind is the usual way to write the end, and so is what follows on a line of its own without
    // more indentation than the definition.
    let outdented = next.place.line > word.place.line && next.place.column <= opener.place.column;
    if word.text.is_empty()
        || next.text.is_empty()
        || outdented
        || matches!(next.text, "macro" | "tag" | "cap")
    {
        return;
    }
    tree.closings.push(Closing { keyword, word: *word });
}
