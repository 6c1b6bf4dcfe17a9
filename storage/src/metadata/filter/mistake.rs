//! What is wrong with a filter, and where.

use winnow::error::{AddContext, ParserError};
use winnow::stream::{Location, Stream};

/// The most characters of a line that an error shows before and after the place.
const SHOWN: usize = 60;

/// What is wrong, before it is known what the text around it looks like.
#[derive(Clone, Debug)]
pub(super) struct Mistake {
    /// In bytes from the start of the text.
    pub(super) offset: usize,
    pub(super) expected: String,
    /// Empty for the word that stands at the offset.
    pub(super) found: String,
}

impl Mistake {
    pub(super) fn new(offset: usize, expected: impl Into<String>, found: impl Into<String>) -> Self {
        Self { offset, expected: expected.into(), found: found.into() }
    }

    /// The error for a user: with column, line and caret.
    pub(super) fn within(self, text: &str) -> FilterError {
        let offset = self.offset.min(text.len());
        let start = text[..offset].rfind('\n').map_or(0, |newline| newline + 1);
        let end = text[offset..].find('\n').map_or(text.len(), |newline| offset + newline);
        let column = text[start..offset].chars().count() + 1;
        let clean = |c: char| if c.is_control() { ' ' } else { c };
        let (skipped, rest) = ((column - 1).saturating_sub(SHOWN), &text[start..end]);
        let mut shown: String = rest.chars().skip(skipped).take(column - skipped + SHOWN).map(clean).collect();
        let mut caret = column - 1 - skipped;
        if skipped > 0 {
            shown.insert_str(0, "...");
            caret += 3;
        }
        if rest.chars().nth(column + SHOWN).is_some() {
            shown.push_str("...");
        }
        FilterError {
            line: text[..start].matches('\n').count() + 1,
            column,
            expected: self.expected,
            found: self.found,
            shown: format!("  {shown}\n  {}^", " ".repeat(caret)),
        }
    }
}

impl<I: Stream + Location> ParserError<I> for Mistake {
    type Inner = Self;

    fn from_input(input: &I) -> Self {
        Self::new(input.current_token_start(), "", "")
    }

    fn into_inner(self) -> Result<Self, Self> {
        Ok(self)
    }
}

impl<I: Stream> AddContext<I, &'static str> for Mistake {
    /// The innermost context is what was expected.
    fn add_context(mut self, _: &I, _: &I::Checkpoint, expected: &'static str) -> Self {
        if self.expected.is_empty() {
            expected.clone_into(&mut self.expected);
        }
        self
    }
}

/// Why a text is no filter, or none of the schema. Printed, it shows the line with a caret.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected {expected}, found {found} at {}\n{shown}", place(*line, *column))]
pub struct FilterError {
    /// The line, from 1.
    pub line: usize,
    /// The column in that line, in characters from 1.
    pub column: usize,
    /// What should stand there.
    pub expected: String,
    /// What stands there.
    pub found: String,
    /// The line, or the part of it around the column, and under it a caret.
    pub shown: String,
}

fn place(line: usize, column: usize) -> String {
    if line == 1 { format!("column {column}") } else { format!("line {line}, column {column}") }
}
