//! Man pages made of pages of the manual: the part of Markdown that those use, as roff.

use std::fmt::Write as _;

/// The page `name`(`section`): `about` in a line, and these chapters of a page in Markdown. `chapter` names the heading that it
/// begins with (its text without the marks), or `None` for the whole page.
pub(crate) fn page(name: &str, section: u8, about: &str, markdown: &str, chapter: Option<&str>) -> String {
    let mut out = format!(
        ".TH \"{name}\" \"{section}\" \"\" \"ztnode {}\" \"ztnode\"\n.SH NAME\n{name} \\- {}\n",
        env!("CARGO_PKG_VERSION"),
        escaped(about)
    );
    let mut level = 0;
    let mut inside = chapter.is_none();
    let mut code = false;
    let mut text = String::new();
    let mut lines = markdown.lines().peekable();
    while let Some(line) = lines.next() {
        if !code && line.starts_with('#') {
            let depth = line.chars().take_while(|c| *c == '#').count();
            let title = line[depth..].trim();
            if let Some(chapter) = chapter {
                if plain(title) == chapter {
                    (inside, level) = (true, depth);
                } else if inside && depth <= level {
                    break;
                }
            }
            if inside {
                flush(&mut text, &mut out);
                let title = if chapter.is_some_and(|chapter| plain(title) == chapter) || depth == 1 {
                    "DESCRIPTION".to_owned()
                } else {
                    plain(title)
                };
                let heading = if depth <= level.max(1) + 1 { "SH" } else { "SS" };
                // Writing to a string cannot fail, here and below.
                let _ = writeln!(out, ".{heading} \"{}\"", escaped(&title).replace('"', "\\(dq"));
            }
            continue;
        }
        if !inside {
            continue;
        }
        if line.trim_start().starts_with("```") {
            flush(&mut text, &mut out);
            code = !code;
            out.push_str(if code { ".PP\n.RS 4\n.nf\n" } else { ".fi\n.RE\n" });
        } else if code {
            let _ = writeln!(out, "{}", escaped(line));
        } else if let Some(row) = line.strip_prefix('|') {
            flush(&mut text, &mut out);
            // The names of the columns stand above a rule.
            if lines.next_if(|next| is_rule(next)).is_none() {
                table_row(row, &mut out);
            }
        } else if let Some(item) = line.strip_prefix("* ").or_else(|| line.strip_prefix("- ")) {
            flush(&mut text, &mut out);
            out.push_str(".IP \\(bu 2\n");
            text.push_str(item);
        } else if line.trim().is_empty() {
            flush(&mut text, &mut out);
            out.push_str(".PP\n");
        } else {
            if !text.is_empty() {
                text.push(' ');
            }
            text.push_str(line.trim());
        }
    }
    flush(&mut text, &mut out);
    out.push_str(".SH SEE ALSO\n.BR ztnode (8),\n.BR ztnode-cli (1)\n");
    out
}

fn flush(text: &mut String, out: &mut String) {
    if !text.is_empty() {
        let _ = writeln!(out, "{}", marked(text));
        text.clear();
    }
}

/// A row as a tagged paragraph: the first cell, and what stands in the others below it.
fn table_row(row: &str, out: &mut String) {
    let cells: Vec<&str> = row.trim_end().trim_end_matches('|').split(" | ").map(str::trim).collect();
    let Some((first, rest)) = cells.split_first() else { return };
    let rest: Vec<String> = rest.iter().filter(|cell| !cell.is_empty()).map(|cell| marked(cell)).collect();
    let _ = writeln!(out, ".TP\n{}\n{}", marked(first), rest.join(". "));
}

fn is_rule(line: &str) -> bool {
    line.starts_with('|') && line.chars().all(|c| matches!(c, '-' | ':' | '|' | ' '))
}

/// Text with its links as text, and code in bold.
fn marked(text: &str) -> String {
    let mut out = String::new();
    let mut bold = false;
    for part in unlinked(text).split('`') {
        out.push_str(if bold { "\\fB" } else { "" });
        out.push_str(&escaped(&if bold { part.to_owned() } else { part.replace('*', "") }));
        out.push_str(if bold { "\\fR" } else { "" });
        bold = !bold;
    }
    // A line that began so would be a command.
    if out.starts_with(['.', '\'']) { format!("\\&{out}") } else { out }
}

fn plain(text: &str) -> String {
    unlinked(text).replace(['`', '*'], "")
}

fn unlinked(text: &str) -> String {
    let mut out = String::new();
    let mut rest = text;
    while let Some(middle) = rest.find("](") {
        let (Some(open), Some(length)) = (rest[..middle].rfind('['), rest[middle..].find(')')) else { break };
        out.push_str(&rest[..open]);
        out.push_str(&rest[open + 1..middle]);
        rest = &rest[middle + length + 1..];
    }
    out.push_str(rest);
    out
}

fn escaped(text: &str) -> String {
    let text = text.replace('\\', "\\e").replace('-', "\\-");
    if text.starts_with(['.', '\'']) { format!("\\&{text}") } else { text }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_manual_uses_of_markdown() {
        let markdown = "# Title\n\nText with `code` and a [link](x.md).\n\n## Chapter `a`\n\n| key | meaning |\n|---|---|\n| `b` | \
                        does b |\n\n```\n.x -y\n```\n\n### Below\n\n* one\n  more\n\n## Other\n\nnot this\n";
        let whole = page("x", 7, "about", markdown, None);
        assert!(whole.contains(".SH \"DESCRIPTION\"\n.PP\nText with \\fBcode\\fR and a link.\n"), "{whole}");
        let part = page("x", 5, "about", markdown, Some("Chapter a"));
        for piece in [
            ".SH NAME\nx \\- about\n.SH \"DESCRIPTION\"\n",
            ".TP\n\\fBb\\fR\ndoes b\n",
            ".nf\n\\&.x \\-y\n.fi\n",
            ".SH \"Below\"\n.PP\n.IP \\(bu 2\none more\n",
        ] {
            assert!(part.contains(piece), "{piece}{part}");
        }
        assert!(!part.contains("meaning"), "{part}");
        assert!(!part.contains("not this") && !part.contains("Text with"), "{part}");
    }
}
