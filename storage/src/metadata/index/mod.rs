//! The secondary indexes: for each field the ordered (key, slot) pairs, in blocks.
//!
//! A *block* holds neighbouring pairs and is found by its first one. The *directory* says of each block how many pairs and
//! how many keys it has, so that an estimate reads no block. Both are tables of redb: there is nothing to build when a
//! store is opened, nothing to lose when a transaction fails, and redb's cache bounds the memory.
//!
//! | what | where |
//! |---|---|
//! | values to keys | [`key`] |
//! | the two forms of a block | [`block`] |
//! | pairs and edits | [`pair`] |
//! | merging edits | [`update`] |
//! | cutting blocks | [`cut`] |
//! | ranges of keys to slots, and to estimates | [`range`] |
//!
//! Besides the declared fields there is one of the store's own, [`PRESENCE`]: its keys are [`RECORD`], whose slots are all
//! records, and one key per field, whose slots are the records in which the field has a value.

pub(super) mod block;
mod cut;
pub(super) mod key;
pub(super) mod pair;
pub(super) mod range;
pub(super) mod update;

use redb::TableDefinition;

/// Field, first key and first slot of a block.
pub(super) type BlockKey = (u16, &'static [u8], u32);
/// The number of pairs of a block, and of its keys.
pub(super) type Counts = (u32, u32);

pub(super) const BLOCKS: TableDefinition<'static, BlockKey, &[u8]> = TableDefinition::new("blocks");
pub(super) const DIRECTORY: TableDefinition<'static, BlockKey, Counts> = TableDefinition::new("directory");

/// The field of the store's own; declared fields have their positions.
pub(super) const PRESENCE: u16 = u16::MAX;
/// The key under [`PRESENCE`] of all records.
pub(super) const RECORD: [u8; 2] = [0, 0];

/// The key under [`PRESENCE`] of the records in which the field at that position has a value.
pub(super) fn presence_key(field: usize) -> [u8; 2] {
    (field as u16 + 1).to_be_bytes()
}
