//! Tables that fit on a terminal: every line within the width, the last column going on below itself.

use crate::output::paint;

/// The widest that a column other than the last may be.
const COLUMN_MAX: usize = 32;

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
        self.rows.push(cells.into_iter().collect());
    }

    /// The table as text, each line at most `width` columns wide.
    pub(crate) fn render(&self, width: usize) -> String {
        let columns = self.rows.first().map_or(0, Vec::len);
        let widest = |column: usize| {
            self.rows
                .iter()
                .filter_map(|row| row.get(column))
                .map(|cell| cell.chars().count())
                .max()
                .unwrap_or(0)
        };
        let widths: Vec<usize> = (0..columns)
            .map(|column| widest(column).min(COLUMN_MAX))
            .collect();
        let mut text = String::new();
        for row in &self.rows {
            let mut used = 0;
            let mut line = String::new();
            for (column, cell) in row.iter().enumerate() {
                if column + 1 == columns {
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
                let pad = room.saturating_sub(cell.chars().count());
                used += room;
                line.push_str(&if self.painted == Some(column) {
                    paint(&cell)
                } else {
                    cell
                });
                line.extend(std::iter::repeat_n(' ', pad));
                if used + 2 < width {
                    line.push_str("  ");
                    used += 2;
                }
            }
            text.push_str(line.trim_end());
            text.push('\n');
        }
        text
    }
}

/// At most `room` characters, with … where some are missing; control characters become spaces.
pub(crate) fn cut(text: &str, room: usize) -> String {
    let clean = |c: char| if c.is_control() { ' ' } else { c };
    if text.chars().count() <= room {
        return text.chars().map(clean).collect();
    }
    text.chars()
        .map(clean)
        .take(room.saturating_sub(1))
        .chain((room > 0).then_some('…'))
        .collect()
}

/// Breaks a text at spaces into lines of at most `room` characters; what is longer than a line is cut.
pub(crate) fn wrap(text: &str, room: usize) -> Vec<String> {
    let mut lines: Vec<String> = vec![String::new()];
    for word in text.split_whitespace() {
        let word = cut(word, room);
        if let Some(last) = lines.last_mut() {
            if last.is_empty() {
                last.push_str(&word);
                continue;
            }
            if last.chars().count() + 1 + word.chars().count() <= room {
                last.push(' ');
                last.push_str(&word);
                continue;
            }
        }
        lines.push(word);
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_line_is_wider_than_the_terminal() {
        let mut table = Table::new(&["COMPONENT", "CONDITION", "WHY"], None);
        table.row(["a".repeat(100), "down".to_owned(), "because ".repeat(30)]);
        table.row(["b".to_owned(), "unreachable".to_owned(), "é".repeat(200)]);
        for width in [20, 40, 80, 200] {
            for line in table.render(width).lines() {
                assert!(line.chars().count() <= width, "{width}: {line}");
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
    fn long_texts_wrap_at_spaces() {
        assert_eq!(wrap("one two three", 7), ["one two", "three"]);
        assert_eq!(wrap("incomprehensibility", 5), ["inco…"]);
    }
}
