//! Tables for people: columns as wide as what is in them.

use std::fmt;

use anstyle::Style;

use crate::cli::output::harmless;

const HEAD: Style = Style::new().dimmed();

/// A column's head, and on which side its cells stand.
#[derive(Clone, Copy)]
pub(super) enum Column {
    /// Words.
    Left(&'static str),
    /// Numbers.
    Right(&'static str),
}

/// Rows under their heads. What comes into a cell is made harmless.
pub(super) struct Table<const N: usize> {
    columns: [Column; N],
    rows: Vec<[String; N]>,
}

impl<const N: usize> Table<N> {
    pub(super) fn new(columns: [Column; N]) -> Self {
        Self { columns, rows: Vec::new() }
    }

    pub(super) fn push(&mut self, row: [String; N]) {
        // Tabs would put the rest of the row anywhere.
        self.rows.push(row.map(|cell| harmless(&cell.replace('\t', " "))));
    }

    pub(super) fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    fn line(&self, cells: [&str; N], widths: [usize; N]) -> String {
        let mut line = String::new();
        for ((cell, column), width) in cells.into_iter().zip(self.columns).zip(widths) {
            let padding = " ".repeat(width - cell.chars().count());
            match column {
                Column::Left(_) => line.extend([cell, &padding]),
                Column::Right(_) => line.extend([&padding, cell]),
            }
            line.push_str("  ");
        }
        line.truncate(line.trim_end().len());
        line
    }
}

impl Column {
    fn head(self) -> &'static str {
        match self {
            Column::Left(head) | Column::Right(head) => head,
        }
    }
}

impl<const N: usize> fmt::Display for Table<N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let heads = self.columns.map(Column::head);
        let mut widths = heads.map(|head| head.chars().count());
        for row in &self.rows {
            for (width, cell) in widths.iter_mut().zip(row) {
                *width = (*width).max(cell.chars().count());
            }
        }
        writeln!(f, "{HEAD}{}{HEAD:#}", self.line(heads, widths))?;
        self.rows
            .iter()
            .try_for_each(|row| writeln!(f, "{}", self.line(row.each_ref().map(String::as_str), widths)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_stand_under_their_heads() {
        let mut table = Table::new([Column::Right("ID"), Column::Left("WHO"), Column::Left("WHEN")]);
        table.push(["7".to_owned(), "grün".to_owned(), String::new()]);
        table.push(["1234".to_owned(), "a\tb\u{1b}[2J\n".to_owned(), "now".to_owned()]);
        let plain = anstream::adapter::strip_str(&table.to_string()).to_string();
        assert_eq!(
            plain,
            "  ID  WHO               WHEN\n   7  grün\n1234  a b\\u{1b}[2J\\n  now\n"
                .replace("  WHEN", "WHEN")
        );
    }
}
