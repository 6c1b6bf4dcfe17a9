//! The values of one record, checked against a schema, and their JSON form.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value as Json;

use super::schema::{Field, FieldKind, Schema};
use super::value::{Timestamp, Value};

/// The longest string or tag of an indexed field, in bytes: the index keeps values whole.
pub const MAX_INDEXED_BYTES: usize = 1024;

/// The largest encoded document, in bytes.
pub const MAX_DOCUMENT_BYTES: usize = 16 * 1024 * 1024;

/// The field values of one record. A field that is not there is *absent*, which is no value at all.
///
/// ```
/// use nearlab_storage::metadata::{Document, Field, FieldKind, Schema, Value};
///
/// let schema = Schema::new([Field::new("price", FieldKind::Float), Field::new("colour", FieldKind::String)])?;
/// let document = Document::new().with("price", Value::Float(9.5));
/// document.check(&schema)?;
/// assert_eq!(document.to_json().to_string(), r#"{"price":9.5}"#);
///
/// let wrong = Document::new().with("price", Value::Bool(true)).check(&schema).unwrap_err();
/// assert_eq!(wrong.to_string(), "field `price`: expected a float, found the bool true");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Document {
    values: BTreeMap<String, Value>,
}

impl Document {
    /// A document in which everything is absent.
    pub fn new() -> Self {
        Self::default()
    }

    /// The same document with a value more, or another one.
    #[must_use]
    pub fn with(mut self, field: impl Into<String>, value: Value) -> Self {
        self.set(field, value);
        self
    }

    /// Gives a field a value, in place of the one it has.
    pub fn set(&mut self, field: impl Into<String>, value: Value) {
        self.values.insert(field.into(), value);
    }

    /// The value of a field, unless it is absent.
    pub fn get(&self, field: &str) -> Option<&Value> {
        self.values.get(field)
    }

    /// The fields that have a value, by name.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Value)> {
        self.values.iter().map(|(name, value)| (name.as_str(), value))
    }

    /// Whether `schema` allows every value.
    pub fn check(&self, schema: &Schema) -> Result<(), DocumentError> {
        for (name, value) in &self.values {
            let (_, field) = declared(schema, name)?;
            check_value(field, value)?;
        }
        Ok(())
    }

    /// Reads an object of JSON: strings, numbers, bools, timestamps as RFC 3339 text, tags as arrays of strings. `null` is
    /// absence, and an integer does for a float.
    pub fn from_json(schema: &Schema, json: &Json) -> Result<Self, DocumentError> {
        let Json::Object(members) = json else {
            return Err(DocumentError::NotAnObject { found: described(json) });
        };
        let mut document = Self::new();
        for (name, member) in members {
            let (_, field) = declared(schema, name)?;
            if member.is_null() {
                continue;
            }
            let value = read_value(field, member)?;
            check_value(field, &value)?;
            document.set(name, value);
        }
        Ok(document)
    }

    /// The object of JSON that [`Document::from_json`] reads as this document. Its fields stand in the order of their names.
    pub fn to_json(&self) -> Json {
        let member = |value: &Value| match value {
            Value::String(text) => Json::from(text.as_str()),
            Value::Integer(number) => Json::from(*number),
            Value::Float(number) => Json::from(*number),
            Value::Bool(truth) => Json::from(*truth),
            Value::Timestamp(moment) => Json::from(moment.to_string()),
            Value::Tags(tags) => tags.iter().map(String::as_str).collect(),
        };
        Json::Object(self.values.iter().map(|(name, value)| (name.clone(), member(value))).collect())
    }
}

fn declared<'a>(schema: &'a Schema, name: &str) -> Result<(usize, &'a Field), DocumentError> {
    schema.field(name).ok_or_else(|| DocumentError::UnknownField { field: name.to_owned(), expected: schema.names() })
}

fn check_value(field: &Field, value: &Value) -> Result<(), DocumentError> {
    let refused = |expected: String, found: String| {
        Err(DocumentError::Value { field: field.name.clone(), expected, found: clipped(found) })
    };
    if value.kind() != field.kind {
        return refused(field.kind.described().to_owned(), found(value));
    }
    let too_long = |text: &String| text.len() > MAX_INDEXED_BYTES && field.indexed;
    let limit = || format!("at most {MAX_INDEXED_BYTES} bytes, as the field is indexed");
    match value {
        Value::Float(number) if !number.is_finite() => refused("a finite float".to_owned(), number.to_string()),
        Value::String(text) if too_long(text) => refused(limit(), text.len().to_string()),
        Value::Tags(tags) => match tags.iter().find(|tag| too_long(tag)) {
            Some(tag) => refused(limit(), format!("a tag of {}", tag.len())),
            None => Ok(()),
        },
        _ => Ok(()),
    }
}

fn read_value(field: &Field, json: &Json) -> Result<Value, DocumentError> {
    let value = match (field.kind, json) {
        (FieldKind::String, Json::String(text)) => Some(Value::String(text.clone())),
        (FieldKind::Integer, Json::Number(number)) => number.as_i64().map(Value::Integer),
        (FieldKind::Float, Json::Number(number)) => number.as_f64().map(Value::Float),
        (FieldKind::Bool, Json::Bool(truth)) => Some(Value::Bool(*truth)),
        (FieldKind::Timestamp, Json::String(text)) => {
            let moment: Timestamp = text.parse().map_err(|cause: super::value::TimestampError| {
                let expected = "an RFC 3339 timestamp with at most microseconds".to_owned();
                DocumentError::Value {
                    field: field.name.clone(),
                    expected,
                    found: clipped(format!("{:?}", cause.found)),
                }
            })?;
            Some(Value::Timestamp(moment))
        }
        (FieldKind::Tags, Json::Array(members)) => {
            let tags: Option<BTreeSet<String>> =
                members.iter().map(|member| member.as_str().map(str::to_owned)).collect();
            tags.map(Value::Tags)
        }
        _ => None,
    };
    value.ok_or_else(|| DocumentError::Value {
        field: field.name.clone(),
        expected: match field.kind {
            FieldKind::Timestamp => "a timestamp as RFC 3339 text".to_owned(),
            FieldKind::Tags => "a set of tags as an array of strings".to_owned(),
            FieldKind::Integer => "an integer of 64 bits".to_owned(),
            kind => kind.described().to_owned(),
        },
        found: described(json),
    })
}

fn found(value: &Value) -> String {
    match value {
        Value::String(text) => format!("the string {text:?}"),
        Value::Integer(number) => format!("the integer {number}"),
        Value::Float(number) => format!("the float {number:?}"),
        Value::Bool(truth) => format!("the bool {truth}"),
        Value::Timestamp(moment) => format!("the timestamp {moment}"),
        Value::Tags(tags) => format!("a set of {} tags", tags.len()),
    }
}

fn described(json: &Json) -> String {
    match json {
        Json::Null => "null".to_owned(),
        Json::Bool(_) | Json::Number(_) | Json::String(_) => clipped(json.to_string()),
        Json::Array(members) => clipped(format!("the array {}", Json::from(members.as_slice()))),
        Json::Object(_) => "an object".to_owned(),
    }
}

/// Messages show what was found, but not all of a long text.
pub(super) fn clipped(text: String) -> String {
    const LONGEST: usize = 80;
    match text.char_indices().nth(LONGEST) {
        Some((end, _)) => format!("{}...", &text[..end]),
        None => text,
    }
}

/// Why a schema does not allow a document.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DocumentError {
    /// A field that the schema does not declare.
    #[error("field `{field}` is not declared: expected one of {expected}")]
    UnknownField {
        /// The name of the field.
        field: String,
        /// The names that the schema declares.
        expected: String,
    },
    /// A value of another kind, or one that the kind does not allow.
    #[error("field `{field}`: expected {expected}, found {found}")]
    Value {
        /// The name of the field.
        field: String,
        /// What the schema asks for.
        expected: String,
        /// What is there.
        found: String,
    },
    /// JSON that is no object.
    #[error("expected an object with a member for each field, found {found}")]
    NotAnObject {
        /// What is there instead.
        found: String,
    },
    /// More than [`MAX_DOCUMENT_BYTES`].
    #[error("a document takes at most {MAX_DOCUMENT_BYTES} bytes, found {found}")]
    TooLarge {
        /// Its encoded size.
        found: usize,
    },
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn schema() -> Schema {
        Schema::new([
            Field::new("s", FieldKind::String),
            Field::new("i", FieldKind::Integer),
            Field::new("f", FieldKind::Float),
            Field::new("b", FieldKind::Bool),
            Field::new("t", FieldKind::Timestamp),
            Field::new("g", FieldKind::Tags),
            Field::new("long", FieldKind::String).unindexed(),
        ])
        .unwrap()
    }

    #[test]
    fn json_comes_back_as_it_was_but_for_nulls() {
        let json = json!({
            "s": "text", "i": -7, "f": 1.5, "b": false, "t": "2024-01-01T00:00:00Z", "g": ["a", "b"], "long": null
        });
        let document = Document::from_json(&schema(), &json).unwrap();
        document.check(&schema()).unwrap();
        assert_eq!(document.get("g"), Some(&Value::Tags(["a".to_owned(), "b".to_owned()].into())));
        assert_eq!((document.get("long"), document.iter().count()), (None, 6));
        let mut expected = json;
        expected.as_object_mut().unwrap().remove("long");
        assert_eq!(document.to_json(), expected);
    }

    #[test]
    fn an_integer_does_for_a_float_but_not_the_other_way() {
        let document = Document::from_json(&schema(), &json!({"f": 3})).unwrap();
        assert_eq!(document.get("f"), Some(&Value::Float(3.0)));
        let error = Document::from_json(&schema(), &json!({"i": 3.5})).unwrap_err();
        assert_eq!(error.to_string(), "field `i`: expected an integer of 64 bits, found 3.5");
    }

    #[test]
    fn floats_survive_their_text() {
        for number in [0.1, 1.0 / 3.0, 3.0 / 7.0, 5e-324, f64::MAX, 9_007_199_254_740_993.0, 2.225_073_858_507_201e-308]
        {
            let text = Document::new().with("f", Value::Float(number)).to_json().to_string();
            let json: Json = serde_json::from_str(&text).unwrap();
            assert_eq!(Document::from_json(&schema(), &json).unwrap().get("f"), Some(&Value::Float(number)), "{text}");
        }
    }

    #[test]
    fn each_refusal_names_field_expected_and_found() {
        let long = "x".repeat(2000);
        let cases = [
            (json!({"x": 1}), "field `x` is not declared: expected one of `s`, `i`, `f`, `b`, `t`, `g`, `long`"),
            (json!([1]), "expected an object with a member for each field, found the array [1]"),
            (json!({"s": 1}), "field `s`: expected a string, found 1"),
            (json!({"s": {"a": 1}}), "field `s`: expected a string, found an object"),
            (json!({"i": u64::MAX}), "field `i`: expected an integer of 64 bits, found 18446744073709551615"),
            (json!({"b": "true"}), "field `b`: expected a bool, found \"true\""),
            (json!({"t": 5}), "field `t`: expected a timestamp as RFC 3339 text, found 5"),
            (
                json!({"t": "noon"}),
                "field `t`: expected an RFC 3339 timestamp with at most microseconds, found \"noon\"",
            ),
            (
                json!({"g": ["a", 1]}),
                "field `g`: expected a set of tags as an array of strings, found the array [\"a\",1]",
            ),
            (json!({"s": long}), "field `s`: expected at most 1024 bytes, as the field is indexed, found 2000"),
            (
                json!({"g": [long]}),
                "field `g`: expected at most 1024 bytes, as the field is indexed, found a tag of 2000",
            ),
            (json!(null), "expected an object with a member for each field, found null"),
        ];
        for (json, message) in cases {
            assert_eq!(Document::from_json(&schema(), &json).unwrap_err().to_string(), message);
        }
        Document::from_json(&schema(), &json!({"long": long})).unwrap();
        let empty = Schema::new([]).unwrap();
        let error = Document::from_json(&empty, &json!({"x": 1})).unwrap_err().to_string();
        assert_eq!(error, "field `x` is not declared: expected one of no field at all");
    }

    #[test]
    fn a_check_shows_what_was_found_and_clips_it() {
        let values = [
            (Value::String("é".repeat(100)), format!("the string \"{}...", "é".repeat(68))),
            (Value::Integer(5), "the integer 5".to_owned()),
            (Value::Float(5.0), "the float 5.0".to_owned()),
            (
                Value::Timestamp(Timestamp::from_microseconds(0).unwrap()),
                "the timestamp 1970-01-01T00:00:00Z".to_owned(),
            ),
            (Value::Tags(["a".to_owned()].into()), "a set of 1 tags".to_owned()),
        ];
        for (value, found) in values {
            let error = Document::new().with("b", value).check(&schema()).unwrap_err();
            assert_eq!(error.to_string(), format!("field `b`: expected a bool, found {found}"));
        }
        for number in [f64::NAN, f64::INFINITY] {
            let error = Document::new().with("f", Value::Float(number)).check(&schema()).unwrap_err();
            assert_eq!(error.to_string(), format!("field `f`: expected a finite float, found {number}"));
        }
    }
}
