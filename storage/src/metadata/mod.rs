//! What records say about themselves, kept beside their vectors and searched by filters.
//!
//! A [`Schema`] declares fields, a [`Document`] holds the values of one record, and a [`MetadataStore`] keeps documents by slot, with
//! an index of every field that wants one. A [`Filter`] such as `price < 30 and not sold` becomes a bitmap of slots
//! ([`MetadataStore::filter`]) or an estimate of how many they are ([`MetadataStore::estimate`]).
//!
//! | what | where |
//! |---|---|
//! | fields, values, documents, their bytes | `schema`, `value`, `document`, `encoding` |
//! | the language: text, tree, check | `filter` |
//! | ordered (key, slot) pairs in blocks | `index` |
//! | transactions, evaluation, estimates | `store` |
//! | the file: pages with checksums | `pages` |
//!
//! Architecture invariants: a store is derived from a log of numbered changes that is kept elsewhere. Documents, indexes,
//! statistics and the number of the last change move together, in one transaction of redb; whoever opens a store asks for
//! its [`sequence`](MetadataStore::sequence) and applies what comes after. Nothing here knows vectors, and nothing but redb's cache
//! stays in memory. `docs/formats.md` gives the bytes, `docs/adr/0010-metadata-is-indexed-in-ordered-blocks.md` the reasons.
//!
//! ```
//! use nearlab_storage::metadata::{Change, Document, Durability, Field, FieldKind, Filter, MetadataStore, Schema, Value, encode};
//!
//! # let folder = tempfile::tempdir()?;
//! # let path = folder.path().join("metadata.redb");
//! let schema = Schema::new([Field::new("price", FieldKind::Float), Field::new("sold", FieldKind::Bool)])?;
//! let store = MetadataStore::create(&path, schema.clone())?;
//! let cheap = encode(&schema, &Document::new().with("price", Value::Float(9.5)))?;
//! let dear = encode(&schema, &Document::new().with("price", Value::Float(95.0)).with("sold", Value::Bool(true)))?;
//! let changes = [Change::Put { slot: 0, document: &cheap }, Change::Put { slot: 7, document: &dear }];
//! store.apply(1, &changes, Durability::Immediate)?;
//!
//! let filter = Filter::parse(&schema, "price >= 10 or not sold")?;
//! assert_eq!(store.filter(&filter)?.iter().collect::<Vec<_>>(), [0, 7]);
//! assert_eq!(store.estimate(&filter)?.high, 2);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod document;
mod encoding;
mod error;
mod filter;
mod index;
mod pages;
mod schema;
mod store;
mod value;

pub use document::{Document, DocumentError, MAX_DOCUMENT_BYTES, MAX_INDEXED_BYTES};
pub use encoding::{DecodeError, decode, encode};
pub use error::{ApplyError, ReadError, StoreOpenError};
pub use filter::{
    Comparison, Expression, Filter, FilterError, Literal, LiteralValue, MAX_FILTER_BYTES, MAX_FILTER_DEPTH, Name, Place,
};
pub use redb::StorageBackend;
pub use roaring::RoaringBitmap;
pub use schema::{Field, FieldKind, MAX_FIELDS, MAX_NAME_BYTES, Schema, SchemaError};
#[cfg(feature = "leveldb")]
pub use store::LevelDbError;
pub use store::{Change, Durability, Estimate, MetadataSnapshot, MetadataStore};
pub use value::{Timestamp, TimestampError, Value};
