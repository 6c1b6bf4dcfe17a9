//! Comparing everything that a store holds with everything else it holds.

use redb::ReadableTable;
use roaring::RoaringBitmap;
use xxhash_rust::xxh3::{Xxh3, xxh3_64};

use super::{DOCUMENTS, Handle, MetadataStore};
use crate::metadata::encoding::read;
use crate::metadata::error::{Fault, ReadError};
use crate::metadata::index::key::each_key;
use crate::metadata::index::range::{IndexReader, KeyRange};
use crate::metadata::index::{PRESENCE, RECORD, presence_key};

/// Pairs in no order: how many, and a sum of their checksums.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Tally {
    pairs: u64,
    sum: u64,
}

impl Tally {
    fn add(&mut self, key: &[u8], slot: u32) {
        let mut hasher = Xxh3::with_seed(u64::from(slot));
        hasher.update(key);
        self.pairs += 1;
        self.sum = self.sum.wrapping_add(xxh3_64(&hasher.digest().to_le_bytes()));
    }
}

impl MetadataStore {
    /// Compares every page of the file with its checksum, as it is on the disk, then the indexes with the documents. What is not
    /// as it should be; changes wait meanwhile.
    pub fn verify(&self) -> Result<Vec<ReadError>, ReadError> {
        let damaged = |found| ReadError::Damaged { path: self.path.clone(), found };
        let still = match &self.handle {
            Handle::Writable(database) => Some(database.begin_write()),
            Handle::ReadOnly(_) | Handle::Repaired(_) => None,
        };
        let _still = still.transpose().map_err(|cause| self.told(cause.into()).reading(&self.path))?;
        if let Some(pages) = &self.pages {
            let mistakes = pages.verify().map_err(|cause| Fault::from(cause).reading(&self.path))?;
            if !mistakes.is_empty() {
                return Ok(mistakes.into_iter().map(damaged).collect());
            }
        }
        Ok(self.mistakes()?.into_iter().map(damaged).collect())
    }

    fn mistakes(&self) -> Result<Vec<String>, ReadError> {
        self.reading(|transaction| {
            let fields = self.schema.fields();
            let mut expected = vec![Tally::default(); fields.len() + 1];
            let mut slots = RoaringBitmap::new();
            let documents = transaction.open_table(DOCUMENTS)?;
            for entry in documents.iter()? {
                let (slot, bytes) = entry?;
                let slot = slot.value();
                slots.insert(slot);
                expected[fields.len()].add(&RECORD, slot);
                for (i, value) in read(&self.schema, bytes.value())?.iter().enumerate() {
                    let Some(value) = value else { continue };
                    expected[fields.len()].add(&presence_key(i), slot);
                    if fields[i].indexed {
                        each_key(value, |key| expected[i].add(key, slot));
                    }
                }
            }
            let index = IndexReader::open(transaction)?;
            let mut mistakes = Vec::new();
            let records = index.slots(PRESENCE, &[KeyRange::only(&RECORD)])?;
            if records != slots {
                mistakes.push(format!("documents of {} records, expected those of {}", slots.len(), records.len()));
            }
            let names = fields.iter().map(|field| format!("the index of `{}`", field.name));
            let names = names.chain(["the list of records".to_owned()]);
            for ((i, name), expected) in names.enumerate().zip(expected) {
                let mut found = Tally::default();
                let field = if i == fields.len() { PRESENCE } else { i as u16 };
                mistakes
                    .extend(index.check(field, |key, slot| found.add(key, slot))?.map(|it| format!("in {name} {it}")));
                if found != expected {
                    let (found, expected) = (found.pairs, expected.pairs);
                    mistakes.push(format!("{name} with other pairs ({found}) than the documents give ({expected})"));
                }
            }
            Ok(mistakes)
        })
    }
}
