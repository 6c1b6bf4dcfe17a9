//! What a record may say about itself: named fields, each of one kind.

use std::collections::BTreeSet;
use std::fmt;

use serde::{Deserialize, Serialize};

/// The words of the filter language, which no field may be called.
pub(super) const KEYWORDS: [&str; 10] =
    ["and", "between", "contains", "exists", "false", "in", "missing", "not", "or", "true"];

/// The most fields that a schema may have.
pub const MAX_FIELDS: usize = 256;

/// The longest name of a field, in bytes.
pub const MAX_NAME_BYTES: usize = 64;

/// What the values of a field are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum FieldKind {
    /// UTF-8 text, ordered by its bytes, which is the order of its code points.
    String,
    /// A signed integer of 64 bits.
    Integer,
    /// A finite float of 64 bits. NaN and infinity are refused: absence says the same and compares with nothing either.
    Float,
    /// True or false.
    Bool,
    /// A moment, in microseconds since 1970-01-01T00:00:00Z; as text RFC 3339.
    Timestamp,
    /// A set of strings.
    Tags,
}

impl FieldKind {
    /// The kind with its article, for messages.
    pub(super) fn described(self) -> &'static str {
        match self {
            Self::String => "a string",
            Self::Integer => "an integer",
            Self::Float => "a float",
            Self::Bool => "a bool",
            Self::Timestamp => "a timestamp",
            Self::Tags => "a set of tags",
        }
    }
}

impl fmt::Display for FieldKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::String => "string",
            Self::Integer => "integer",
            Self::Float => "float",
            Self::Bool => "bool",
            Self::Timestamp => "timestamp",
            Self::Tags => "tags",
        })
    }
}

/// One field: its name, its kind, and whether an index of it is kept.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Field {
    /// An identifier: a letter or `_`, then letters, digits and `_`, all ASCII; no word of the filter language.
    pub name: String,
    /// What its values are.
    pub kind: FieldKind,
    /// Whether an index answers filters on it. Without one they read the documents of all candidates.
    #[serde(default = "indexed")]
    pub indexed: bool,
}

impl Field {
    /// A field with an index.
    pub fn new(name: impl Into<String>, kind: FieldKind) -> Self {
        Self { name: name.into(), kind, indexed: true }
    }

    /// The same field without an index: for long texts, and for what is shown but not filtered by.
    #[must_use]
    pub fn unindexed(self) -> Self {
        Self { indexed: false, ..self }
    }
}

fn indexed() -> bool {
    true
}

/// The declared fields of the records of one store. Their order is part of it: documents name a field by its position.
///
/// ```
/// use nearlab_storage::metadata::{Field, FieldKind, Schema};
///
/// let schema = Schema::new([Field::new("price", FieldKind::Float), Field::new("sold", FieldKind::Bool)])?;
/// let twice = Schema::new([Field::new("price", FieldKind::Float), Field::new("price", FieldKind::Bool)]);
/// assert_eq!(twice.unwrap_err().to_string(), "field 2 has a name that is taken: expected a new one, found `price` again");
/// # assert_eq!(schema.fields().len(), 2);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Declared", into = "Declared")]
pub struct Schema {
    fields: Vec<Field>,
}

/// The form of a schema in a file, before its names are checked.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Declared {
    fields: Vec<Field>,
}

impl TryFrom<Declared> for Schema {
    type Error = SchemaError;

    fn try_from(declared: Declared) -> Result<Self, SchemaError> {
        Self::new(declared.fields)
    }
}

impl From<Schema> for Declared {
    fn from(schema: Schema) -> Self {
        Self { fields: schema.fields }
    }
}

impl Schema {
    /// Checks the names: identifiers, none twice, none a word of the filter language, at most [`MAX_FIELDS`].
    pub fn new(fields: impl IntoIterator<Item = Field>) -> Result<Self, SchemaError> {
        let fields: Vec<Field> = fields.into_iter().collect();
        if fields.len() > MAX_FIELDS {
            return Err(SchemaError::TooMany { found: fields.len() });
        }
        let mut taken = BTreeSet::new();
        for (i, Field { name, .. }) in fields.iter().enumerate() {
            let position = i + 1;
            if !is_identifier(name) {
                return Err(SchemaError::Name { position, found: name.clone() });
            }
            if KEYWORDS.contains(&name.as_str()) {
                return Err(SchemaError::Keyword { position, found: name.clone() });
            }
            if !taken.insert(name) {
                return Err(SchemaError::Duplicate { position, found: name.clone() });
            }
        }
        Ok(Self { fields })
    }

    /// The fields in their order.
    pub fn fields(&self) -> &[Field] {
        &self.fields
    }

    /// The field of that name with its position.
    pub fn field(&self, name: &str) -> Option<(usize, &Field)> {
        self.fields.iter().enumerate().find(|(_, field)| field.name == name)
    }

    /// The names in their order, for a message.
    pub(super) fn names(&self) -> String {
        if self.fields.is_empty() {
            return "no field at all".to_owned();
        }
        self.fields.iter().map(|field| format!("`{}`", field.name)).collect::<Vec<_>>().join(", ")
    }
}

fn is_identifier(name: &str) -> bool {
    name.len() <= MAX_NAME_BYTES
        && name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
        && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
}

/// Why fields make no schema. Positions count from 1.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SchemaError {
    /// A name that the filter language could not read.
    #[error(
        "field {position} has an unfitting name: expected a letter or `_`, then letters, digits and `_`, at most \
         {MAX_NAME_BYTES} in all, found {found:?}"
    )]
    Name {
        /// Which field.
        position: usize,
        /// Its name.
        found: String,
    },
    /// A name that means something else in the filter language.
    #[error("field {position} has an unfitting name: expected no word of the filter language, found `{found}`")]
    Keyword {
        /// Which field.
        position: usize,
        /// Its name.
        found: String,
    },
    /// A name that an earlier field has.
    #[error("field {position} has a name that is taken: expected a new one, found `{found}` again")]
    Duplicate {
        /// The later of the two fields.
        position: usize,
        /// Its name.
        found: String,
    },
    /// More than [`MAX_FIELDS`].
    #[error("a schema has at most {MAX_FIELDS} fields, found {found}")]
    TooMany {
        /// The number of fields.
        found: usize,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_schema_survives_json_and_says_indexed_by_itself() {
        let schema =
            Schema::new([Field::new("name", FieldKind::String), Field::new("_2", FieldKind::Tags).unindexed()])
                .unwrap();
        let text = serde_json::to_string(&schema).unwrap();
        assert_eq!(
            text,
            r#"{"fields":[{"name":"name","kind":"string","indexed":true},{"name":"_2","kind":"tags","indexed":false}]}"#
        );
        assert_eq!(serde_json::from_str::<Schema>(&text).unwrap(), schema);
        let short = r#"{"fields":[{"name":"name","kind":"timestamp"}]}"#;
        assert!(serde_json::from_str::<Schema>(short).unwrap().fields()[0].indexed);
        assert_eq!(schema.field("_2").unwrap().0, 1);
        assert!(schema.field("_3").is_none());
    }

    #[test]
    fn names_that_filters_could_not_read_are_refused() {
        for name in ["", "2a", "a-b", "größe", "a b", &"x".repeat(65)] {
            let error = Schema::new([Field::new(name, FieldKind::Bool)]).unwrap_err();
            assert!(matches!(&error, SchemaError::Name { position: 1, found } if found == name), "{error}");
        }
        let error = Schema::new([Field::new("a", FieldKind::Bool), Field::new("not", FieldKind::Bool)]).unwrap_err();
        assert_eq!(
            error.to_string(),
            "field 2 has an unfitting name: expected no word of the filter language, found `not`"
        );
        let many = (0..257).map(|i| Field::new(format!("f{i}"), FieldKind::Integer));
        assert_eq!(Schema::new(many).unwrap_err().to_string(), "a schema has at most 256 fields, found 257");
    }

    #[test]
    fn a_file_with_a_bad_name_is_refused_with_the_reason() {
        let text = r#"{"fields":[{"name":"a","kind":"bool"},{"name":"a","kind":"bool"}]}"#;
        let message = serde_json::from_str::<Schema>(text).unwrap_err().to_string();
        assert!(message.contains("field 2 has a name that is taken"), "{message}");
    }

    #[test]
    fn kinds_are_called_the_same_everywhere() {
        use FieldKind::{Bool, Float, Integer, String, Tags, Timestamp};
        for kind in [String, Integer, Float, Bool, Timestamp, Tags] {
            assert_eq!(serde_json::to_string(&kind).unwrap(), format!("\"{kind}\""));
            assert!(kind.described().contains(&kind.to_string()));
        }
    }
}
