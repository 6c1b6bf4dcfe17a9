//! Texts to words.

use winnow::ascii::{digit1, multispace0};
use winnow::combinator::{alt, opt};
use winnow::stream::{LocatingSlice, Location};
use winnow::token::{any, one_of, take_while};
use winnow::{Parser, Result};

use super::mistake::Mistake;
use crate::metadata::document::clipped;
use crate::metadata::schema::KEYWORDS;

/// All that is neither a word nor a value; longer ones before those that they begin with.
const SYMBOLS: [&str; 12] = ["==", "!=", "<=", ">=", "<", ">", "=", "(", ")", "[", "]", ","];

#[derive(Clone, Debug, PartialEq)]
pub(super) enum Lexeme {
    Name(String),
    Keyword(&'static str),
    Symbol(&'static str),
    Text(String),
    Integer(i64),
    Float(f64),
}

/// A word, and from which byte to which it stands.
#[derive(Clone, Debug)]
pub(super) struct Token {
    pub(super) lexeme: Lexeme,
    pub(super) start: usize,
    pub(super) end: usize,
}

impl Location for Token {
    fn previous_token_end(&self) -> usize {
        self.end
    }

    fn current_token_start(&self) -> usize {
        self.start
    }
}

type Input<'t> = LocatingSlice<&'t str>;

/// All words of a text.
pub(super) fn tokens(text: &str) -> Result<Vec<Token>, Mistake> {
    let (mut input, mut tokens) = (LocatingSlice::new(text), Vec::new());
    loop {
        multispace0.parse_next(&mut input)?;
        if input.is_empty() {
            return Ok(tokens);
        }
        let start = input.current_token_start();
        let lexeme = lexeme(&mut input)?;
        tokens.push(Token { lexeme, start, end: input.current_token_start() });
    }
}

fn lexeme(input: &mut Input<'_>) -> Result<Lexeme, Mistake> {
    match input.chars().next() {
        Some('"') => quoted.map(Lexeme::Text).parse_next(input),
        Some('0'..='9' | '-') => number(input),
        Some('a'..='z' | 'A'..='Z' | '_') => Ok(word(input)?),
        _ => symbol(input),
    }
}

fn word(input: &mut Input<'_>) -> Result<Lexeme, Mistake> {
    let text: &str = take_while(1.., is_word).parse_next(input)?;
    let keyword = KEYWORDS.into_iter().find(|keyword| *keyword == text);
    Ok(keyword.map_or_else(|| Lexeme::Name(text.to_owned()), Lexeme::Keyword))
}

fn is_word(c: char) -> bool {
    c.is_ascii_alphanumeric() || c == '_'
}

fn symbol(input: &mut Input<'_>) -> Result<Lexeme, Mistake> {
    for text in SYMBOLS {
        if opt(text).parse_next(input)?.is_some() {
            return Ok(Lexeme::Symbol(text));
        }
    }
    let found = input.chars().next().map_or_else(|| "the end".to_owned(), |c| format!("`{}`", c.escape_debug()));
    Err(Mistake::new(input.current_token_start(), "a field, a value or an operator", found))
}

fn number(input: &mut Input<'_>) -> Result<Lexeme, Mistake> {
    let start = input.current_token_start();
    // As far as someone who reads it sees one word.
    let whole: String = input.chars().take_while(|c| is_word(*c) || matches!(c, '.' | '-' | '+')).collect();
    let refused = |expected: &str| Mistake::new(start, expected, format!("`{}`", clipped(whole.clone())));
    let exponent = (one_of(['e', 'E']), opt(one_of(['+', '-'])), digit1);
    let mut digits = (opt('-'), digit1::<_, Mistake>, opt(('.', digit1)), opt(exponent)).take();
    let text: &str = digits.parse_next(input).map_err(|_| refused("a number"))?;
    if input.chars().next().is_some_and(|c| is_word(c) || c == '.') {
        return Err(refused("a number"));
    }
    if text.contains(['.', 'e', 'E']) {
        let number = text.parse().ok().filter(|number: &f64| number.is_finite());
        return number.map(Lexeme::Float).ok_or_else(|| refused("a finite number"));
    }
    text.parse().map(Lexeme::Integer).map_err(|_| refused("an integer of 64 bits"))
}

fn quoted(input: &mut Input<'_>) -> Result<String, Mistake> {
    let start = input.current_token_start();
    '"'.parse_next(input)?;
    let mut text = String::new();
    loop {
        let plain: &str = take_while(0.., |c| c != '"' && c != '\\').parse_next(input)?;
        text.push_str(plain);
        match input.chars().next() {
            Some('\\') => text.push(escape(input)?),
            Some(_) => {
                '"'.parse_next(input)?;
                return Ok(text);
            }
            None => return Err(Mistake::new(start, "a text that ends with `\"`", "the end")),
        }
    }
}

fn escape(input: &mut Input<'_>) -> Result<char, Mistake> {
    let start = input.current_token_start();
    let found = format!("`{}`", input.chars().take(2).collect::<String>());
    '\\'.parse_next(input)?;
    let simple = any::<_, Mistake>.verify_map(|c| match c {
        '"' | '\\' => Some(c),
        'n' => Some('\n'),
        'r' => Some('\r'),
        't' => Some('\t'),
        _ => None,
    });
    let code = take_while(1..=6, |c: char| c.is_ascii_hexdigit());
    let unicode = ("u{", code, '}')
        .verify_map(|(_, digits, _): (_, &str, _)| u32::from_str_radix(digits, 16).ok().and_then(char::from_u32));
    let expected = r#"one of `\"`, `\\`, `\n`, `\r`, `\t` and `\u{...}` with the number of a character"#;
    alt((simple, unicode)).parse_next(input).map_err(|_| Mistake::new(start, expected, found))
}
