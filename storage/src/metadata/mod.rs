//! Metadata of records.

mod document;
mod encoding;
mod schema;
mod value;

pub use document::{Document, DocumentError, MAX_DOCUMENT_BYTES, MAX_INDEXED_BYTES};
pub use encoding::{DecodeError, decode, encode};
pub use schema::{Field, FieldKind, MAX_FIELDS, MAX_NAME_BYTES, Schema, SchemaError};
pub use value::{Timestamp, TimestampError, Value};
