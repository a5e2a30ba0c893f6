//! The commands that pages of the manual show.

/// The commands of the tool in a page's blocks of shell, one line each. Comments and what is done with the output are left out.
pub fn commands(page: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut inside = false;
    let mut line = String::new();
    for part in page.lines() {
        if part.trim_start().starts_with("```") {
            inside = !inside && part.trim_start() == "```sh";
            continue;
        }
        if !inside {
            continue;
        }
        line.push_str(part.trim());
        if line.ends_with('\\') {
            line.pop();
            continue;
        }
        let whole = std::mem::take(&mut line);
        let command = whole.strip_prefix("sudo ").unwrap_or(&whole);
        if command.starts_with("ztnode-cli ") {
            found.push(first_command(command));
        }
    }
    found
}

/// Up to a comment, a pipe or a redirection outside of quotes.
fn first_command(line: &str) -> String {
    let mut quote = None;
    let mut before = ' ';
    let mut end = line.len();
    for (place, c) in line.char_indices() {
        match (quote, c) {
            (Some(open), c) if c == open => quote = None,
            (None, '\'' | '"') => quote = Some(c),
            (None, '|' | '<' | '>' | ';' | '&') => end = place,
            (None, '#') if before == ' ' => end = place,
            _ => {}
        }
        if end < line.len() {
            break;
        }
        before = c;
    }
    line[..end].trim().to_owned()
}
