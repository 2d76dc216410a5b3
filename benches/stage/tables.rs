//! Tables in Markdown, whose columns are even where they are read as text.

/// A Markdown table whose columns stand below each other, so that it can be read on a terminal too.
pub fn table(head: &[&str], rows: &[Vec<String>]) -> String {
    let length = |text: &str| text.chars().count();
    let width = |column: usize| {
        let cells = rows.iter().filter_map(|row| row.get(column)).map(|cell| length(cell));
        cells.chain([length(head[column]), 1]).max().unwrap_or_default()
    };
    let widths: Vec<_> = (0..head.len()).map(width).collect();
    let line = |cells: Vec<&str>| {
        let padded =
            cells.iter().zip(&widths).map(|(cell, width)| format!("{cell}{}", " ".repeat(width - length(cell))));
        format!("| {} |\n", padded.collect::<Vec<_>>().join(" | "))
    };
    let rule = widths.iter().map(|width| "-".repeat(width + 2)).collect::<Vec<_>>().join("|");
    let body: String = rows.iter().map(|row| line(row.iter().map(String::as_str).collect())).collect();
    format!("{}|{rule}|\n{body}", line(head.to_vec()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_has_even_columns() {
        let rows = vec![vec!["µs".to_owned(), "1".to_owned()], vec!["a".to_owned(), "–".to_owned()]];
        assert_eq!(table(&["", "ab"], &rows), "|    | ab |\n|----|----|\n| µs | 1  |\n| a  | –  |\n");
    }
}
