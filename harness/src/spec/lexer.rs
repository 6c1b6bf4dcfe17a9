//! Tokens of `require` and `expect` rules.

use std::fmt;

use super::rule::{Comparison, RuleError};

/// One token and where it stands, in characters.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Token {
    pub(super) kind: TokenKind,
    pub(super) at: usize,
    pub(super) length: usize,
}

/// Kinds of token.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum TokenKind {
    Number(f64),
    Text(String),
    /// A name or a word of the language.
    Name(String),
    Compare(Comparison),
    Plus,
    Minus,
    Star,
    Slash,
    Open,
    Close,
    /// The last token of every list.
    End,
}

impl fmt::Display for TokenKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Number(value) => write!(f, "the number {value}"),
            Self::Text(text) => write!(f, "the text '{text}'"),
            Self::Name(name) => write!(f, "`{name}`"),
            Self::Compare(_) => f.write_str("a comparison"),
            Self::Plus => f.write_str("`+`"),
            Self::Minus => f.write_str("`-`"),
            Self::Star => f.write_str("`*`"),
            Self::Slash => f.write_str("`/`"),
            Self::Open => f.write_str("`(`"),
            Self::Close => f.write_str("`)`"),
            Self::End => f.write_str("the end"),
        }
    }
}

/// The tokens of a text, the last of them [`TokenKind::End`].
pub(super) fn lex(text: &str) -> Result<Vec<Token>, RuleError> {
    let chars: Vec<char> = text.chars().collect();
    let mut tokens = Vec::new();
    let mut at = 0;
    while let Some(&c) = chars.get(at) {
        if c.is_whitespace() {
            at += 1;
            continue;
        }
        let (kind, length) = token(&chars[at..], at)?;
        tokens.push(Token { kind, at, length });
        at += length;
    }
    tokens.push(Token { kind: TokenKind::End, at: chars.len(), length: 1 });
    Ok(tokens)
}

/// The token that `rest`, not empty, begins with, and its length.
fn token(rest: &[char], at: usize) -> Result<(TokenKind, usize), RuleError> {
    let first = rest[0];
    let equals = rest.get(1) == Some(&'=');
    let comparison = |kind, length| Ok((TokenKind::Compare(kind), length));
    match first {
        '<' if equals => comparison(Comparison::LessOrEqual, 2),
        '>' if equals => comparison(Comparison::GreaterOrEqual, 2),
        '=' if equals => comparison(Comparison::Equal, 2),
        '!' if equals => comparison(Comparison::NotEqual, 2),
        '<' => comparison(Comparison::Less, 1),
        '>' => comparison(Comparison::Greater, 1),
        '+' => Ok((TokenKind::Plus, 1)),
        '-' => Ok((TokenKind::Minus, 1)),
        '*' => Ok((TokenKind::Star, 1)),
        '/' => Ok((TokenKind::Slash, 1)),
        '(' => Ok((TokenKind::Open, 1)),
        ')' => Ok((TokenKind::Close, 1)),
        '\'' | '"' => quoted(rest, at),
        c if c.is_ascii_digit() || c == '.' => number(rest, at),
        c if c.is_alphabetic() || c == '_' => {
            let name: String = rest.iter().take_while(|c| c.is_alphanumeric() || **c == '_').collect();
            let length = name.chars().count();
            Ok((TokenKind::Name(name), length))
        }
        other => Err(foreign(other, at)),
    }
}

fn foreign(c: char, at: usize) -> RuleError {
    let expected = match c {
        '=' => "`==` for equality",
        '&' => "`and`",
        '|' => "`or`",
        '!' => "`not`",
        _ => "names, numbers, quoted texts, < <= > >= == != + - * / ( ) and, or, not",
    };
    RuleError {
        message: format!("`{}` does not belong in a rule", c.escape_debug()),
        expected: Some(expected.to_owned()),
        at,
        length: 1,
    }
}

fn quoted(rest: &[char], at: usize) -> Result<(TokenKind, usize), RuleError> {
    let text: String = rest[1..].iter().take_while(|c| **c != rest[0]).collect();
    let length = text.chars().count() + 2;
    if length > rest.len() {
        let message = "the text has no closing quote".to_owned();
        return Err(RuleError { message, expected: None, at, length: rest.len() });
    }
    Ok((TokenKind::Text(text), length))
}

fn number(rest: &[char], at: usize) -> Result<(TokenKind, usize), RuleError> {
    let mut length = 0;
    while let Some(&c) = rest.get(length) {
        let signed = matches!(c, '+' | '-') && matches!(rest[length - 1], 'e' | 'E');
        if !(c.is_ascii_alphanumeric() || matches!(c, '.' | '_') || signed) {
            break;
        }
        length += 1;
    }
    let text: String = rest[..length].iter().collect();
    match text.replace('_', "").parse::<f64>() {
        Ok(value) if value.is_finite() => Ok((TokenKind::Number(value), length)),
        _ => Err(RuleError {
            message: format!("`{text}` is not a number"),
            expected: Some("a number such as 10, 1_000, 0.95 or 1e6".to_owned()),
            at,
            length,
        }),
    }
}
