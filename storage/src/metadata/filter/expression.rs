//! A filter as a tree, and the text of it.

use std::fmt;

use super::mistake::Mistake;
use super::{FilterError, parser};

/// Where a word stood in the text, in bytes from its start. Any two are equal, so that trees are compared by what they say.
#[derive(Clone, Copy, Debug, Default)]
pub struct Place(pub(super) usize);

impl PartialEq for Place {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

/// The name of a field, which may not exist.
#[derive(Clone, Debug, PartialEq)]
pub struct Name {
    /// The name: an identifier that is no word of the language.
    pub text: String,
    /// Where it stood.
    pub place: Place,
}

impl From<&str> for Name {
    fn from(text: &str) -> Self {
        Self { text: text.to_owned(), place: Place::default() }
    }
}

/// A value as written, which may not suit the field that it is compared with.
#[derive(Clone, Debug, PartialEq)]
pub struct Literal {
    /// The value.
    pub value: LiteralValue,
    /// Where it stood.
    pub place: Place,
}

impl From<LiteralValue> for Literal {
    fn from(value: LiteralValue) -> Self {
        Self { value, place: Place::default() }
    }
}

/// What a [`Literal`] says. Timestamps are texts until a schema gives them a meaning.
#[derive(Clone, Debug, PartialEq)]
pub enum LiteralValue {
    /// `"red"`
    Text(String),
    /// `-3`
    Integer(i64),
    /// `1.5` or `2e9`; finite.
    Float(f64),
    /// `true` or `false`
    Bool(bool),
}

/// How two values are compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Comparison {
    /// `==` or `=`
    Equal,
    /// `!=`
    Unequal,
    /// `<`
    Less,
    /// `<=`
    LessOrEqual,
    /// `>`
    Greater,
    /// `>=`
    GreaterOrEqual,
}

impl Comparison {
    pub(super) fn symbol(self) -> &'static str {
        match self {
            Self::Equal => "==",
            Self::Unequal => "!=",
            Self::Less => "<",
            Self::LessOrEqual => "<=",
            Self::Greater => ">",
            Self::GreaterOrEqual => ">=",
        }
    }
}

/// A filter as it was written. Printing it gives a text that parses to the same tree, as long as names are identifiers, floats
/// finite, `And`, `Or` and lists as long as the parser makes them, and the text itself no longer than
/// [`MAX_FILTER_BYTES`](super::MAX_FILTER_BYTES): it may be longer than what was written.
///
/// ```
/// use nearlab_storage::metadata::Expression;
///
/// let filter = Expression::parse(r#"not (sold or price>=3) and colour in ["red","blue"]"#)?;
/// assert_eq!(filter.to_string(), r#"not (sold or price >= 3) and colour in ["red", "blue"]"#);
/// # Ok::<(), nearlab_storage::metadata::FilterError>(())
/// ```
#[derive(Clone, Debug, PartialEq)]
pub enum Expression {
    /// `a and b and c`: at least two.
    And(Vec<Expression>),
    /// `a or b or c`: at least two.
    Or(Vec<Expression>),
    /// `not a`
    Not(Box<Expression>),
    /// `sold`: a bool field that is true.
    Is(Name),
    /// `price < 30`
    Compare {
        /// The field.
        field: Name,
        /// How.
        comparison: Comparison,
        /// With what.
        value: Literal,
    },
    /// `colour in ["red", "blue"]` or `colour not in ["red"]`
    In {
        /// The field.
        field: Name,
        /// Whether it says `not in`.
        negated: bool,
        /// The list: at least one.
        values: Vec<Literal>,
    },
    /// `price between 10 and 20`: both ends belong to it.
    Between {
        /// The field.
        field: Name,
        /// The lower end.
        low: Literal,
        /// The upper end.
        high: Literal,
    },
    /// `tags contains "new"`
    Contains {
        /// The field.
        field: Name,
        /// The tag.
        value: Literal,
    },
    /// `exists(price)`: the field has a value.
    Exists(Name),
    /// `missing(price)`: it has none.
    Missing(Name),
}

impl Expression {
    /// Reads the text of a filter. Which fields there are does not matter yet.
    pub fn parse(text: &str) -> Result<Self, FilterError> {
        parser::parse(text).map_err(|mistake: Mistake| mistake.within(text))
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl fmt::Display for Literal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.value {
            LiteralValue::Text(text) => write_quoted(f, text),
            LiteralValue::Integer(number) => number.fmt(f),
            // With a point or an exponent, unlike an integer.
            LiteralValue::Float(number) => write!(f, "{number:?}"),
            LiteralValue::Bool(truth) => truth.fmt(f),
        }
    }
}

fn write_quoted(f: &mut fmt::Formatter<'_>, text: &str) -> fmt::Result {
    f.write_str("\"")?;
    for c in text.chars() {
        match c {
            '"' => f.write_str("\\\""),
            '\\' => f.write_str("\\\\"),
            '\n' => f.write_str("\\n"),
            '\r' => f.write_str("\\r"),
            '\t' => f.write_str("\\t"),
            c if c.is_control() => write!(f, "\\u{{{:x}}}", u32::from(c)),
            c => write!(f, "{c}"),
        }?;
    }
    f.write_str("\"")
}

/// The parts with `between` them; those that bind no tighter than that word in parentheses.
fn write_joined(f: &mut fmt::Formatter<'_>, parts: &[Expression], between: &str) -> fmt::Result {
    for (i, part) in parts.iter().enumerate() {
        if i > 0 {
            write!(f, " {between} ")?;
        }
        match part {
            Expression::Or(_) => write!(f, "({part})"),
            Expression::And(_) if between == "and" => write!(f, "({part})"),
            part => write!(f, "{part}"),
        }?;
    }
    Ok(())
}

impl fmt::Display for Expression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::And(parts) => write_joined(f, parts, "and"),
            Self::Or(parts) => write_joined(f, parts, "or"),
            Self::Not(part) => match **part {
                Self::And(_) | Self::Or(_) => write!(f, "not ({part})"),
                _ => write!(f, "not {part}"),
            },
            Self::Is(field) => write!(f, "{field}"),
            Self::Compare { field, comparison, value } => write!(f, "{field} {} {value}", comparison.symbol()),
            Self::In { field, negated, values } => {
                write!(f, "{field} {}in [", if *negated { "not " } else { "" })?;
                for (i, value) in values.iter().enumerate() {
                    write!(f, "{}{value}", if i > 0 { ", " } else { "" })?;
                }
                f.write_str("]")
            }
            Self::Between { field, low, high } => write!(f, "{field} between {low} and {high}"),
            Self::Contains { field, value } => write!(f, "{field} contains {value}"),
            Self::Exists(field) => write!(f, "exists({field})"),
            Self::Missing(field) => write!(f, "missing({field})"),
        }
    }
}
