//! The state between two changes, as it is read.

use redb::{ReadTransaction, ReadableDatabase, ReadableTable};
use roaring::RoaringBitmap;

use super::{DOCUMENTS, Handle, MetadataStore, STATE};
use crate::metadata::document::Document;
use crate::metadata::encoding::decode;
use crate::metadata::error::{Fault, ReadError};
use crate::metadata::filter::Filter;
use crate::metadata::index::range::{IndexReader, KeyRange};
use crate::metadata::index::{PRESENCE, RECORD};
use crate::metadata::store::Estimate;

/// The metadata as they were when this was taken. While it is kept, pages that were replaced since are kept too, so that the file
/// grows as records change.
pub struct MetadataSnapshot<'a> {
    store: &'a MetadataStore,
    transaction: ReadTransaction,
}

impl std::fmt::Debug for MetadataSnapshot<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("MetadataSnapshot").field("store", &self.store).finish_non_exhaustive()
    }
}

impl MetadataStore {
    /// The state between two changes, to read more than once.
    pub fn snapshot(&self) -> Result<MetadataSnapshot<'_>, ReadError> {
        let transaction = begin_read(&self.handle).map_err(|fault| self.told(fault).reading(self.path()))?;
        Ok(MetadataSnapshot { store: self, transaction })
    }

    /// The number of the last changes that were applied; 0 before the first.
    pub fn sequence(&self) -> Result<u64, ReadError> {
        self.snapshot()?.sequence()
    }

    /// The slots that have a record.
    pub fn slots(&self) -> Result<RoaringBitmap, ReadError> {
        self.snapshot()?.slots()
    }

    /// The documents at these slots, in their order; `None` where there is no record.
    pub fn get(&self, slots: &[u32]) -> Result<Vec<Option<Document>>, ReadError> {
        self.snapshot()?.get(slots)
    }

    /// As [`MetadataSnapshot::filter`], of the state between two changes.
    pub fn filter(&self, filter: &Filter) -> Result<RoaringBitmap, ReadError> {
        self.snapshot()?.filter(filter)
    }

    /// As [`MetadataSnapshot::estimate`], of the state between two changes.
    pub fn estimate(&self, filter: &Filter) -> Result<Estimate, ReadError> {
        self.snapshot()?.estimate(filter)
    }

    /// Runs `read` on the state between two changes.
    pub(super) fn reading<T>(&self, read: impl FnOnce(&ReadTransaction) -> Result<T, Fault>) -> Result<T, ReadError> {
        self.snapshot()?.reading(read)
    }
}

impl MetadataSnapshot<'_> {
    /// The number of the last changes that it sees; 0 before the first.
    pub fn sequence(&self) -> Result<u64, ReadError> {
        self.reading(|transaction| sequence(&transaction.open_table(STATE)?))
    }

    /// The slots that have a record.
    pub fn slots(&self) -> Result<RoaringBitmap, ReadError> {
        self.reading(|transaction| IndexReader::open(transaction)?.slots(PRESENCE, &[KeyRange::only(&RECORD)]))
    }

    /// The documents at these slots, in their order; `None` where there is no record.
    pub fn get(&self, slots: &[u32]) -> Result<Vec<Option<Document>>, ReadError> {
        self.reading(|transaction| {
            let documents = transaction.open_table(DOCUMENTS)?;
            let document = |slot: &u32| -> Result<Option<Document>, Fault> {
                let bytes = documents.get(*slot)?;
                bytes.map(|bytes| Ok(decode(self.store.schema(), bytes.value())?)).transpose()
            };
            slots.iter().map(document).collect()
        })
    }

    pub(super) fn store(&self) -> &MetadataStore {
        self.store
    }

    pub(super) fn reading<T>(&self, read: impl FnOnce(&ReadTransaction) -> Result<T, Fault>) -> Result<T, ReadError> {
        read(&self.transaction).map_err(|fault| self.store.told(fault).reading(self.store.path()))
    }
}

pub(super) fn begin_read(handle: &Handle) -> Result<ReadTransaction, Fault> {
    Ok(match handle {
        Handle::Writable(database) | Handle::Repaired(database) => database.begin_read()?,
        Handle::ReadOnly(database) => database.begin_read()?,
    })
}

pub(super) fn sequence(state: &impl ReadableTable<&'static str, &'static [u8]>) -> Result<u64, Fault> {
    let bytes = state.get("sequence")?;
    let number = bytes.and_then(|bytes| bytes.value().try_into().ok());
    number.map(u64::from_le_bytes).ok_or_else(|| Fault::Damaged("no sequence".to_owned()))
}
