//! Filters to slots, and to estimates of how many.

use std::cell::OnceCell;

use redb::{ReadOnlyTable, ReadTransaction, ReadableTable};
use roaring::RoaringBitmap;

use super::{DOCUMENTS, MetadataSnapshot};
use crate::metadata::encoding::read;
use crate::metadata::error::{Fault, ReadError};
use crate::metadata::filter::{Filter, Node};
use crate::metadata::index::key::each_key;
use crate::metadata::index::range::{CountEstimate, IndexReader, KeyRange, complement};
use crate::metadata::index::{PRESENCE, RECORD, presence_key};
use crate::metadata::schema::{FieldKind, Schema};

/// Reading one document costs about as much as taking this many slots from an index.
const SLOTS_PER_DOCUMENT: u64 = 256;
/// Reading all documents in their order costs about as much as seeking one in this many.
const SCANNED_PER_SOUGHT: u64 = 4;

/// How many records a filter finds, as far as the statistics tell.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Estimate {
    /// All records there are.
    pub records: u64,
    /// No fewer than these are found.
    pub low: u64,
    /// No more than these are found.
    pub high: u64,
    /// The guess: predicates are taken to be independent, and keys and slots to be spread evenly within a block of an index.
    /// Without an index, one in ten is taken to be equal and one in three to lie in a range (Selinger et al., SIGMOD 1979).
    pub expected: f64,
}

impl Estimate {
    /// The guess as a share of all records; 0 when there are none.
    pub fn expected_fraction(&self) -> f64 {
        if self.records == 0 { 0.0 } else { self.expected / self.records as f64 }
    }
}

impl MetadataSnapshot<'_> {
    /// The slots of the records that a filter finds. Fields with an index cost no more than half of their slots; fields without
    /// one cost reading the documents that the rest of the filter leaves over.
    ///
    /// Panics when the filter was made for another schema.
    pub fn filter(&self, filter: &Filter) -> Result<RoaringBitmap, ReadError> {
        self.selecting(filter, |selection| selection.slots(filter.root(), None))
    }

    /// Bounds on the number of records that a filter finds, and a guess, from the counts of the indexes' blocks. It reads no
    /// documents, and no slots but where records are few.
    ///
    /// Panics when the filter was made for another schema.
    pub fn estimate(&self, filter: &Filter) -> Result<Estimate, ReadError> {
        self.selecting(filter, |selection| {
            let records = selection.count(&RECORD)?;
            let CountEstimate { low, high, expected } = selection.estimate(filter.root(), records)?;
            Ok(Estimate { records, low, high, expected })
        })
    }

    fn selecting<T>(
        &self,
        filter: &Filter,
        select: impl FnOnce(&Selection<'_>) -> Result<T, Fault>,
    ) -> Result<T, ReadError> {
        let schema = self.store().schema();
        assert!(filter.schema() == schema, "a filter was used with a store of another schema");
        self.reading(|transaction| select(&Selection::open(transaction, schema)?))
    }
}

/// The tables as one transaction sees them.
struct Selection<'s> {
    schema: &'s Schema,
    index: IndexReader,
    documents: ReadOnlyTable<u32, &'static [u8]>,
    records: OnceCell<RoaringBitmap>,
}

impl<'s> Selection<'s> {
    fn open(transaction: &ReadTransaction, schema: &'s Schema) -> Result<Self, Fault> {
        let documents = transaction.open_table(DOCUMENTS)?;
        Ok(Self { schema, index: IndexReader::open(transaction)?, documents, records: OnceCell::new() })
    }

    /// All slots with a record.
    fn records(&self) -> Result<&RoaringBitmap, Fault> {
        if let Some(records) = self.records.get() {
            return Ok(records);
        }
        let records = self.index.slots(PRESENCE, &[KeyRange::only(&RECORD)])?;
        Ok(self.records.get_or_init(|| records))
    }

    /// How many records have that key of presence.
    fn count(&self, key: &[u8]) -> Result<u64, Fault> {
        let range = [KeyRange::only(key)];
        let CountEstimate { low, high, .. } = self.index.estimate(PRESENCE, &range)?;
        // Unless some of the slots share a block with those of other keys.
        if low == high { Ok(low) } else { Ok(self.index.slots(PRESENCE, &range)?.len()) }
    }

    fn present(&self, field: usize) -> Result<RoaringBitmap, Fault> {
        self.index.slots(PRESENCE, &[KeyRange::only(&presence_key(field))])
    }

    /// The slots that a node finds. With `among`, only those in it matter: what is said of others may be wrong.
    fn slots(&self, node: &Node, among: Option<&RoaringBitmap>) -> Result<RoaringBitmap, Fault> {
        match node {
            Node::All(parts) => self.all(parts, among),
            Node::Any(parts) => {
                let mut found = RoaringBitmap::new();
                for part in parts {
                    found |= self.slots(part, among)?;
                }
                Ok(found)
            }
            Node::Not(part) => Ok(self.records()? - self.slots(part, among)?),
            Node::Exists(field) => self.present(*field),
            Node::Within(field, ranges) if self.schema.fields()[*field].indexed => self.indexed(*field, ranges, among),
            Node::Within(field, ranges) => self.scanned(*field, ranges, among),
        }
    }

    /// What an index is likely to find least of comes first; what needs documents comes last.
    fn all(&self, parts: &[Node], among: Option<&RoaringBitmap>) -> Result<RoaringBitmap, Fault> {
        let records = self.count(&RECORD)?;
        let ranked = |part| -> Result<_, Fault> {
            Ok((self.needs_documents(part), self.estimate(part, records)?.expected, part))
        };
        let mut parts: Vec<(bool, f64, &Node)> = parts.iter().map(ranked).collect::<Result<_, _>>()?;
        parts.sort_by(|a, b| a.0.cmp(&b.0).then(a.1.total_cmp(&b.1)));
        let mut found: Option<RoaringBitmap> = None;
        for (_, _, part) in parts {
            let next = match found {
                None => self.slots(part, among)?,
                Some(found) if found.is_empty() => return Ok(found),
                Some(found) => self.slots(part, Some(&found))? & found,
            };
            found = Some(next);
        }
        Ok(found.unwrap_or_default())
    }

    fn needs_documents(&self, node: &Node) -> bool {
        match node {
            Node::All(parts) | Node::Any(parts) => parts.iter().any(|part| self.needs_documents(part)),
            Node::Not(part) => self.needs_documents(part),
            Node::Exists(_) => false,
            Node::Within(field, _) => !self.schema.fields()[*field].indexed,
        }
    }

    /// By the index, unless few documents decide it; ranges of more than half of the values by what lies outside.
    fn indexed(
        &self,
        field: usize,
        ranges: &[KeyRange],
        among: Option<&RoaringBitmap>,
    ) -> Result<RoaringBitmap, Fault> {
        let expected = self.index.estimate(field as u16, ranges)?.expected as u64;
        let present = self.count(&presence_key(field))?;
        // Who has other tags may have this one as well.
        let may_complement = self.schema.fields()[field].kind != FieldKind::Tags && expected > present / 2;
        let cost = if may_complement { present.saturating_sub(expected) } else { expected };
        if let Some(among) = among.filter(|among| among.len() * SLOTS_PER_DOCUMENT < cost) {
            return self.scanned(field, ranges, Some(among));
        }
        if may_complement {
            return Ok(self.present(field)? - self.index.slots(field as u16, &complement(ranges))?);
        }
        self.index.slots(field as u16, ranges)
    }

    /// By reading the documents of those in `among` in which the field has a value.
    fn scanned(
        &self,
        field: usize,
        ranges: &[KeyRange],
        among: Option<&RoaringBitmap>,
    ) -> Result<RoaringBitmap, Fault> {
        let mut candidates = self.present(field)?;
        if let Some(among) = among {
            candidates &= among;
        }
        let mut found = RoaringBitmap::new();
        let mut look = |slot: u32, document: &[u8]| -> Result<(), Fault> {
            let values = read(self.schema, document)?;
            let mut is_within = false;
            if let Some(value) = &values[field] {
                each_key(value, |key| is_within |= ranges.iter().any(|range| range.contains(key)));
            }
            if is_within {
                found.insert(slot);
            }
            Ok(())
        };
        if candidates.len() * SCANNED_PER_SOUGHT < self.count(&RECORD)? {
            for slot in candidates {
                if let Some(document) = self.documents.get(slot)? {
                    look(slot, document.value())?;
                }
            }
        } else {
            for entry in self.documents.iter()? {
                let (slot, document) = entry?;
                if candidates.contains(slot.value()) {
                    look(slot.value(), document.value())?;
                }
            }
        }
        Ok(found)
    }

    /// Between nothing and all records, also where damaged counts say otherwise.
    fn estimate(&self, node: &Node, records: u64) -> Result<CountEstimate, Fault> {
        self.unbounded_estimate(node, records).map(|part| bounded(&part, records))
    }

    fn unbounded_estimate(&self, node: &Node, records: u64) -> Result<CountEstimate, Fault> {
        let parts =
            |parts: &[Node]| parts.iter().map(|part| self.estimate(part, records)).collect::<Result<Vec<_>, _>>();
        let exactly = |count: u64| CountEstimate { low: count, high: count, expected: count as f64 };
        Ok(match node {
            Node::All(all) => {
                complemented(&either(parts(all)?.iter().map(|part| complemented(part, records)), records), records)
            }
            Node::Any(any) => either(parts(any)?.into_iter(), records),
            Node::Not(part) => complemented(&self.estimate(part, records)?, records),
            Node::Exists(field) => exactly(self.count(&presence_key(*field))?),
            Node::Within(field, ranges) => {
                let present = self.count(&presence_key(*field))?;
                let within = if self.schema.fields()[*field].indexed {
                    self.index.estimate(*field as u16, ranges)?
                } else {
                    let share: f64 = ranges.iter().map(|range| if range.is_one_key() { 0.1 } else { 1.0 / 3.0 }).sum();
                    CountEstimate { low: 0, high: present, expected: present as f64 * share }
                };
                bounded(&within, present)
            }
        })
    }
}

/// No more than `most`, and the guess between the bounds.
fn bounded(part: &CountEstimate, most: u64) -> CountEstimate {
    let high = part.high.min(most);
    let low = part.low.min(high);
    CountEstimate { low, high, expected: part.expected.clamp(low as f64, high as f64) }
}

/// The rest of the records.
fn complemented(part: &CountEstimate, records: u64) -> CountEstimate {
    let without = |count: u64| records.saturating_sub(count);
    CountEstimate { low: without(part.high), high: without(part.low), expected: records as f64 - part.expected }
}

/// Those in at least one part, as if the parts were independent.
fn either(parts: impl Iterator<Item = CountEstimate>, records: u64) -> CountEstimate {
    let (mut low, mut high, mut others) = (0, 0, 1.0);
    for part in parts {
        low = part.low.max(low);
        high += part.high;
        others *= 1.0 - part.expected / (records as f64).max(1.0);
    }
    bounded(&CountEstimate { low, high, expected: records as f64 * (1.0 - others) }, records)
}
