//! Tables for people.

use std::fmt;

use comfy_table::{CellAlignment, Table, presets};
use lrmf_core::text::one_line;

/// A table without lines. What is in a cell is shown on one line, whatever a user put there.
pub(crate) struct Listing(Table);

impl Listing {
    /// A table with these names of columns.
    pub(crate) fn new<const N: usize>(names: [&str; N]) -> Self {
        let mut table = Table::new();
        table.load_style(presets::NOTHING).set_header(names);
        Self(table)
    }

    /// Adds a row.
    pub(crate) fn row(&mut self, cells: impl IntoIterator<Item = String>) {
        self.0.add_row(cells.into_iter().map(|cell| one_line(&cell).into_owned()));
    }

    /// Puts numbers under each other.
    pub(crate) fn align_right(&mut self, columns: &[usize]) {
        for column in columns {
            if let Some(column) = self.0.column_mut(*column) {
                column.set_cell_alignment(CellAlignment::Right);
            }
        }
    }
}

impl fmt::Display for Listing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.trim_fmt())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cell_is_one_line_and_steers_nothing() {
        let mut listing = Listing::new(["name", "n"]);
        listing.row(["evil\n\x1b]0;title\x07 1".to_owned(), "2".to_owned()]);
        listing.align_right(&[1]);
        let shown = listing.to_string();
        assert_eq!(shown.lines().count(), 2, "{shown}");
        assert!(shown.contains("evil\\n\\x1b]0;title\\x07 1") && !shown.contains('\x1b'), "{shown}");
    }
}
