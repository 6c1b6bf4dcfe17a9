//! Applying changes: documents, indexes and sequence move in one transaction.

use redb::{ReadableTable, WriteTransaction};
use roaring::RoaringBitmap;

use super::snapshot::sequence;
use super::{Change, DOCUMENTS, Durability, MetadataStore, STATE};
use crate::metadata::encoding::{DecodeError, RawValue, read};
use crate::metadata::error::{ApplyError, Fault};
use crate::metadata::index::key::each_key;
use crate::metadata::index::pair::Edits;
use crate::metadata::index::update::IndexWriter;
use crate::metadata::index::{PRESENCE, RECORD, presence_key};
use crate::metadata::schema::Schema;

/// Why a transaction is given up.
enum Refusal {
    Sequence { found: u64 },
    Document { slot: u32, cause: DecodeError },
    Fault(Fault),
}

macro_rules! from_fault {
    ($($error:ty),*) => {$(
        impl From<$error> for Refusal {
            fn from(error: $error) -> Self {
                Self::Fault(error.into())
            }
        }
    )*};
}

from_fault!(
    Fault,
    redb::CommitError,
    redb::SetDurabilityError,
    redb::StorageError,
    redb::TableError,
    redb::TransactionError
);

impl MetadataStore {
    /// Applies numbered changes, all or none; of several to one slot the last one counts. The number must be larger than that
    /// of all changes before, but need not follow it, so a log may be applied commit by commit or many commits at once. Bulk loads
    /// are fastest in large calls, each of which writes anew the blocks of the indexes that it touches, but no faster beyond some
    /// 50,000 changes, which take some 100 MB of memory.
    pub fn apply(&self, sequence: u64, changes: &[Change<'_>], durability: Durability) -> Result<(), ApplyError> {
        let database = self.writable()?;
        let run = || -> Result<(), Refusal> {
            let mut transaction = database.begin_write()?;
            transaction.set_durability(match durability {
                Durability::Deferred => redb::Durability::None,
                Durability::Immediate => redb::Durability::Immediate,
            })?;
            change(&transaction, &self.schema, sequence, changes)?;
            Ok(transaction.commit()?)
        };
        run().map_err(|refusal| {
            let path = self.path().to_owned();
            match refusal {
                Refusal::Sequence { found } => ApplyError::Sequence { path, found, given: sequence },
                Refusal::Document { slot, cause } => ApplyError::Document { path, slot, cause },
                Refusal::Fault(fault) => self.told(fault).applying(&path),
            }
        })
    }
}

fn change(transaction: &WriteTransaction, schema: &Schema, given: u64, changes: &[Change<'_>]) -> Result<(), Refusal> {
    let mut state = transaction.open_table(STATE)?;
    let found = sequence(&state)?;
    if given <= found {
        return Err(Refusal::Sequence { found });
    }
    state.insert("sequence", &given.to_le_bytes()[..])?;

    let mut index = IndexWriter::open(transaction)?;
    let edits = documents(transaction, schema, &index.records()?, &last_of_each_slot(changes))?;
    for (field, edits) in edits.of_fields.iter().enumerate() {
        index.apply(field as u16, edits)?;
    }
    index.apply(PRESENCE, &edits.presence)?;
    Ok(())
}

/// The changes in the order of their slots, the last one of each.
fn last_of_each_slot<'c, 'a>(changes: &'c [Change<'a>]) -> Vec<&'c Change<'a>> {
    let mut last: Vec<&Change<'_>> = changes.iter().rev().collect();
    last.sort_by_key(|change| change.slot());
    last.dedup_by_key(|change| change.slot());
    last
}

/// What the indexes have to do.
struct AllEdits {
    of_fields: Vec<Edits>,
    presence: Edits,
}

/// Moves the documents and tells what changed about their fields. Nothing is looked up for slots without a record.
fn documents(
    transaction: &WriteTransaction,
    schema: &Schema,
    records: &RoaringBitmap,
    changes: &[&Change<'_>],
) -> Result<AllEdits, Refusal> {
    let fields = schema.fields();
    let mut edits =
        AllEdits { of_fields: fields.iter().map(|_| Edits::default()).collect(), presence: Edits::default() };
    let mut documents = transaction.open_table(DOCUMENTS)?;
    for change in changes {
        let slot = change.slot();
        let new = match change {
            Change::Put { document, .. } => Some(*document),
            Change::Remove { .. } => None,
        };
        {
            let old = if records.contains(slot) { documents.get(slot)? } else { None };
            edits.of_change(schema, slot, old.as_ref().map(redb::AccessGuard::value), new)?;
        }
        match new {
            Some(document) => drop(documents.insert(slot, document)?),
            None => drop(documents.remove(slot)?),
        }
    }
    Ok(edits)
}

impl AllEdits {
    fn of_change(&mut self, schema: &Schema, slot: u32, old: Option<&[u8]>, new: Option<&[u8]>) -> Result<(), Refusal> {
        if old.is_some() != new.is_some() {
            self.presence.push(&RECORD, slot, new.is_some());
        }
        let was = old.map(|bytes| read(schema, bytes)).transpose().map_err(Fault::from)?.unwrap_or_default();
        let is = new.map(|bytes| read(schema, bytes)).transpose();
        let is = is.map_err(|cause| Refusal::Document { slot, cause })?.unwrap_or_default();
        for (i, field) in schema.fields().iter().enumerate() {
            let (was, is) = (was.get(i).and_then(Option::as_ref), is.get(i).and_then(Option::as_ref));
            if was.is_some() != is.is_some() {
                self.presence.push(&presence_key(i), slot, is.is_some());
            }
            if field.indexed {
                difference(&mut self.of_fields[i], slot, was, is);
            }
        }
        Ok(())
    }
}

/// The keys that only one of the two values has.
fn difference(edits: &mut Edits, slot: u32, was: Option<&RawValue<'_>>, is: Option<&RawValue<'_>>) {
    if let Some(is) = is {
        each_key(is, |key| {
            if !has_key(was, key) {
                edits.push(key, slot, true);
            }
        });
    }
    if let Some(was) = was {
        each_key(was, |key| {
            if !has_key(is, key) {
                edits.push(key, slot, false);
            }
        });
    }
}

fn has_key(value: Option<&RawValue<'_>>, key: &[u8]) -> bool {
    match value {
        None => false,
        Some(RawValue::Tags(tags)) => tags.binary_search_by(|tag| tag.as_bytes().cmp(key)).is_ok(),
        Some(value) => {
            let mut found = false;
            each_key(value, |of_value| found = of_value == key);
            found
        }
    }
}
