//! Tables that fit on a terminal: every line within the width, the last column going on below itself.

use crate::output::paint;
use crate::text::{clean, columns, cut, wrap};

/// The widest that a column other than the last may be.
const COLUMN_MAX: usize = 32;

/// What a column is never narrower than for the sake of the last one.
const COLUMN_MIN: usize = 8;

/// What the last column gets, if it needs it: words must fit in it.
const LAST_COLUMN_MIN: usize = 24;

/// Spaces between two columns.
const GAP: usize = 2;

/// The most lines that the last column of a row takes.
const LINES_MAX: usize = 3;

/// A table of text.
#[derive(Debug, Default)]
pub(crate) struct Table {
    rows: Vec<Vec<String>>,
    /// The column whose words are coloured.
    painted: Option<usize>,
}

impl Table {
    /// A table with these headings.
    pub(crate) fn new(headings: &[&str], painted: Option<usize>) -> Self {
        Self {
            rows: vec![headings.iter().map(ToString::to_string).collect()],
            painted,
        }
    }

    /// Adds a row with as many cells as there are headings.
    pub(crate) fn row(&mut self, cells: impl IntoIterator<Item = String>) {
        let clean = |cell: String| cell.chars().map(clean).collect();
        self.rows.push(cells.into_iter().map(clean).collect());
    }

    /// The table as text, each line at most `width` columns wide.
    pub(crate) fn render(&self, width: usize) -> String {
        let count = self.rows.first().map_or(0, Vec::len);
        let widest = |column: usize| {
            self.rows
                .iter()
                .filter_map(|row| row.get(column))
                .map(|cell| columns(cell))
                .max()
                .unwrap_or(0)
        };
        let last = count.saturating_sub(1);
        let mut widths: Vec<usize> = (0..last)
            .map(|column| widest(column).min(COLUMN_MAX))
            .collect();
        fit(
            &mut widths,
            width.saturating_sub(widest(last).min(LAST_COLUMN_MIN)),
        );
        let mut text = String::new();
        for row in &self.rows {
            let mut used = 0;
            let mut line = String::new();
            for (column, cell) in row.iter().enumerate() {
                if column == last {
                    if used >= width {
                        break;
                    }
                    let mut lines = wrap(cell, width - used);
                    if lines.len() > LINES_MAX {
                        let rest = lines.split_off(LINES_MAX - 1).join(" ");
                        lines.push(cut(&rest, width - used));
                    }
                    line.push_str(&lines.join(&format!("\n{}", " ".repeat(used))));
                    break;
                }
                let room = widths[column].min(width.saturating_sub(used));
                let cell = cut(cell, room);
                let pad = room.saturating_sub(columns(&cell));
                used += room;
                line.push_str(&if self.painted == Some(column) {
                    paint(&cell)
                } else {
                    cell
                });
                line.extend(std::iter::repeat_n(' ', pad));
                if used + GAP < width {
                    line.extend(std::iter::repeat_n(' ', GAP));
                    used += GAP;
                }
            }
            text.push_str(line.trim_end());
            text.push('\n');
        }
        text
    }
}

/// Makes the widest columns narrower until all of them, with a gap behind each, fit into `room`.
fn fit(widths: &mut [usize], room: usize) {
    while widths.iter().map(|width| width + GAP).sum::<usize>() > room {
        match widths.iter_mut().max() {
            Some(widest) if *widest > COLUMN_MIN => *widest -= 1,
            _ => return,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn no_line_is_wider_than_the_terminal() {
        let mut table = Table::new(&["COMPONENT", "CONDITION", "WHY"], None);
        table.row(["a".repeat(100), "down".to_owned(), "because ".repeat(30)]);
        table.row(["b".to_owned(), "unreachable".to_owned(), "é".repeat(200)]);
        for width in [20, 40, 80, 200] {
            for line in table.render(width).lines() {
                assert!(columns(line) <= width, "{width}: {line}");
            }
        }
    }

    #[test]
    fn columns_stand_below_each_other() {
        let mut table = Table::new(&["ID", "IS"], None);
        table.row(["long-id".to_owned(), "up".to_owned()]);
        assert_eq!(table.render(80), "ID       IS\nlong-id  up\n");
    }

    #[test]
    fn wide_characters_take_two_columns() {
        let mut table = Table::new(&["ID", "IS"], None);
        table.row(["データ".to_owned(), "up".to_owned()]);
        assert_eq!(table.render(80), "ID      IS\nデータ  up\n");
    }

    #[test]
    fn the_last_column_gets_room_where_it_needs_it() {
        let mut table = Table::new(&["HOST", "SINCE", "NOTES"], None);
        let cells = [
            "h".repeat(40),
            "s".repeat(31),
            "4711 results dropped from a full spool".to_owned(),
        ];
        table.row(cells.clone());
        let text = table.render(60);
        assert!(text.contains("4711 results dropped"), "{text}");
        let mut table = Table::new(&["HOST", "SINCE", "NOTES"], None);
        table.row([cells[0].clone(), cells[1].clone(), String::new()]);
        assert!(
            table.render(72).contains(&"s".repeat(31)),
            "nothing is cut for nothing"
        );
    }

    proptest! {
        #[test]
        fn no_line_of_any_table_is_wider_than_the_terminal(
            rows in proptest::collection::vec(("\\PC{0,50}", "\\PC{0,50}", "[a-zé ]{0,200}|\\PC{0,80}"), 1..5),
            width in 20_usize..120,
        ) {
            let mut table = Table::new(&["COMPONENT", "CONDITION", "WHY"], None);
            for (a, b, c) in rows {
                table.row([a, b, c]);
            }
            for line in table.render(width).lines() {
                prop_assert!(columns(line) <= width, "{width}: {line:?}");
            }
        }
    }
}
