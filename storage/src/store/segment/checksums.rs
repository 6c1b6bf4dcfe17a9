//! Comparing the rows of a segment with their checksums, and giving them checksums of whole blocks.

use xxhash_rust::xxh3::xxh3_64;

use super::{Held, Segment, block_rows, file_len};
use crate::store::StoreError;
use crate::store::log::Span;

impl Segment {
    /// Every span of rows that are not what was written.
    pub(in crate::store) fn damage(&self) -> impl Iterator<Item = StoreError> {
        let compare = |span| match &self.held {
            Held::Plain(_) => self.compare(span),
            Held::Packed(packed) => packed.compare(self.block_of(span), span.hash),
        };
        self.checksums().into_iter().filter_map(move |span| compare(span).err())
    }

    /// Whether rows of the span are what was written.
    pub(in crate::store) fn compare(&self, span: Span) -> Result<(), StoreError> {
        if let Held::Packed(packed) = &self.held {
            return packed.unpack(self.block_of(span), span.hash);
        }
        let found = xxh3_64(self.bytes(span.first..span.first + span.rows));
        if found == span.hash {
            return Ok(());
        }
        let offset = file_len(&self.stamp, span.first) as u64;
        let expected = format_args!("{} rows with checksum {:016x}", span.rows, span.hash);
        Err(StoreError::corrupt(&self.path, offset, expected, format_args!("{found:016x}")))
    }

    /// Whether the spans that hold some rows, which ascend, are what was written.
    pub(in crate::store) fn compare_holding(&self, rows: impl Iterator<Item = u32>) -> Result<(), StoreError> {
        let mut rows = rows.peekable();
        for span in self.checksums() {
            let mut holds = false;
            while rows.next_if(|&row| row < span.first + span.rows).is_some() {
                holds = true;
            }
            if holds {
                self.compare(span)?;
            }
        }
        Ok(())
    }

    /// The checksums of all rows, in order; blocks that came to be in pieces have one each afterwards.
    pub(in crate::store) fn blocks(&self) -> Vec<Span> {
        if matches!(self.held, Held::Packed(_)) {
            return self.checksums();
        }
        // Rows are read for this, and the lock is not held meanwhile, so that nobody waits who only wants figures. Whoever appends
        // has the writer's lock, as has who asks for this.
        let appended = self.appended().clone();
        let appended = self.joined(&appended);
        let opened = self.opened.iter().map(|opened| opened.span);
        let blocks = self.joined(&opened.chain(appended.iter().copied()).collect::<Vec<_>>());
        *self.appended() = appended;
        blocks
    }

    /// Makes one span of those that lie in one block.
    fn joined(&self, spans: &[Span]) -> Vec<Span> {
        let block = block_rows(self.row_bytes());
        let pieces = spans.chunk_by(|a, b| a.first / block == b.first / block);
        let mut joined = Vec::new();
        for pieces in pieces {
            let (first, last) = (pieces[0], pieces[pieces.len() - 1]);
            // A new checksum must not vouch for what an old one does not.
            if pieces.len() == 1 || pieces.iter().any(|&piece| self.compare(piece).is_err()) {
                joined.extend_from_slice(pieces);
                continue;
            }
            let rows = last.first + last.rows - first.first;
            let hash = xxh3_64(self.bytes(first.first..first.first + rows));
            joined.push(Span { rows, hash, ..first });
        }
        joined
    }

    fn checksums(&self) -> Vec<Span> {
        self.opened.iter().map(|opened| opened.span).chain(self.appended().iter().copied()).collect()
    }
}
