//! From the tokens of a `require` rule to its tree, by recursive descent; the grammar stands in `rule`.

use super::{
    lexer::{Token, TokenKind, lex},
    rule::{Expr, Name, Op, Operand, RuleError},
};

/// Deepest nesting of a rule: recursion is bounded, whatever the text.
const DEPTH: usize = 50;

/// Parses a rule: its tree, and the names in it in the order of the text.
pub(super) fn parse(text: &str) -> Result<(Expr, Vec<Name>), RuleError> {
    let tokens = lex(text)?;
    let mut parser = Parser { tokens: &tokens, next: 0, depth: 0, names: Vec::new() };
    let root = parser.or()?;
    if parser.peek().kind != TokenKind::End {
        return Err(parser.unexpected("`and`, `or`, a comparison or the end"));
    }
    Ok((root, parser.names))
}

struct Parser<'t> {
    tokens: &'t [Token],
    next: usize,
    depth: usize,
    names: Vec<Name>,
}

impl Parser<'_> {
    /// The next token; the lexer ends every list with `End`, which is never passed.
    fn peek(&self) -> &Token {
        &self.tokens[self.next]
    }

    fn take(&mut self, kind: &TokenKind) -> bool {
        let found = self.peek().kind == *kind;
        self.next += usize::from(found);
        found
    }

    fn unexpected(&self, expected: &str) -> RuleError {
        let token = self.peek();
        RuleError {
            message: format!("{} is not expected here", token.kind),
            expected: Some(expected.to_owned()),
            at: token.at,
            length: token.length,
        }
    }

    fn word(&mut self, word: &str) -> bool {
        let found = matches!(&self.peek().kind, TokenKind::Name(name) if name == word);
        self.next += usize::from(found);
        found
    }

    fn or(&mut self) -> Result<Expr, RuleError> {
        let mut left = self.and()?;
        while self.word("or") {
            left = binary(Op::Or, left, self.and()?);
        }
        Ok(left)
    }

    fn and(&mut self) -> Result<Expr, RuleError> {
        let mut left = self.not()?;
        while self.word("and") {
            left = binary(Op::And, left, self.not()?);
        }
        Ok(left)
    }

    fn not(&mut self) -> Result<Expr, RuleError> {
        if self.word("not") {
            return Ok(Expr::Not(Box::new(self.deeper(Self::not)?)));
        }
        let left = self.sum()?;
        let TokenKind::Compare(comparison) = self.peek().kind else { return Ok(left) };
        self.next += 1;
        let right = self.sum()?;
        if matches!(self.peek().kind, TokenKind::Compare(_)) {
            let mut error = self.unexpected("`a < b and b < c` for a chain of comparisons");
            "comparisons cannot be chained".clone_into(&mut error.message);
            return Err(error);
        }
        Ok(binary(Op::Compare(comparison), left, right))
    }

    fn sum(&mut self) -> Result<Expr, RuleError> {
        let mut left = self.product()?;
        loop {
            let op = if self.take(&TokenKind::Plus) {
                Op::Add
            } else if self.take(&TokenKind::Minus) {
                Op::Subtract
            } else {
                return Ok(left);
            };
            left = binary(op, left, self.product()?);
        }
    }

    fn product(&mut self) -> Result<Expr, RuleError> {
        let mut left = self.unary()?;
        loop {
            let op = if self.take(&TokenKind::Star) {
                Op::Multiply
            } else if self.take(&TokenKind::Slash) {
                Op::Divide
            } else {
                return Ok(left);
            };
            left = binary(op, left, self.unary()?);
        }
    }

    fn unary(&mut self) -> Result<Expr, RuleError> {
        if self.take(&TokenKind::Minus) {
            return Ok(Expr::Negate(Box::new(self.deeper(Self::unary)?)));
        }
        if self.take(&TokenKind::Open) {
            let inner = self.deeper(Self::or)?;
            return if self.take(&TokenKind::Close) { Ok(inner) } else { Err(self.unexpected("`)`")) };
        }
        let Token { kind, at, .. } = self.peek().clone();
        let expr = match kind {
            TokenKind::Number(value) => Expr::Value(Operand::Number(value)),
            TokenKind::Text(text) => Expr::Value(Operand::Text(text)),
            TokenKind::Name(word) => match word.as_str() {
                "true" => Expr::Value(Operand::Truth(true)),
                "false" => Expr::Value(Operand::Truth(false)),
                "and" | "or" | "not" => return Err(self.unexpected("a name, a number or `(`")),
                _ => {
                    self.names.push(Name { name: word.clone(), at });
                    Expr::Name(word)
                }
            },
            _ => return Err(self.unexpected("a name, a number or `(`")),
        };
        self.next += 1;
        Ok(expr)
    }

    fn deeper(&mut self, parse: fn(&mut Self) -> Result<Expr, RuleError>) -> Result<Expr, RuleError> {
        if self.depth == DEPTH {
            let mut error = self.unexpected("fewer parentheses");
            error.message = format!("the rule is nested more than {DEPTH} deep");
            return Err(error);
        }
        self.depth += 1;
        let expr = parse(self);
        self.depth -= 1;
        expr
    }
}

fn binary(op: Op, left: Expr, right: Expr) -> Expr {
    Expr::Binary(op, Box::new(left), Box::new(right))
}
