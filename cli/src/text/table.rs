//! Plain tables: columns padded to their widest cell, two blanks between them.

/// Lays out `rows` under `headers`. The last column is never padded, so no line ends in blanks.
pub fn layout<const N: usize>(headers: [&str; N], rows: &[[String; N]]) -> String {
    let mut widths = headers.map(|header| header.chars().count());
    for row in rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.chars().count());
        }
    }
    let mut text = String::new();
    let mut push = |cells: &[String; N]| {
        let mut line = String::new();
        for (cell, width) in cells.iter().zip(widths) {
            line.push_str(&format!("{cell:<width$}  "));
        }
        text.push_str(line.trim_end());
        text.push('\n');
    };
    push(&headers.map(str::to_owned));
    rows.iter().for_each(&mut push);
    text
}

#[cfg(test)]
mod tests {
    #[test]
    fn columns_are_as_wide_as_their_widest_cell() {
        let rows = [["a".to_owned(), "déjà".to_owned()], ["long one".to_owned(), String::new()]];
        assert_eq!(super::layout(["X", "Y"], &rows), "X         Y\na         déjà\nlong one\n");
    }
}
