//! All-pairs tables.

/// A square table: rows are senders, columns receivers; cells right-justified.
pub(crate) fn render(corner: &str, names: &[&str], cell: impl Fn(usize, usize) -> String) -> String {
    let cells: Vec<Vec<String>> =
        (0..names.len()).map(|row| (0..names.len()).map(|column| cell(row, column)).collect()).collect();
    let widest =
        cells.iter().flatten().map(String::len).chain(names.iter().map(|n| n.len())).max().unwrap_or(0);
    let first = names.iter().map(|n| n.len()).chain([corner.len()]).max().unwrap_or(0);
    let mut text = format!("{corner:<first$}");
    for name in names {
        text.push_str(&format!("  {name:>widest$}"));
    }
    text.push('\n');
    for (name, row) in names.iter().zip(&cells) {
        text.push_str(&format!("{name:<first$}"));
        for cell in row {
            text.push_str(&format!("  {cell:>widest$}"));
        }
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    #[test]
    fn columns_line_up() {
        let text = super::render("ms", &["a", "long"], |r, c| format!("{r}{c}"));
        assert_eq!(text, "ms       a  long\na       00    01\nlong    10    11\n");
    }
}
