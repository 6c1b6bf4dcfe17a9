//! Documents as bytes: the form in which a record's metadata is logged and stored.
//!
//! `docs/formats.md` gives the layout byte by byte. Every document has exactly one encoding, so equal bytes mean equal
//! documents. Whatever bytes are given, decoding returns an error or a document that its schema allows, and allocates no
//! more than the bytes warrant.

use std::collections::BTreeSet;

use super::document::{Document, DocumentError, MAX_DOCUMENT_BYTES, MAX_INDEXED_BYTES};
use super::schema::{Field, FieldKind, Schema};
use super::value::{Timestamp, Value};

/// The first byte of every encoded document.
const VERSION: u8 = 1;

/// The bytes of `document`, which `schema` must allow.
///
/// ```
/// use nearlab_storage::metadata::{Document, Field, FieldKind, Schema, Value, decode, encode};
///
/// let schema = Schema::new([Field::new("colour", FieldKind::String)])?;
/// let document = Document::new().with("colour", Value::String("red".into()));
/// let bytes = encode(&schema, &document)?;
/// assert_eq!(bytes, *b"\x01\x01\x00\x01\x03red");
/// assert_eq!(decode(&schema, &bytes)?, document);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn encode(schema: &Schema, document: &Document) -> Result<Vec<u8>, DocumentError> {
    document.check(schema)?;
    let mut out = vec![VERSION];
    let present: Vec<(usize, &Value)> = (schema.fields().iter().enumerate())
        .filter_map(|(i, field)| document.get(&field.name).map(|value| (i, value)))
        .collect();
    put_length(&mut out, present.len());
    for (field, value) in present {
        put_length(&mut out, field);
        out.push(code(value.kind()));
        match value {
            Value::String(text) => put_text(&mut out, text),
            Value::Integer(number) => out.extend(number.to_le_bytes()),
            Value::Float(number) => out.extend(number.to_le_bytes()),
            Value::Bool(truth) => out.push(u8::from(*truth)),
            Value::Timestamp(moment) => out.extend(moment.microseconds().to_le_bytes()),
            Value::Tags(tags) => {
                put_length(&mut out, tags.len());
                for tag in tags {
                    put_text(&mut out, tag);
                }
            }
        }
    }
    if out.len() > MAX_DOCUMENT_BYTES {
        return Err(DocumentError::TooLarge { found: out.len() });
    }
    Ok(out)
}

/// The document whose encoding under `schema` is `bytes`.
pub fn decode(schema: &Schema, bytes: &[u8]) -> Result<Document, DecodeError> {
    let mut document = Document::new();
    for (field, value) in schema.fields().iter().zip(read(schema, bytes)?) {
        if let Some(value) = value {
            document.set(&field.name, value.to_owned());
        }
    }
    Ok(document)
}

/// A value that lies in the bytes of its document.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum RawValue<'a> {
    String(&'a str),
    Integer(i64),
    Float(f64),
    Bool(bool),
    Timestamp(Timestamp),
    /// Ascending, none twice.
    Tags(Vec<&'a str>),
}

impl RawValue<'_> {
    fn to_owned(&self) -> Value {
        match self {
            Self::String(text) => Value::String((*text).to_owned()),
            Self::Integer(number) => Value::Integer(*number),
            Self::Float(number) => Value::Float(*number),
            Self::Bool(truth) => Value::Bool(*truth),
            Self::Timestamp(moment) => Value::Timestamp(*moment),
            Self::Tags(tags) => Value::Tags(tags.iter().map(|tag| (*tag).to_owned()).collect::<BTreeSet<_>>()),
        }
    }
}

/// The values of a document by the position of their field: as many as the schema has fields.
pub(super) fn read<'a>(schema: &Schema, bytes: &'a [u8]) -> Result<Vec<Option<RawValue<'a>>>, DecodeError> {
    let mut reader = Reader { bytes, offset: 0 };
    if bytes.len() > MAX_DOCUMENT_BYTES {
        return Err(reader.damaged(&format!("at most {MAX_DOCUMENT_BYTES} bytes"), &bytes.len()));
    }
    let [version] = reader.array("a version")?;
    if version != VERSION {
        return Err(DecodeError { offset: 0, expected: format!("version {VERSION}"), found: version.to_string() });
    }
    let count = reader.length("a number of fields")?;
    let mut values = vec![None; schema.fields().len()];
    let mut least = 0;
    for _ in 0..count {
        let start = reader.offset;
        let position = reader.length("a field")?;
        let (Some(field), true) = (schema.fields().get(position), position >= least) else {
            let expected = format!("a field from {least} to below {}", schema.fields().len());
            return Err(DecodeError { offset: start, expected, found: position.to_string() });
        };
        values[position] = Some(reader.value(field)?);
        least = position + 1;
    }
    if reader.offset < bytes.len() {
        return Err(reader.damaged("the end", &format!("{} bytes more", bytes.len() - reader.offset)));
    }
    Ok(values)
}

/// Bytes that are no document of the schema.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the document is damaged at byte {offset}: expected {expected}, found {found}")]
pub struct DecodeError {
    /// Where, from the start of the document.
    pub offset: usize,
    /// What should stand there.
    pub expected: String,
    /// What stands there.
    pub found: String,
}

fn code(kind: FieldKind) -> u8 {
    match kind {
        FieldKind::String => 1,
        FieldKind::Integer => 2,
        FieldKind::Float => 3,
        FieldKind::Bool => 4,
        FieldKind::Timestamp => 5,
        FieldKind::Tags => 6,
    }
}

/// Seven bits a byte, the lowest first; the high bit says that more follow.
fn put_length(out: &mut Vec<u8>, mut length: usize) {
    while length > 0x7f {
        out.push(length as u8 | 0x80);
        length >>= 7;
    }
    out.push(length as u8);
}

fn put_text(out: &mut Vec<u8>, text: &str) {
    put_length(out, text.len());
    out.extend(text.as_bytes());
}

struct Reader<'a> {
    bytes: &'a [u8],
    offset: usize,
}

impl<'a> Reader<'a> {
    fn damaged(&self, expected: &str, found: &dyn ToString) -> DecodeError {
        DecodeError { offset: self.offset, expected: expected.to_owned(), found: found.to_string() }
    }

    fn take(&mut self, count: usize, what: &str) -> Result<&'a [u8], DecodeError> {
        let rest = &self.bytes[self.offset..];
        let Some(taken) = rest.get(..count) else {
            return Err(self.damaged(&format!("{what} of {count} bytes"), &format!("the end after {}", rest.len())));
        };
        self.offset += count;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self, what: &str) -> Result<[u8; N], DecodeError> {
        let mut out = [0; N];
        out.copy_from_slice(self.take(N, what)?);
        Ok(out)
    }

    /// At most four bytes, 28 bits, and no longer than needed.
    fn length(&mut self, what: &str) -> Result<usize, DecodeError> {
        let start = self.offset;
        let mut length = 0;
        for shift in [0, 7, 14, 21] {
            let [byte] = self.array(what)?;
            length |= usize::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                if byte == 0 && shift > 0 {
                    break;
                }
                return Ok(length);
            }
        }
        let found = format!("{:02x?}", &self.bytes[start..self.offset]);
        Err(DecodeError {
            offset: start,
            expected: format!("{what} in at most four bytes and in none too many"),
            found,
        })
    }

    fn text(&mut self, indexed: bool) -> Result<&'a str, DecodeError> {
        let start = self.offset;
        let length = self.length("a length")?;
        if indexed && length > MAX_INDEXED_BYTES {
            let expected = format!("at most {MAX_INDEXED_BYTES} bytes, as the field is indexed");
            return Err(DecodeError { offset: start, expected, found: length.to_string() });
        }
        let start = self.offset;
        let bytes = self.take(length, "a text")?;
        std::str::from_utf8(bytes).map_err(|error| DecodeError {
            offset: start + error.valid_up_to(),
            expected: "UTF-8".to_owned(),
            found: format!("{:#04x}", bytes[error.valid_up_to()]),
        })
    }

    fn value(&mut self, field: &Field) -> Result<RawValue<'a>, DecodeError> {
        let start = self.offset;
        let refused = |expected: String, found: String| DecodeError { offset: start, expected, found };
        let [kind] = self.array("a kind")?;
        if kind != code(field.kind) {
            let expected = format!("kind {} ({}, the field `{}`)", code(field.kind), field.kind, field.name);
            return Err(refused(expected, kind.to_string()));
        }
        match field.kind {
            FieldKind::String => Ok(RawValue::String(self.text(field.indexed)?)),
            FieldKind::Integer => Ok(RawValue::Integer(i64::from_le_bytes(self.array("an integer")?))),
            FieldKind::Float => {
                let number = f64::from_le_bytes(self.array("a float")?);
                if !number.is_finite() {
                    return Err(refused("a finite float".to_owned(), number.to_string()));
                }
                Ok(RawValue::Float(number))
            }
            FieldKind::Bool => match self.array("a bool")? {
                [0] => Ok(RawValue::Bool(false)),
                [1] => Ok(RawValue::Bool(true)),
                [other] => Err(refused("a bool of 0 or 1".to_owned(), other.to_string())),
            },
            FieldKind::Timestamp => {
                let microseconds = i64::from_le_bytes(self.array("a timestamp")?);
                let moment = Timestamp::from_microseconds(microseconds);
                let expected = "microseconds within the years -9999 to 9999";
                moment.map(RawValue::Timestamp).ok_or_else(|| refused(expected.to_owned(), microseconds.to_string()))
            }
            FieldKind::Tags => self.tags(field).map(RawValue::Tags),
        }
    }

    fn tags(&mut self, field: &Field) -> Result<Vec<&'a str>, DecodeError> {
        let count = self.length("a number of tags")?;
        // Each tag takes a byte at least, so a count that lies cannot ask for more memory than the bytes warrant.
        let mut tags: Vec<&str> = Vec::with_capacity(count.min(self.bytes.len() - self.offset));
        for _ in 0..count {
            let start = self.offset;
            let tag = self.text(field.indexed)?;
            if tags.last().is_some_and(|last| *last >= tag) {
                let expected = "tags in ascending order, none twice".to_owned();
                let found = super::document::clipped(format!("{tag:?}"));
                return Err(DecodeError { offset: start, expected, found });
            }
            tags.push(tag);
        }
        Ok(tags)
    }
}

#[cfg(test)]
mod tests {
    use proptest::collection::{btree_set, vec};
    use proptest::prelude::*;

    use super::*;

    fn schema() -> Schema {
        Schema::new([
            Field::new("s", FieldKind::String),
            Field::new("i", FieldKind::Integer),
            Field::new("f", FieldKind::Float),
            Field::new("b", FieldKind::Bool),
            Field::new("t", FieldKind::Timestamp),
            Field::new("g", FieldKind::Tags),
        ])
        .unwrap()
    }

    fn full() -> Document {
        Document::new()
            .with("s", Value::String("né".to_owned()))
            .with("i", Value::Integer(-2))
            .with("f", Value::Float(1.5))
            .with("b", Value::Bool(true))
            .with("t", Value::Timestamp(Timestamp::from_microseconds(1).unwrap()))
            .with("g", Value::Tags(["b".to_owned(), "a".to_owned()].into()))
    }

    /// The bytes of `docs/formats.md`.
    const GOLDEN: &[u8] = b"\x01\x06\
        \x00\x01\x03n\xc3\xa9\
        \x01\x02\xfe\xff\xff\xff\xff\xff\xff\xff\
        \x02\x03\x00\x00\x00\x00\x00\x00\xf8\x3f\
        \x03\x04\x01\
        \x04\x05\x01\x00\x00\x00\x00\x00\x00\x00\
        \x05\x06\x02\x01a\x01b";

    #[test]
    fn the_bytes_are_those_of_the_format() {
        assert_eq!(encode(&schema(), &full()).unwrap(), GOLDEN);
        assert_eq!(decode(&schema(), GOLDEN).unwrap(), full());
        assert_eq!(encode(&schema(), &Document::new()).unwrap(), b"\x01\x00");
        let long = Document::new().with("s", Value::String("x".repeat(300)));
        assert_eq!(encode(&schema(), &long).unwrap()[..7], *b"\x01\x01\x00\x01\xac\x02x");
    }

    #[test]
    fn a_document_that_the_schema_refuses_is_not_encoded() {
        let error = encode(&schema(), &Document::new().with("i", Value::Bool(true))).unwrap_err();
        assert_eq!(error.to_string(), "field `i`: expected an integer, found the bool true");
        let notes = Schema::new([Field::new("notes", FieldKind::String).unindexed()]).unwrap();
        let huge = Document::new().with("notes", Value::String("x".repeat(MAX_DOCUMENT_BYTES)));
        assert_eq!(encode(&notes, &huge).unwrap_err(), DocumentError::TooLarge { found: MAX_DOCUMENT_BYTES + 8 });
        let error = decode(&notes, &vec![1; MAX_DOCUMENT_BYTES + 1]).unwrap_err();
        assert!(error.to_string().contains("expected at most 16777216 bytes"), "{error}");
    }

    #[test]
    fn each_kind_of_damage_is_named_with_its_place() {
        let cases: [(&[u8], &str); 17] = [
            (b"", "byte 0: expected a version of 1 bytes, found the end after 0"),
            (b"\x02\x00", "byte 0: expected version 1, found 2"),
            (b"\x01", "byte 1: expected a number of fields of 1 bytes, found the end after 0"),
            (b"\x01\x00\x00", "byte 2: expected the end, found 1 bytes more"),
            (b"\x01\x01\x06", "byte 2: expected a field from 0 to below 6, found 6"),
            (b"\x01\x02\x03\x04\x01\x03\x04\x01", "byte 5: expected a field from 4 to below 6, found 3"),
            (b"\x01\x01\x03\x01", "byte 3: expected kind 4 (bool, the field `b`), found 1"),
            (b"\x01\x01\x03\x04\x02", "byte 3: expected a bool of 0 or 1, found 2"),
            (b"\x01\x01\x00\x01\x05ab", "byte 5: expected a text of 5 bytes, found the end after 2"),
            (b"\x01\x01\x00\x01\x03a\xffb", "byte 6: expected UTF-8, found 0xff"),
            (b"\x01\x01\x02\x03\x00\x00\x00\x00\x00\x00\xf8\x7f", "byte 3: expected a finite float, found NaN"),
            (
                b"\x01\x01\x04\x05\xff\xff\xff\xff\xff\xff\xff\x7f",
                "byte 3: expected microseconds within the years -9999 to 9999, found 9223372036854775807",
            ),
            (b"\x01\x01\x05\x06\x02\x01b\x01a", "byte 7: expected tags in ascending order, none twice, found \"a\""),
            (b"\x01\x01\x05\x06\xff\xff\xff\x7f", "byte 8: expected a length of 1 bytes, found the end after 0"),
            (
                b"\x01\x80\x00",
                "byte 1: expected a number of fields in at most four bytes and in none too many, found [80, 00]",
            ),
            (
                b"\x01\x80\x80\x80\x80\x01",
                "byte 1: expected a number of fields in at most four bytes and in none too many, found [80, 80, 80, 80]",
            ),
            (b"\x01\x01\x00\x01\x81\x08", "byte 4: expected at most 1024 bytes, as the field is indexed, found 1025"),
        ];
        for (bytes, message) in cases {
            let error = decode(&schema(), bytes).unwrap_err();
            assert_eq!(error.to_string(), format!("the document is damaged at {message}"), "{bytes:02x?}");
        }
    }

    proptest! {
        #[test]
        fn what_decodes_encodes_to_the_same_bytes(bytes in vec(any::<u8>(), 0..40), cut in 0..GOLDEN.len(), with in any::<u8>()) {
            let mut mutant = GOLDEN.to_vec();
            mutant[cut] = with;
            for bytes in [bytes, GOLDEN[..cut].to_vec(), mutant] {
                if let Ok(document) = decode(&schema(), &bytes) {
                    prop_assert_eq!(encode(&schema(), &document).unwrap(), bytes);
                }
            }
        }

        #[test]
        fn what_encodes_decodes_to_the_same_document(
            s in proptest::option::of("\\PC*"), i in any::<Option<i64>>(), g in btree_set("\\PC{0,5}", 0..5), f in -1e9..1e9,
        ) {
            let mut document = Document::new().with("g", Value::Tags(g)).with("f", Value::Float(f));
            if let Some(s) = s { document.set("s", Value::String(s)); }
            if let Some(i) = i { document.set("i", Value::Integer(i)); }
            prop_assert_eq!(decode(&schema(), &encode(&schema(), &document).unwrap()).unwrap(), document);
        }
    }
}
