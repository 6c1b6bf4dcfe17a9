//! Compaction: rows that still count move together, and the room of the others is given back.

use std::collections::BTreeSet;
use std::sync::{Arc, PoisonError};

use super::relocate::{Form, Victims};
use super::segment::Segment;
use super::{StoreError, VectorStore};

/// Which segments are compacted.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct CompactOptions {
    /// Those of whose rows at least this share, above 0 and up to 1, does not count any more, or never did.
    pub min_dead: f64,
}

impl Default for CompactOptions {
    /// A fifth.
    fn default() -> Self {
        Self { min_dead: 0.2 }
    }
}

/// What a compaction did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Compacted {
    /// Segments that are no more.
    pub segments: usize,
    /// Rows that moved.
    pub moved: u64,
    /// Bytes of rows that were given back, with what interrupted changes left after those that were theirs.
    pub freed_bytes: u64,
}

impl VectorStore {
    /// Gives back the room of rows that do not count any more. Nothing that a reader sees changes, and slots stay. A second
    /// call waits for the first, and for [`pack`](Self::pack). What is left of packed segments is packed no more.
    pub fn compact(&self, options: &CompactOptions) -> Result<Compacted, StoreError> {
        if !(options.min_dead > 0.0 && options.min_dead <= 1.0) {
            return Err(StoreError::param("min_dead", "above 0 and up to 1", options.min_dead));
        }
        let _one = self.compacting.lock().unwrap_or_else(PoisonError::into_inner);
        let victims = self.dying(*options)?;
        let relocated = self.relocate(&victims, Form::Plain)?;
        let freed_bytes = (relocated.rows - relocated.moved) * self.meta.shape.row_bytes() as u64;
        Ok(Compacted { segments: victims.numbers.len(), moved: relocated.moved, freed_bytes })
    }

    /// The segments to compact.
    fn dying(&self, options: CompactOptions) -> Result<Victims, StoreError> {
        let mut writer = self.lock_writer()?;
        writer.check(self)?;
        let view = Arc::clone(&self.read_view());
        let mut live = vec![0_u64; view.segments.len()];
        for (_, known) in view.live() {
            let at = view.segments.binary_search_by_key(&known.place.segment, |segment| segment.number());
            live[at.expect("a place lies in a segment of its view")] += 1;
        }
        let dead = |(segment, live): &(&Arc<Segment>, u64)| {
            let rows = segment.rows_of_file();
            let grows = writer.active.as_ref().is_some_and(|active| active.number() == segment.number());
            // One without rows was left by a change that failed.
            let empty = segment.rows() == 0 && !grows;
            empty || *live < rows && (rows - live) as f64 >= options.min_dead * rows as f64
        };
        let counted = view.segments.iter().zip(live);
        let numbers: BTreeSet<u32> = counted.filter(dead).map(|(segment, _)| segment.number()).collect();
        let grown = writer.active.take_if(|active| numbers.contains(&active.number()));
        Ok(Victims { view, numbers, grown })
    }
}
