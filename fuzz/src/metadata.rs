//! Records that the targets of metadata begin with, and schemas that a fuzzer can change.

use std::collections::BTreeSet;

use nearlab_storage::metadata::{Document, Field, FieldKind, Schema, Timestamp, Value};

/// Kinds of fields, by the byte that describes one.
const KINDS: [FieldKind; 6] =
    [FieldKind::String, FieldKind::Integer, FieldKind::Float, FieldKind::Bool, FieldKind::Timestamp, FieldKind::Tags];
/// The names of all fields of [`schema`].
pub const ALL: &str = "sifbtg";
/// The names of those that have an index where some have one and some have none.
pub const INDEXED: &str = "sitg";
/// Filters that use every word of the language and every kind of value.
pub const FILTERS: [&str; 12] = [
    "i < 3 and s in [\"a\", \"red\"] and not b",
    "f >= -0.5 or f == 1e0 or f != 2",
    "s not in [\"\", \"n\\u{e9}\", \"\\\"\\\\\\n\\r\\t\"]",
    "i between -3 and 2 or i = 3",
    "f between -1 and 0.5",
    "t >= \"1970-01-01T00:00:02Z\" and t < \"1970-01-01T01:00:05.5+01:00\"",
    "t between \"1969-12-31T23:59:59.999999Z\" and \"1970-01-01T00:00:04Z\"",
    "g contains \"a\" or not g contains \"b\"",
    "exists(s) and missing(g) or missing(t)",
    "not (b or (i <= 0 and not (s > \"a\")))",
    "b == true or b != false or b in [true]",
    "((i > 1) and (f < 1.5 or (b))) and exists(i)",
];
/// The most fields that an input describes.
const MOST_FIELDS: usize = 32;

/// The schema that `input` begins with, and the rest: the number of fields, then a byte for each with its kind, and whether it
/// has an index in the highest bit. None where the input ends early.
pub fn read_schema(input: &[u8]) -> Option<(Schema, &[u8])> {
    let (&count, rest) = input.split_first()?;
    let (fields, rest) = rest.split_at_checked(usize::from(count) % (MOST_FIELDS + 1))?;
    let field = |(i, byte): (usize, &u8)| {
        let field = Field::new(format!("f{i}"), KINDS[usize::from(byte & 0x7f) % KINDS.len()]);
        if byte & 0x80 == 0 { field } else { field.unindexed() }
    };
    Some((Schema::new(fields.iter().enumerate().map(field)).expect("sound names"), rest))
}

/// The bytes that describe a schema whose fields are called as [`read_schema`] calls them.
pub fn describe_schema(schema: &Schema) -> Vec<u8> {
    let field = |field: &Field| {
        let kind = KINDS.iter().position(|kind| *kind == field.kind).expect("one of all kinds");
        kind as u8 | if field.indexed { 0 } else { 0x80 }
    };
    std::iter::once(schema.fields().len() as u8).chain(schema.fields().iter().map(field)).collect()
}

/// A field of each kind: `s`, `i`, `f`, `b`, `t` and `g`, as [`record`] fills them; those that are named have an index.
pub fn schema(indexed: &str) -> Schema {
    let field =
        |(name, kind): (&str, FieldKind)| Field { name: name.to_owned(), kind, indexed: indexed.contains(name) };
    Schema::new(["s", "i", "f", "b", "t", "g"].into_iter().zip(KINDS).map(field)).expect("sound names")
}

/// The record of that slot: few values, so that filters find some, and each of them absent now and then.
pub fn record(slot: u32) -> Document {
    let mut document = Document::new();
    let text = |i: u32| ["", "a", "b", "red", "né"][i as usize % 5].to_owned();
    let number = slot % 7;
    let values = [
        ("s", Value::String(text(slot))),
        ("i", Value::Integer(i64::from(number) - 3)),
        ("f", Value::Float(f64::from(number) / 2.0 - 1.0)),
        ("b", Value::Bool(slot.is_multiple_of(2))),
        ("t", Value::Timestamp(Timestamp::from_microseconds(i64::from(number) * 1_000_000).expect("a moment of 1970"))),
        ("g", Value::Tags((0..number).map(text).collect::<BTreeSet<_>>())),
    ];
    for (i, (name, value)) in (0..).zip(values) {
        if slot % 11 != i {
            document.set(name, value);
        }
    }
    document
}
