//! The language of `require` rules: conditions over a sweep point, such as `nprobe <= nlist and ef_search >= k`.
//!
//! ```text
//! or      := and ("or" and)*
//! and     := not ("and" not)*
//! not     := "not" not | compare
//! compare := sum (("<" | "<=" | ">" | ">=" | "==" | "!=") sum)?
//! sum     := product (("+" | "-") product)*
//! product := unary (("*" | "/") unary)*
//! unary   := "-" unary | number | text | "true" | "false" | name | "(" or ")"
//! ```
//!
//! Names are the build and search parameters of the index, and `k`, `n` (base vectors), `d` (dimensions). A name whose
//! value is not known yet makes the rule undecided, unless the rest decides it (`false and n > 1` is false). Numbers
//! are floats; texts stand in single or double quotes. There are no functions.

use serde_json::Value;

use super::{error::Place, parser};

/// Longest rule, in bytes.
const LENGTH: usize = 2_000;
/// Names that every rule may use beside the index's parameters.
pub const FACTS: [&str; 3] = ["k", "n", "d"];

/// One rule, parsed.
#[derive(Debug, Clone, PartialEq)]
pub struct Rule {
    /// As written.
    pub text: String,
    /// Where it stands in the experiment's file.
    pub place: Place,
    root: Expr,
    names: Vec<Name>,
}

/// A name in a rule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Name {
    /// The name.
    pub name: String,
    /// Its first character's position in the rule, in characters.
    pub at: usize,
}

/// What is wrong with a rule's text, and where in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RuleError {
    /// A sentence.
    pub message: String,
    /// What would have been right.
    pub expected: Option<String>,
    /// First character, in characters from the start of the rule.
    pub at: usize,
    /// Characters.
    pub length: usize,
}

/// A value while a rule is judged.
#[derive(Debug, Clone, PartialEq)]
pub enum Operand {
    /// A number.
    Number(f64),
    /// A text.
    Text(String),
    /// True or false.
    Truth(bool),
    /// Not known yet.
    Unknown,
}

impl Operand {
    /// From a parameter's value; what is none of the three is unknown.
    pub fn of(value: &Value) -> Self {
        match value {
            Value::Bool(truth) => Self::Truth(*truth),
            Value::String(text) => Self::Text(text.clone()),
            other => other.as_f64().map_or(Self::Unknown, Self::Number),
        }
    }

    const fn kind(&self) -> &'static str {
        match self {
            Self::Number(_) => "a number",
            Self::Text(_) => "a text",
            Self::Truth(_) => "true/false",
            Self::Unknown => "unknown",
        }
    }
}

/// What joins two operands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Op {
    Or,
    And,
    Compare(Comparison),
    Add,
    Subtract,
    Multiply,
    Divide,
}

/// A comparison, in `require` and `expect` rules.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Comparison {
    /// `<`
    Less,
    /// `<=`
    LessOrEqual,
    /// `>`
    Greater,
    /// `>=`
    GreaterOrEqual,
    /// `==`
    Equal,
    /// `!=`
    NotEqual,
}

impl Comparison {
    /// Whether it holds between two numbers; never for NaN, except `!=`.
    pub fn holds(self, left: f64, right: f64) -> bool {
        match self {
            Self::Less => left < right,
            Self::LessOrEqual => left <= right,
            Self::Greater => left > right,
            Self::GreaterOrEqual => left >= right,
            Self::Equal => left == right,
            Self::NotEqual => left != right,
        }
    }
}

/// A rule as a tree; its depth is bounded by the parser.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Expr {
    Value(Operand),
    Name(String),
    Not(Box<Expr>),
    Negate(Box<Expr>),
    Binary(Op, Box<Expr>, Box<Expr>),
}

impl Rule {
    /// Parses a rule. Never panics, whatever the text.
    pub fn parse(text: &str, place: Place) -> Result<Self, RuleError> {
        if text.len() > LENGTH {
            return Err(RuleError {
                message: format!("the rule is longer than {LENGTH} bytes"),
                expected: None,
                at: 0,
                length: 1,
            });
        }
        let (root, names) = parser::parse(text)?;
        if !is_condition(&root) {
            return Err(RuleError {
                message: "the rule is a value, not a condition".to_owned(),
                expected: Some("a comparison, such as `ef_search >= k`".to_owned()),
                at: 0,
                length: text.chars().count(),
            });
        }
        Ok(Self { text: text.to_owned(), place, root, names })
    }

    /// The names it uses, in the order of the text.
    pub fn names(&self) -> &[Name] {
        &self.names
    }

    /// Whether the rule holds, given the value of each name; `None` when it depends on what is not known yet. An error
    /// is a sentence about operands that do not go together (`codes < 3`).
    pub fn judge(&self, lookup: &dyn Fn(&str) -> Operand) -> Result<Option<bool>, String> {
        match evaluate(&self.root, lookup)? {
            Operand::Truth(truth) => Ok(Some(truth)),
            Operand::Unknown => Ok(None),
            other => Err(format!("the rule is {}, not a condition", other.kind())),
        }
    }
}

/// False only for what can be told to be no condition without knowing any value.
fn is_condition(root: &Expr) -> bool {
    match root {
        Expr::Value(value) => matches!(value, Operand::Truth(_)),
        Expr::Negate(_) => false,
        Expr::Binary(op, ..) => matches!(op, Op::Or | Op::And | Op::Compare(_)),
        Expr::Name(_) | Expr::Not(_) => true,
    }
}

fn evaluate(expr: &Expr, lookup: &dyn Fn(&str) -> Operand) -> Result<Operand, String> {
    match expr {
        Expr::Value(value) => Ok(value.clone()),
        Expr::Name(name) => Ok(lookup(name)),
        Expr::Not(inner) => Ok(match truth(&evaluate(inner, lookup)?, "not")? {
            Some(value) => Operand::Truth(!value),
            None => Operand::Unknown,
        }),
        Expr::Negate(inner) => match evaluate(inner, lookup)? {
            Operand::Number(value) => Ok(Operand::Number(-value)),
            Operand::Unknown => Ok(Operand::Unknown),
            other => Err(format!("`-` needs a number, not {}", other.kind())),
        },
        Expr::Binary(op, left, right) => apply(*op, &evaluate(left, lookup)?, &evaluate(right, lookup)?),
    }
}

fn truth(value: &Operand, word: &str) -> Result<Option<bool>, String> {
    match value {
        Operand::Truth(truth) => Ok(Some(*truth)),
        Operand::Unknown => Ok(None),
        other => Err(format!("`{word}` needs conditions, not {}", other.kind())),
    }
}

fn apply(op: Op, left: &Operand, right: &Operand) -> Result<Operand, String> {
    let known = |value: Option<bool>| value.map_or(Operand::Unknown, Operand::Truth);
    match op {
        Op::And => Ok(known(match (truth(left, "and")?, truth(right, "and")?) {
            (Some(false), _) | (_, Some(false)) => Some(false),
            (Some(true), Some(true)) => Some(true),
            _ => None,
        })),
        Op::Or => Ok(known(match (truth(left, "or")?, truth(right, "or")?) {
            (Some(true), _) | (_, Some(true)) => Some(true),
            (Some(false), Some(false)) => Some(false),
            _ => None,
        })),
        Op::Compare(comparison) => compare(comparison, left, right),
        Op::Add | Op::Subtract | Op::Multiply | Op::Divide => match (left, right) {
            (Operand::Number(a), Operand::Number(b)) => Ok(Operand::Number(match op {
                Op::Add => a + b,
                Op::Subtract => a - b,
                Op::Multiply => a * b,
                _ => a / b,
            })),
            (Operand::Unknown | Operand::Number(_), Operand::Unknown | Operand::Number(_)) => Ok(Operand::Unknown),
            _ => Err(format!("arithmetic needs numbers, not {} and {}", left.kind(), right.kind())),
        },
    }
}

fn compare(comparison: Comparison, left: &Operand, right: &Operand) -> Result<Operand, String> {
    let equality = matches!(comparison, Comparison::Equal | Comparison::NotEqual);
    match (left, right) {
        (Operand::Unknown, _) | (_, Operand::Unknown) => Ok(Operand::Unknown),
        (Operand::Number(a), Operand::Number(b)) => Ok(Operand::Truth(comparison.holds(*a, *b))),
        (Operand::Text(_), Operand::Text(_)) | (Operand::Truth(_), Operand::Truth(_)) if equality => {
            Ok(Operand::Truth((left == right) == (comparison == Comparison::Equal)))
        }
        _ => Err(format!("{} cannot be compared with {} in that way", left.kind(), right.kind())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLACE: Place = Place { line: 1, column: 1, length: 1 };

    fn judge(text: &str) -> Result<Option<bool>, String> {
        let rule = Rule::parse(text, PLACE).map_err(|error| format!("{} @{}", error.message, error.at))?;
        rule.judge(&|name| match name {
            "k" => Operand::Number(10.0),
            "m" => Operand::Number(16.0),
            "codes" => Operand::Text("sq8".to_owned()),
            "fast" => Operand::Truth(true),
            _ => Operand::Unknown,
        })
    }

    #[test]
    fn rules_are_judged_with_the_usual_precedence() {
        for (rule, truth) in [
            ("m >= k", true),
            ("m + 2 * k == 36", true),
            ("(m + 2) * k == 180", true),
            ("m - 4 - 2 == k", true),
            ("m / 2 / 2 == 4", true),
            ("-m < -k", true),
            ("k > m or k < m and k == 10", true),
            ("not k > m", true),
            ("not (k < m and k == 10)", false),
            ("codes == 'sq8' and codes != \"f32\"", true),
            ("fast", true),
            ("fast == false", false),
            ("1_000 <= 1e3", true),
            ("m / 0 > 1e300", true),
            ("0 / 0 == 0 / 0", false),
            ("true or false", true),
            ("m != 16", false),
        ] {
            assert_eq!(judge(rule), Ok(Some(truth)), "{rule}");
        }
    }

    #[test]
    fn what_is_not_known_leaves_the_rule_undecided_unless_the_rest_decides() {
        assert_eq!(judge("n > 1"), Ok(None));
        assert_eq!(judge("n * 2 + 1 > k"), Ok(None));
        assert_eq!(judge("not -n > 1 or false"), Ok(None));
        assert_eq!(judge("n > 1 and k > m"), Ok(Some(false)));
        assert_eq!(judge("n > 1 or k < m"), Ok(Some(true)));
    }

    #[test]
    fn operands_that_do_not_go_together_are_an_error() {
        for (rule, words) in [
            ("codes < 3", "a text cannot be compared with a number"),
            ("codes < 'x'", "a text cannot be compared"),
            ("codes + 1 > 2", "arithmetic needs numbers"),
            ("m and fast", "`and` needs conditions"),
            ("fast or m", "`or` needs conditions"),
            ("not m", "`not` needs conditions"),
            ("-codes > 1", "`-` needs a number"),
            ("m", "the rule is a number, not a condition"),
        ] {
            assert!(judge(rule).is_err_and(|error| error.contains(words)), "{rule}: {:?}", judge(rule));
        }
    }

    #[test]
    fn a_mistake_is_placed_at_its_character() {
        for (rule, at) in [
            ("m >= ", 5),
            ("", 0),
            ("m >= k k", 7),
            ("(m >= k", 7),
            ("m < k < 3", 6),
            ("m >= and", 5),
            ("é # 1", 2),
            ("m && k", 2),
            ("m = 3", 2),
            ("m >= 'x", 5),
            ("m >= 1.2.3", 5),
            ("m + 1", 0),
            ("-m", 0),
            ("3", 0),
        ] {
            let error = Rule::parse(rule, PLACE).unwrap_err();
            assert_eq!(error.at, at, "{rule}: {error:?}");
        }
    }

    #[test]
    fn rules_too_deep_or_too_long_are_refused() {
        for deep in ["(".repeat(500), "-".repeat(500), "not ".repeat(400)] {
            assert!(Rule::parse(&deep, PLACE).unwrap_err().message.contains("nested"));
        }
        assert!(Rule::parse(&"x".repeat(5000), PLACE).unwrap_err().message.contains("longer"));
        assert_eq!(Rule::parse("m > nlist", PLACE).unwrap().names()[1], Name { name: "nlist".to_owned(), at: 4 });
    }
}
