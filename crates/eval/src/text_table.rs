//! Tables of text.

/// Rows of cells. The first column is left-aligned, the others are right-aligned.
pub fn aligned(rows: &[Vec<String>]) -> String {
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let width = |column: usize| {
        let cells = rows.iter().filter_map(|row| row.get(column));
        cells.map(|cell| cell.chars().count()).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..columns).map(width).collect();
    let mut text = String::new();
    for row in rows {
        let cells = row.iter().zip(&widths).enumerate();
        let cells = cells.map(|(column, (cell, width))| {
            // The width of a formatted text is limited.
            let padding = " ".repeat(width - cell.chars().count());
            match column {
                0 => format!("{cell}{padding}"),
                _ => format!("{padding}{cell}"),
            }
        });
        let line = cells.collect::<Vec<_>>().join("  ");
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_aligned_by_characters() {
        let cells = |cells: [&str; 2]| cells.map(ToOwned::to_owned).to_vec();
        let text = aligned(&[cells(["größe", "1"]), cells(["x", "200"])]);
        assert_eq!(text, "größe    1\nx      200\n");
    }
}
