//! A tree and a schema to what the indexes are asked: for each predicate a field and ranges of its keys.

use std::ops::Bound;

use super::expression::{Comparison, Expression, Literal, LiteralValue, Name};
use super::mistake::Mistake;
use crate::metadata::document::MAX_INDEXED_BYTES;
use crate::metadata::index::key::{bool_key, float_key, integer_key};
use crate::metadata::index::range::{KeyRange, complement};
use crate::metadata::schema::{FieldKind, Schema};
use crate::metadata::value::Timestamp;

/// A checked filter.
#[derive(Clone, Debug, PartialEq)]
pub(in super::super) enum Node {
    All(Vec<Node>),
    Any(Vec<Node>),
    Not(Box<Node>),
    /// The field at that position has a value.
    Exists(usize),
    /// The field has a value, or a tag, with a key in one of the ranges, which ascend and are disjoint.
    Within(usize, Vec<KeyRange>),
}

pub(super) fn check(schema: &Schema, expression: &Expression) -> Result<Node, Mistake> {
    let parts = |parts: &[Expression]| parts.iter().map(|part| check(schema, part)).collect::<Result<_, _>>();
    match expression {
        Expression::And(all) => parts(all).map(Node::All),
        Expression::Or(any) => parts(any).map(Node::Any),
        Expression::Not(part) => Ok(Node::Not(Box::new(check(schema, part)?))),
        Expression::Exists(field) => Ok(Node::Exists(declared(schema, field)?.0)),
        Expression::Missing(field) => Ok(Node::Not(Box::new(Node::Exists(declared(schema, field)?.0)))),
        Expression::Is(field) => match declared(schema, field)? {
            (position, FieldKind::Bool) => Ok(Node::Within(position, vec![KeyRange::only(&bool_key(true))])),
            (_, kind) => Err(of_kind(field, "a bool field, or a comparison after the field", kind)),
        },
        Expression::Compare { field, comparison, value } => {
            let (position, kind) = single(schema, field)?;
            let is_ordered = matches!(comparison, Comparison::Equal | Comparison::Unequal) || kind != FieldKind::Bool;
            if !is_ordered {
                let expected = format!("a field with an order before `{}`", comparison.symbol());
                return Err(of_kind(field, &expected, kind));
            }
            Ok(Node::Within(position, compared(*comparison, key(field, kind, value)?)))
        }
        Expression::In { field, negated, values } => {
            let (position, kind) = single(schema, field)?;
            let keys: Result<Vec<_>, _> = values.iter().map(|value| key(field, kind, value)).collect();
            let mut keys = keys?;
            keys.sort_unstable();
            keys.dedup();
            let ranges: Vec<_> = keys.iter().map(|key| KeyRange::only(key)).collect();
            Ok(Node::Within(position, if *negated { complement(&ranges) } else { ranges }))
        }
        Expression::Between { field, low, high } => {
            let (position, kind) = single(schema, field)?;
            if kind == FieldKind::Bool {
                return Err(of_kind(field, "a field with an order before `between`", kind));
            }
            let (low, high) = (key(field, kind, low)?, key(field, kind, high)?);
            let is_empty = low > high;
            let range = KeyRange { low: Bound::Included(low), high: Bound::Included(high) };
            Ok(Node::Within(position, if is_empty { Vec::new() } else { vec![range] }))
        }
        Expression::Contains { field, value } => match declared(schema, field)? {
            (position, FieldKind::Tags) => {
                Ok(Node::Within(position, vec![KeyRange::only(&key(field, FieldKind::String, value)?)]))
            }
            (_, kind) => Err(of_kind(field, "a field of kind tags before `contains`", kind)),
        },
    }
}

fn compared(comparison: Comparison, key: Vec<u8>) -> Vec<KeyRange> {
    let (low, high) = match comparison {
        Comparison::Equal => return vec![KeyRange::only(&key)],
        Comparison::Unequal => return complement(&[KeyRange::only(&key)]),
        Comparison::Less => (Bound::Unbounded, Bound::Excluded(key)),
        Comparison::LessOrEqual => (Bound::Unbounded, Bound::Included(key)),
        Comparison::Greater => (Bound::Excluded(key), Bound::Unbounded),
        Comparison::GreaterOrEqual => (Bound::Included(key), Bound::Unbounded),
    };
    vec![KeyRange { low, high }]
}

fn declared(schema: &Schema, name: &Name) -> Result<(usize, FieldKind), Mistake> {
    let found = schema.field(&name.text).map(|(position, field)| (position, field.kind));
    found.ok_or_else(|| {
        Mistake::new(name.place.0, format!("a declared field: one of {}", schema.names()), format!("`{name}`"))
    })
}

/// A field with one value, unlike tags.
fn single(schema: &Schema, name: &Name) -> Result<(usize, FieldKind), Mistake> {
    match declared(schema, name)? {
        (_, FieldKind::Tags) => Err(of_kind(name, "`contains` after a field of tags", FieldKind::Tags)),
        found => Ok(found),
    }
}

fn of_kind(name: &Name, expected: &str, found: FieldKind) -> Mistake {
    Mistake::new(name.place.0, expected, format!("the field `{name}` of kind {found}"))
}

fn key(field: &Name, kind: FieldKind, literal: &Literal) -> Result<Vec<u8>, Mistake> {
    let refused = |expected: &str| {
        let found = match literal.value {
            LiteralValue::Text(_) => format!("the text {literal}"),
            LiteralValue::Integer(_) => format!("the integer {literal}"),
            LiteralValue::Float(_) => format!("the float {literal}"),
            LiteralValue::Bool(_) => format!("the bool {literal}"),
        };
        let found = crate::metadata::document::clipped(found);
        Mistake::new(literal.place.0, format!("{expected} for the field `{field}`"), found)
    };
    match (kind, &literal.value) {
        (FieldKind::String, LiteralValue::Text(text)) if text.len() > MAX_INDEXED_BYTES => {
            Err(refused(&format!("a text of at most {MAX_INDEXED_BYTES} bytes")))
        }
        (FieldKind::String, LiteralValue::Text(text)) => Ok(text.as_bytes().to_vec()),
        (FieldKind::Integer, LiteralValue::Integer(number)) => Ok(integer_key(*number).to_vec()),
        (FieldKind::Float, LiteralValue::Integer(number)) => Ok(float_key(*number as f64).to_vec()),
        (FieldKind::Float, LiteralValue::Float(number)) => Ok(float_key(*number).to_vec()),
        (FieldKind::Bool, LiteralValue::Bool(truth)) => Ok(bool_key(*truth).to_vec()),
        (FieldKind::Timestamp, LiteralValue::Text(text)) => {
            let expected = "an RFC 3339 timestamp such as \"2024-02-29T12:00:00Z\" with at most microseconds";
            let moment: Timestamp = text.parse().map_err(|_| refused(expected))?;
            Ok(integer_key(moment.microseconds()).to_vec())
        }
        (FieldKind::String, _) => Err(refused("a text in quotation marks")),
        (FieldKind::Integer, _) => Err(refused("an integer")),
        (FieldKind::Float, _) => Err(refused("a number")),
        (FieldKind::Bool, _) => Err(refused("`true` or `false`")),
        (FieldKind::Timestamp, _) => Err(refused("an RFC 3339 timestamp in quotation marks")),
        (FieldKind::Tags, _) => unreachable!("a field of tags has no single value"),
    }
}
