//! A table of words, rendered as plain text, as Markdown, or by the HTML template.

use std::fmt::Write as _;

/// Heads and rows of equal length; columns marked `numeric` are set to the right.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Grid {
    /// Column heads.
    pub head: Vec<String>,
    /// Which columns hold numbers.
    pub numeric: Vec<bool>,
    /// Cells.
    pub rows: Vec<Vec<String>>,
}

impl Grid {
    /// An empty table; a head that begins with `#` marks a numeric column (the mark is taken off).
    pub fn new(heads: &[&str]) -> Self {
        Self {
            head: heads.iter().map(|head| head.trim_start_matches('#').to_owned()).collect(),
            numeric: heads.iter().map(|head| head.starts_with('#')).collect(),
            rows: Vec::new(),
        }
    }

    /// Adds a row. Panics when it has another length than the head.
    pub fn push(&mut self, row: Vec<String>) {
        assert_eq!(row.len(), self.head.len(), "a row needs as many cells as there are heads");
        self.rows.push(row);
    }

    /// Whether there are no rows.
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// Without the columns in which every cell is empty or a dash.
    #[must_use]
    pub fn without_empty_columns(mut self) -> Self {
        let says_something = |at: usize| self.rows.iter().any(|row| !matches!(row[at].as_str(), "" | "–"));
        let keep: Vec<bool> = (0..self.head.len()).map(|at| self.rows.is_empty() || says_something(at)).collect();
        let filter = |cells: &mut Vec<String>| {
            let mut at = 0;
            cells.retain(|_| {
                at += 1;
                keep[at - 1]
            });
        };
        filter(&mut self.head);
        self.rows.iter_mut().for_each(filter);
        let mut at = 0;
        self.numeric.retain(|_| {
            at += 1;
            keep[at - 1]
        });
        self
    }

    /// Aligned columns, two spaces apart, a rule under the heads.
    pub fn to_text(&self) -> String {
        let width = |at: usize| {
            let cells = self.rows.iter().map(|row| &row[at]).chain([&self.head[at]]);
            cells.map(|cell| cell.chars().count()).max().unwrap_or(0)
        };
        let widths: Vec<usize> = (0..self.head.len()).map(width).collect();
        let line = |cells: &[String]| {
            let mut out = String::new();
            for (at, cell) in cells.iter().enumerate() {
                let gap = if at == 0 { "" } else { "  " };
                let width = widths[at];
                let _ = if self.numeric[at] {
                    write!(out, "{gap}{cell:>width$}")
                } else {
                    write!(out, "{gap}{cell:<width$}")
                };
            }
            out.trim_end().to_owned() + "\n"
        };
        let rule: Vec<String> = widths.iter().map(|width| "-".repeat(*width)).collect();
        let body: String = self.rows.iter().map(|row| line(row)).collect();
        line(&self.head) + &line(&rule) + &body
    }

    /// A GitHub-flavoured Markdown table.
    pub fn to_markdown(&self) -> String {
        let line = |cells: Vec<String>| format!("| {} |\n", cells.join(" | "));
        let rule = self.numeric.iter().map(|numeric| if *numeric { "---:" } else { "---" }.to_owned()).collect();
        let escaped = |cells: &[String]| line(cells.iter().map(|cell| escape_markdown(cell)).collect());
        let body: String = self.rows.iter().map(|row| escaped(row)).collect();
        escaped(&self.head) + &line(rule) + &body
    }
}

/// Text as Markdown that shows exactly that text, on one line.
pub fn escape_markdown(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '\\' | '`' | '*' | '[' | ']' | '|' | '#' | '~' => {
                out.push('\\');
                out.push(character);
            }
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '&' => out.push_str("&amp;"),
            '\n' | '\r' => out.push(' '),
            other => out.push(other),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> Grid {
        let mut grid = Grid::new(&["index", "#qps", "note"]);
        grid.push(vec!["hnsw".into(), "12,345".into(), String::new()]);
        grid.push(vec!["a|b".into(), "7".into(), "–".into()]);
        grid
    }

    #[test]
    fn text_aligns_numbers_to_the_right() {
        assert_eq!(sample().to_text(), "index     qps  note\n-----  ------  ----\nhnsw   12,345\na|b         7  –\n");
    }

    #[test]
    fn markdown_escapes_the_bar() {
        assert!(sample().to_markdown().contains("| a\\|b | 7 | – |"));
        assert_eq!(escape_markdown("<b>*x*\n"), "&lt;b&gt;\\*x\\* ");
    }

    #[test]
    fn columns_that_say_nothing_go() {
        let grid = sample().without_empty_columns();
        assert_eq!(grid.head, ["index", "qps"]);
        assert_eq!(grid.rows[0].len(), 2);
        assert!(!grid.is_empty());
    }

    #[test]
    #[should_panic(expected = "as many cells")]
    fn a_short_row_is_a_mistake() {
        sample().push(vec![]);
    }
}
