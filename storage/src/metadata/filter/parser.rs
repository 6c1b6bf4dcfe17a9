//! Words to a tree, by recursive descent. Nesting and length are bounded, so no text overflows the stack.
//!
//! ```text
//! filter    = all ("or" all)*
//! all       = one ("and" one)*
//! one       = "not" one | "(" filter ")" | ("exists" | "missing") "(" field ")" | predicate
//! predicate = field
//!           | field ("==" | "=" | "!=" | "<" | "<=" | ">" | ">=") value
//!           | field ["not"] "in" "[" value ("," value)* "]"
//!           | field "between" value "and" value
//!           | field "contains" value
//! ```

use winnow::combinator::{delimited, opt};
use winnow::stream::{Location, Stateful, TokenSlice};
use winnow::token::any;
use winnow::{Parser, Result};

use super::expression::{Comparison, Expression, Literal, LiteralValue, Name, Place};
use super::lexer::{Lexeme, Token, tokens};
use super::mistake::Mistake;
use crate::metadata::document::clipped;

/// The longest text of a filter, in bytes.
pub const MAX_FILTER_BYTES: usize = 256 * 1024;

/// How deep `(` and `not` may be nested.
pub const MAX_FILTER_DEPTH: usize = 64;

/// The words that are left, and how deep the parser is.
type Input<'t> = Stateful<TokenSlice<'t, Token>, usize>;

const AFTER_FIELD: &str = "a comparison, `in`, `not in`, `between`, `contains`, `and`, `or` or the end";

pub(super) fn parse(text: &str) -> Result<Expression, Mistake> {
    if text.len() > MAX_FILTER_BYTES {
        let found = format!("{} bytes", text.len());
        return Err(Mistake::new(0, format!("a filter of at most {MAX_FILTER_BYTES} bytes"), found));
    }
    let tokens = tokens(text)?;
    let mut input = Stateful { input: TokenSlice::new(&tokens), state: 0 };
    let parsed = any_of(&mut input).and_then(|filter| match input.first() {
        None => Ok(filter),
        Some(token) => Err(Mistake::new(token.start, "`and`, `or` or the end", "")),
    });
    parsed.map_err(|mistake| placed(mistake, &tokens, text))
}

/// Says what stands where the mistake is.
fn placed(mut mistake: Mistake, tokens: &[Token], text: &str) -> Mistake {
    if mistake.found.is_empty() {
        let token = tokens.iter().find(|token| token.start == mistake.offset);
        mistake.found = match token {
            Some(token) => format!("`{}`", clipped(text[token.start..token.end].to_owned())),
            None => "the end".to_owned(),
        };
    }
    mistake
}

fn refused<T>(input: &Input<'_>, expected: &str) -> Result<T, Mistake> {
    Err(Mistake::new(input.current_token_start(), expected, ""))
}

fn keyword<'t>(text: &'static str) -> impl Parser<Input<'t>, (), Mistake> {
    any.verify_map(move |token: &Token| (token.lexeme == Lexeme::Keyword(text)).then_some(()))
}

fn symbol<'t>(text: &'static str) -> impl Parser<Input<'t>, (), Mistake> {
    any.verify_map(move |token: &Token| (token.lexeme == Lexeme::Symbol(text)).then_some(()))
}

fn name(input: &mut Input<'_>) -> Result<Name, Mistake> {
    let name = any.verify_map(|token: &Token| match &token.lexeme {
        Lexeme::Name(text) => Some(Name { text: text.clone(), place: Place(token.start) }),
        _ => None,
    });
    name.context("a field").parse_next(input)
}

fn literal(input: &mut Input<'_>) -> Result<Literal, Mistake> {
    let literal = any.verify_map(|token: &Token| {
        let value = match &token.lexeme {
            Lexeme::Text(text) => LiteralValue::Text(text.clone()),
            Lexeme::Integer(number) => LiteralValue::Integer(*number),
            Lexeme::Float(number) => LiteralValue::Float(*number),
            Lexeme::Keyword("true") => LiteralValue::Bool(true),
            Lexeme::Keyword("false") => LiteralValue::Bool(false),
            _ => return None,
        };
        Some(Literal { value, place: Place(token.start) })
    });
    literal.context("a value").parse_next(input)
}

fn comparison(input: &mut Input<'_>) -> Result<Comparison, Mistake> {
    let mut comparison = any.verify_map(|token: &Token| match token.lexeme {
        Lexeme::Symbol("==" | "=") => Some(Comparison::Equal),
        Lexeme::Symbol("!=") => Some(Comparison::Unequal),
        Lexeme::Symbol("<") => Some(Comparison::Less),
        Lexeme::Symbol("<=") => Some(Comparison::LessOrEqual),
        Lexeme::Symbol(">") => Some(Comparison::Greater),
        Lexeme::Symbol(">=") => Some(Comparison::GreaterOrEqual),
        _ => None,
    });
    comparison.parse_next(input)
}

fn any_of(input: &mut Input<'_>) -> Result<Expression, Mistake> {
    let mut parts = vec![all_of(input)?];
    while opt(keyword("or")).parse_next(input)?.is_some() {
        parts.push(all_of(input)?);
    }
    Ok(alone(&mut parts).unwrap_or(Expression::Or(parts)))
}

fn all_of(input: &mut Input<'_>) -> Result<Expression, Mistake> {
    let mut parts = vec![one(input)?];
    while opt(keyword("and")).parse_next(input)?.is_some() {
        parts.push(one(input)?);
    }
    Ok(alone(&mut parts).unwrap_or(Expression::And(parts)))
}

fn alone(parts: &mut Vec<Expression>) -> Option<Expression> {
    if parts.len() == 1 { parts.pop() } else { None }
}

fn one(input: &mut Input<'_>) -> Result<Expression, Mistake> {
    match input.first().map(|token| &token.lexeme) {
        Some(Lexeme::Keyword("not")) => {
            keyword("not").parse_next(input)?;
            deeper(input, one).map(|part| Expression::Not(Box::new(part)))
        }
        Some(Lexeme::Symbol("(")) => {
            symbol("(").parse_next(input)?;
            let inner = deeper(input, any_of)?;
            symbol(")").context("`and`, `or` or `)`").parse_next(input)?;
            Ok(inner)
        }
        Some(Lexeme::Keyword("exists")) => in_parentheses("exists", input).map(Expression::Exists),
        Some(Lexeme::Keyword("missing")) => in_parentheses("missing", input).map(Expression::Missing),
        Some(Lexeme::Name(_)) => predicate(input),
        _ => refused(input, "a field, `not`, `exists`, `missing` or `(`"),
    }
}

fn deeper(
    input: &mut Input<'_>,
    inner: fn(&mut Input<'_>) -> Result<Expression, Mistake>,
) -> Result<Expression, Mistake> {
    if input.state == MAX_FILTER_DEPTH {
        return refused(input, &format!("at most {MAX_FILTER_DEPTH} levels of `(` and `not`"));
    }
    input.state += 1;
    let parsed = inner(input)?;
    input.state -= 1;
    Ok(parsed)
}

fn in_parentheses(word: &'static str, input: &mut Input<'_>) -> Result<Name, Mistake> {
    keyword(word).parse_next(input)?;
    delimited(symbol("(").context("`(`"), name, symbol(")").context("`)`")).parse_next(input)
}

fn predicate(input: &mut Input<'_>) -> Result<Expression, Mistake> {
    let field = name(input)?;
    match input.first().map(|token| &token.lexeme) {
        None | Some(Lexeme::Keyword("and" | "or") | Lexeme::Symbol(")")) => Ok(Expression::Is(field)),
        Some(Lexeme::Symbol("==" | "=" | "!=" | "<" | "<=" | ">" | ">=")) => {
            let comparison = comparison(input)?;
            Ok(Expression::Compare { field, comparison, value: literal(input)? })
        }
        Some(Lexeme::Keyword("between")) => {
            keyword("between").parse_next(input)?;
            let low = literal(input)?;
            keyword("and").context("`and` and the upper end").parse_next(input)?;
            Ok(Expression::Between { field, low, high: literal(input)? })
        }
        Some(Lexeme::Keyword("contains")) => {
            keyword("contains").parse_next(input)?;
            Ok(Expression::Contains { field, value: literal(input)? })
        }
        Some(Lexeme::Keyword("in" | "not")) => {
            let negated = opt(keyword("not")).parse_next(input)?.is_some();
            keyword("in").context("`in`").parse_next(input)?;
            symbol("[").context("`[`").parse_next(input)?;
            let values = list(input)?;
            Ok(Expression::In { field, negated, values })
        }
        _ => refused(input, AFTER_FIELD),
    }
}

fn list(input: &mut Input<'_>) -> Result<Vec<Literal>, Mistake> {
    let mut values = vec![literal(input)?];
    while opt(symbol(",")).parse_next(input)?.is_some() {
        values.push(literal(input)?);
    }
    symbol("]").context("`,` or `]`").parse_next(input)?;
    Ok(values)
}
