//! The filter language: `price < 30 and colour in ["red", "blue"] and not sold`.
//!
//! | written | true of a record |
//! |---|---|
//! | `price < 30` | whose price is below 30; also `<=`, `>`, `>=`, `==` (or `=`), `!=` |
//! | `colour in ["red", "blue"]`, `colour not in ["red"]` | whose colour is in the list; whose colour is another |
//! | `price between 10 and 20` | whose price is from 10 to 20, ends included |
//! | `sold` | whose bool field is true |
//! | `labels contains "new"` | with that tag |
//! | `exists(price)`, `missing(price)` | that has a price; that has none |
//! | `not a`, `a and b`, `a or b`, `(a)` | the rest of the records; both; either. `not` binds tightest, `or` least |
//!
//! Texts and timestamps (RFC 3339) stand in quotation marks, with the escapes `\"`, `\\`, `\n`, `\r`, `\t` and `\u{1f600}`.
//! Integers do for floats. Words are in lower case.
//!
//! **Absent values.** There are two truth values. A field without a value matches no comparison, `!=` and `not in` included; `not` is
//! the complement among the records that exist. So `price != 3` finds the records with another price, and `not price == 3` those
//! without one as well.
//!
//! [`Expression`] is what was written, [`Filter`] what it asks of a schema: for each predicate, ranges of the keys of an index.

mod check;
mod expression;
mod lexer;
mod mistake;
mod parser;
#[cfg(test)]
mod tests;

pub(super) use check::Node;
pub use expression::{Comparison, Expression, Literal, LiteralValue, Name, Place};
pub use mistake::FilterError;
pub use parser::{MAX_FILTER_BYTES, MAX_FILTER_DEPTH};

use super::schema::Schema;

/// A filter whose fields and values suit a schema.
///
/// ```
/// use nearlab_storage::metadata::{Field, FieldKind, Filter, Schema};
///
/// let schema = Schema::new([Field::new("price", FieldKind::Float), Field::new("sold", FieldKind::Bool)])?;
/// let filter = Filter::parse(&schema, "price < 30 and not sold")?;
///
/// let error = Filter::parse(&schema, "price < 30 and not gold").unwrap_err();
/// assert_eq!(
///     error.to_string(),
///     "expected a declared field: one of `price`, `sold`, found `gold` at column 20\n  price < 30 and not gold\n                     ^"
/// );
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct Filter {
    schema: Schema,
    root: Node,
}

impl Filter {
    /// Reads a text and checks it against a schema.
    pub fn parse(schema: &Schema, text: &str) -> Result<Self, FilterError> {
        let expression = parser::parse(text).map_err(|mistake| mistake.within(text))?;
        let root = check::check(schema, &expression).map_err(|mistake| mistake.within(text))?;
        Ok(Self { schema: schema.clone(), root })
    }

    /// Checks a tree against a schema. Errors give places in the text of the tree, so it must be one that the parser could
    /// have made.
    pub fn new(schema: &Schema, expression: &Expression) -> Result<Self, FilterError> {
        Self::parse(schema, &expression.to_string())
    }

    /// The schema that it suits.
    pub fn schema(&self) -> &Schema {
        &self.schema
    }

    pub(super) fn root(&self) -> &Node {
        &self.root
    }
}
