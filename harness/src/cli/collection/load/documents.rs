//! Documents, a JSON object on each line.

use std::{
    fs::File,
    io::{BufRead, BufReader, Lines},
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result, anyhow};
use nearlab_storage::metadata::{Document, Schema};
use serde_json::Value;

/// A file of documents, read once from the beginning to the end.
pub(super) struct Documents {
    path: PathBuf,
    lines: Lines<BufReader<File>>,
    line: usize,
    schema: Schema,
}

impl Documents {
    /// Opens a file, and counts its lines.
    pub(super) fn open(path: &Path, schema: Schema) -> Result<(Self, usize)> {
        let open = || File::open(path).with_context(|| format!("cannot open {}", path.display()));
        let count = count(BufReader::new(open()?)).with_context(|| format!("cannot read {}", path.display()))?;
        let lines = BufReader::new(open()?).lines();
        Ok((Self { path: path.to_owned(), lines, line: 0, schema }, count))
    }

    /// The next documents.
    pub(super) fn take(&mut self, count: usize) -> Result<Vec<Document>> {
        (0..count).map(|_| self.next()).collect()
    }

    fn next(&mut self) -> Result<Document> {
        self.line += 1;
        let place = format!("{}:{}", self.path.display(), self.line);
        let line = self.lines.next().with_context(|| format!("{place}: expected a document, found the end"))?;
        let line = line.with_context(|| format!("{place}: cannot read a document"))?;
        let json: Value = serde_json::from_str(&line)
            .map_err(|error| anyhow!("{place}:{}: expected a JSON object: {}", error.column(), reason(&error)))?;
        Document::from_json(&self.schema, &json).map_err(|error| anyhow!("{place}: {error}"))
    }
}

/// What the parser says, without the line, which is always the first.
fn reason(error: &serde_json::Error) -> String {
    let text = error.to_string();
    text.split(" at line ").next().unwrap_or_default().to_owned()
}

/// Lines; one that nothing ends counts too.
fn count(mut reader: impl BufRead) -> std::io::Result<usize> {
    let (mut lines, mut open) = (0, false);
    loop {
        let piece = reader.fill_buf()?;
        let Some(last) = piece.last() else { break };
        open = *last != b'\n';
        lines += piece.split(|&byte| byte == b'\n').count() - 1;
        let length = piece.len();
        reader.consume(length);
    }
    Ok(lines + usize::from(open))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_that_nothing_ends_counts() {
        for (text, lines) in [("", 0), ("a", 1), ("a\n", 1), ("a\nb", 2), ("\n\n", 2)] {
            assert_eq!(count(text.as_bytes()).unwrap(), lines, "{text:?}");
        }
    }
}
