//! What a bad experiment file is answered with: `file:line:column`, the line drawn with a caret, what was expected and
//! found, and the near miss. One screen, however many mistakes the file has.

use std::{
    fmt::{self, Write as _},
    path::{Path, PathBuf},
    sync::Arc,
};

/// Mistakes drawn in full; the rest are counted.
const SHOWN: usize = 3;
/// Widest stretch of a line that is drawn, in characters.
const WIDTH: usize = 100;
/// Longest list of expected or found text, in characters.
const TEXT: usize = 400;

/// A stretch of an experiment file. Lines and columns count from 1, in characters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Place {
    /// Line.
    pub line: usize,
    /// Column of the first character.
    pub column: usize,
    /// Characters; what goes beyond the line is not drawn.
    pub length: usize,
}

/// One mistake.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Diagnostic {
    /// Where; `None` when no place is to blame (an empty file).
    pub place: Option<Place>,
    /// What is wrong, in a sentence without a capital or a full stop.
    pub message: String,
    /// What would have been right.
    pub expected: Option<Box<str>>,
    /// What stands there.
    pub found: Option<Box<str>>,
    /// What to do, or the near miss.
    pub help: Option<Box<str>>,
}

impl Diagnostic {
    /// A mistake at a place.
    pub fn new(place: Place, message: impl Into<String>) -> Self {
        Self { place: Some(place), ..Self::nowhere(message) }
    }

    /// A mistake of the file as a whole.
    pub fn nowhere(message: impl Into<String>) -> Self {
        Self { place: None, message: message.into(), expected: None, found: None, help: None }
    }

    /// Adds what would have been right.
    #[must_use]
    pub fn expected(mut self, text: impl Into<String>) -> Self {
        self.expected = Some(text.into().into_boxed_str());
        self
    }

    /// Adds what stands there.
    #[must_use]
    pub fn found(mut self, text: impl Into<String>) -> Self {
        self.found = Some(text.into().into_boxed_str());
        self
    }

    /// Adds what to do.
    #[must_use]
    pub fn help(mut self, text: impl Into<String>) -> Self {
        self.help = Some(text.into().into_boxed_str());
        self
    }

    /// Adds `did you mean ...?` when there is a near miss.
    #[must_use]
    pub fn near_miss(self, near: Option<&str>) -> Self {
        match near {
            Some(name) => self.help(format!("did you mean `{name}`?")),
            None => self,
        }
    }
}

/// Why an experiment file cannot be used. `Display` is the whole text for a person.
#[derive(Debug, Clone, thiserror::Error)]
pub enum SpecError {
    /// The file could not be read.
    #[error("{}: cannot be read: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// Why.
        source: Arc<std::io::Error>,
    },
    /// The file says something that cannot be done.
    #[error("{}", draw(path, yaml, diagnostics))]
    Invalid {
        /// The file.
        path: PathBuf,
        /// Its text.
        yaml: Arc<str>,
        /// What is wrong with it, at least one, in the order of the file.
        diagnostics: Vec<Diagnostic>,
    },
}

impl SpecError {
    /// One mistake at one place.
    pub fn at(path: &Path, yaml: &str, place: Place, message: impl Into<String>) -> Self {
        Self::invalid(path, yaml, vec![Diagnostic::new(place, message)])
    }

    /// Several mistakes; sorts them by place.
    pub fn invalid(path: &Path, yaml: &str, mut diagnostics: Vec<Diagnostic>) -> Self {
        diagnostics.sort_by_key(|diagnostic| diagnostic.place);
        Self::Invalid { path: path.to_owned(), yaml: yaml.into(), diagnostics }
    }

    /// The mistakes; empty when the file could not be read.
    pub fn diagnostics(&self) -> &[Diagnostic] {
        match self {
            Self::Io { .. } => &[],
            Self::Invalid { diagnostics, .. } => diagnostics,
        }
    }
}

fn draw(path: &Path, yaml: &str, diagnostics: &[Diagnostic]) -> String {
    let mut out = String::new();
    for (i, diagnostic) in diagnostics.iter().take(SHOWN).enumerate() {
        if i > 0 {
            out.push('\n');
        }
        // Writing to a String cannot fail.
        let _ = draw_one(&mut out, path, yaml, diagnostic);
    }
    if diagnostics.len() > SHOWN {
        let _ = writeln!(out, "\n... and {} more in {}", diagnostics.len() - SHOWN, path.display());
    }
    out.truncate(out.trim_end().len());
    out
}

fn draw_one(out: &mut String, path: &Path, yaml: &str, diagnostic: &Diagnostic) -> fmt::Result {
    writeln!(out, "error: {}", shorten(&diagnostic.message))?;
    let margin = match diagnostic.place {
        None => {
            writeln!(out, "  --> {}", path.display())?;
            1
        }
        Some(place) => {
            let margin = place.line.to_string().len();
            writeln!(out, "{:margin$}--> {}:{}:{}", " ", path.display(), place.line, place.column)?;
            draw_line(out, yaml, place, margin)?;
            margin
        }
    };
    for (label, text) in [("expected", &diagnostic.expected), ("found", &diagnostic.found), ("help", &diagnostic.help)]
    {
        if let Some(text) = text {
            writeln!(out, "{:margin$} = {label}: {}", "", shorten(text))?;
        }
    }
    Ok(())
}

fn draw_line(out: &mut String, yaml: &str, place: Place, margin: usize) -> fmt::Result {
    let Some(line) = yaml.lines().nth(place.line.saturating_sub(1)) else { return Ok(()) };
    let printable: Vec<char> = line.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    let column = place.column.saturating_sub(1).min(printable.len());
    // A long line is drawn from a little before the caret.
    let start = if column >= WIDTH - 20 { column - 40 } else { 0 };
    let end = (start + WIDTH).min(printable.len());
    let text: String = printable[start..end].iter().collect();
    let (before, after) = (if start > 0 { "..." } else { "" }, if end < printable.len() { "..." } else { "" });
    let carets = "^".repeat(place.length.min(end.saturating_sub(column)).max(1));
    writeln!(out, "{:margin$} |", "")?;
    writeln!(out, "{:>margin$} | {before}{}{after}", place.line, text.trim_end())?;
    writeln!(out, "{:margin$} | {}{carets}", "", " ".repeat(before.len() + column - start))
}

fn shorten(text: &str) -> String {
    let clean: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    if clean.chars().count() <= TEXT {
        return clean;
    }
    clean.chars().take(TEXT).chain("...".chars()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(yaml: &str, line: usize, column: usize, length: usize) -> String {
        SpecError::at(Path::new("a.yaml"), yaml, Place { line, column, length }, "wrong").to_string()
    }

    #[test]
    fn the_caret_stands_under_the_place() {
        assert_eq!(error("k: [0]\n", 1, 5, 1), "error: wrong\n --> a.yaml:1:5\n  |\n1 | k: [0]\n  |     ^");
    }

    #[test]
    fn a_place_outside_the_text_is_named_but_not_drawn() {
        assert_eq!(error("k: 1", 9, 9, 9), "error: wrong\n --> a.yaml:9:9");
        assert!(error("k: 1", 1, 400, 9).contains('^'));
        assert!(error("", 0, 0, 0).contains("a.yaml:0:0"));
    }

    #[test]
    fn a_long_line_is_cut_around_the_caret() {
        let yaml = format!("{}x{}", "a".repeat(300), "b".repeat(300));
        let text = error(&yaml, 1, 301, 5000);
        assert!(text.contains("...aaaa"), "{text}");
        assert!(text.lines().all(|line| line.chars().count() < 120), "{text}");
    }

    #[test]
    fn only_the_first_mistakes_are_drawn_and_the_rest_counted() {
        let place = |line| Place { line, column: 1, length: 1 };
        let many = (1..=9).rev().map(|line| Diagnostic::new(place(line), format!("number {line}"))).collect();
        let text = SpecError::invalid(Path::new("a.yaml"), "a\nb\n", many).to_string();
        assert!(text.starts_with("error: number 1\n") && text.ends_with("... and 6 more in a.yaml"), "{text}");
    }

    #[test]
    fn a_mistake_of_the_whole_file_names_the_file_and_keeps_control_characters_out() {
        let nowhere = Diagnostic::nowhere("bad\u{1b}[2J").expected("x".repeat(999)).near_miss(Some("good")).found("y");
        let error = SpecError::invalid(Path::new("a.yaml"), "", vec![nowhere]);
        let text = error.to_string();
        assert!(text.contains("  --> a.yaml") && text.contains("did you mean `good`?"), "{text}");
        assert!(!text.contains('\u{1b}') && text.len() < 600, "{text}");
        assert_eq!(error.diagnostics().len(), 1);
    }
}
