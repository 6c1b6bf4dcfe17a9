//! The language as a whole: texts to trees and back, and every refusal with its place.

use proptest::collection::vec;
use proptest::prelude::*;

use super::*;
use crate::metadata::{Field, FieldKind};

fn schema() -> Schema {
    Schema::new([
        Field::new("name", FieldKind::String),
        Field::new("year", FieldKind::Integer),
        Field::new("price", FieldKind::Float),
        Field::new("sold", FieldKind::Bool),
        Field::new("made", FieldKind::Timestamp),
        Field::new("labels", FieldKind::Tags),
    ])
    .unwrap()
}

fn message(text: &str) -> String {
    Filter::parse(&schema(), text).unwrap_err().to_string()
}

#[test]
fn words_bind_as_documented() {
    let cases = [
        ("a or b and not c", "a or b and not c"),
        ("(a or b) and (c)", "(a or b) and c"),
        ("not(a and b)or c", "not (a and b) or c"),
        ("(a and b) and c or (d or e)", "(a and b) and c or (d or e)"),
        ("not not exists ( a )\nand missing(b)", "not not exists(a) and missing(b)"),
        ("x between -1 and 2 and y", "x between -1 and 2 and y"),
        ("x=1 or x!=1.0 or x<=1e3 or x>=-0.5 or x>2", "x == 1 or x != 1.0 or x <= 1000.0 or x >= -0.5 or x > 2"),
        (r#"t contains "\"\\\n\r\t\u{1f600}\u{0}""#, "t contains \"\\\"\\\\\\n\\r\\t😀\\u{0}\""),
        ("x not in [true , false]", "x not in [true, false]"),
        ("inner and order == 1 and nothing", "inner and order == 1 and nothing"),
    ];
    for (text, printed) in cases {
        assert_eq!(Expression::parse(text).unwrap().to_string(), printed);
    }
    let Expression::Or(parts) = Expression::parse("a or b and c").unwrap() else { panic!("not an `or`") };
    assert!(matches!(&parts[1], Expression::And(both) if both.len() == 2));
}

#[test]
fn texts_that_are_no_filter_are_refused_with_the_column() {
    let operand = "a field, `not`, `exists`, `missing` or `(`";
    let after = "a comparison, `in`, `not in`, `between`, `contains`, `and`, `or` or the end";
    let cases = [
        ("", 1, operand, "the end"),
        ("a and ", 6, operand, "the end"),
        ("a and or b", 7, operand, "`or`"),
        ("a 5", 3, after, "`5`"),
        ("a == 1 b", 8, "`and`, `or` or the end", "`b`"),
        ("a )", 3, "`and`, `or` or the end", "`)`"),
        ("(a", 3, "`and`, `or` or `)`", "the end"),
        ("(a == 1]", 8, "`and`, `or` or `)`", "`]`"),
        ("a <", 4, "a value", "the end"),
        ("a < b", 5, "a value", "`b`"),
        ("a in []", 7, "a value", "`]`"),
        ("a in (1)", 6, "`[`", "`(`"),
        ("a in [1 2]", 9, "`,` or `]`", "`2`"),
        ("a not 1", 7, "`in`", "`1`"),
        ("a between 1 or 2", 13, "`and` and the upper end", "`or`"),
        ("exists a", 8, "`(`", "`a`"),
        ("missing(1)", 9, "a field", "`1`"),
        ("exists(a b)", 10, "`)`", "`b`"),
        ("ä", 1, "a field, a value or an operator", "`ä`"),
        ("a ! b", 3, "a field, a value or an operator", "`!`"),
        ("a == 1x", 6, "a number", "`1x`"),
        ("a == -", 6, "a number", "`-`"),
        ("a == 1.2.3", 6, "a number", "`1.2.3`"),
        ("a == 99999999999999999999", 6, "an integer of 64 bits", "`99999999999999999999`"),
        ("a == 1e999", 6, "a finite number", "`1e999`"),
        ("a == \"b", 6, "a text that ends with `\"`", "the end"),
    ];
    for (text, column, expected, found) in cases {
        let error = Expression::parse(text).unwrap_err();
        assert_eq!((error.line, error.column), (1, column), "{text}: {error}");
        assert_eq!((&error.expected[..], &error.found[..]), (expected, found), "{text}");
    }
    for text in [r#"a == "\q""#, r#"a == "\u{110000}""#, r#"a == "\"#] {
        let error = Expression::parse(text).unwrap_err();
        assert_eq!((error.column, error.expected.starts_with("one of `\\\"`")), (7, true), "{error}");
    }
}

#[test]
fn filters_that_the_schema_refuses_are_refused_with_the_column() {
    let cases = [
        (
            "colour == 1",
            "expected a declared field: one of `name`, `year`, `price`, `sold`, `made`, `labels`, found `colour` at column 1",
        ),
        ("exists(x)", "found `x` at column 8"),
        (
            "year",
            "expected a bool field, or a comparison after the field, found the field `year` of kind integer at column 1",
        ),
        ("sold < true", "expected a field with an order before `<`, found the field `sold` of kind bool at column 1"),
        ("sold between false and true", "expected a field with an order before `between`, found the field `sold`"),
        (
            "labels == \"a\"",
            "expected `contains` after a field of tags, found the field `labels` of kind tags at column 1",
        ),
        ("labels in [\"a\"]", "expected `contains` after a field of tags"),
        (
            "name contains \"a\"",
            "expected a field of kind tags before `contains`, found the field `name` of kind string",
        ),
        (
            "labels contains 1",
            "expected a text in quotation marks for the field `labels`, found the integer 1 at column 17",
        ),
        ("name == 1.5", "expected a text in quotation marks for the field `name`, found the float 1.5 at column 9"),
        ("year in [1, 2.5]", "expected an integer for the field `year`, found the float 2.5 at column 13"),
        ("price between 1 and \"2\"", "expected a number for the field `price`, found the text \"2\" at column 21"),
        ("sold == \"yes\"", "expected `true` or `false` for the field `sold`, found the text \"yes\" at column 9"),
        (
            "made > 2024",
            "expected an RFC 3339 timestamp in quotation marks for the field `made`, found the integer 2024",
        ),
        (
            "made > \"2024\"",
            "such as \"2024-02-29T12:00:00Z\" with at most microseconds for the field `made`, found the text \"2024\"",
        ),
        ("name == true", "found the bool true at column 9"),
    ];
    for (text, expected) in cases {
        assert!(message(text).contains(expected), "{text}: {}", message(text));
    }
    let long = format!("name == \"{}\"", "x".repeat(1025));
    assert!(
        message(&long).contains("expected a text of at most 1024 bytes for the field `name`"),
        "{}",
        message(&long)
    );
}

#[test]
fn an_error_shows_its_line_with_a_caret() {
    assert_eq!(
        message("sold and\n\tname == \"größe\" and year = x\nor sold"),
        "expected a value, found `x` at line 2, column 29\n   name == \"größe\" and year = x\n                              ^"
    );
    let long = format!("{}year == x{}", "sold and ".repeat(20), " or sold".repeat(20));
    let shown = message(&long);
    let lines: Vec<&str> = shown.lines().collect();
    assert_eq!(lines[0], "expected a value, found `x` at column 189");
    assert!(lines[1].starts_with("  ...") && lines[1].ends_with("..."), "{shown}");
    let caret = lines[2].chars().count() - 1;
    assert_eq!(lines[1].chars().nth(caret), Some('x'));
}

#[test]
fn length_and_depth_are_bounded() {
    let deep = |levels: usize| format!("{}sold{}", "(".repeat(levels), ")".repeat(levels));
    Filter::parse(&schema(), &deep(MAX_FILTER_DEPTH)).unwrap();
    let error = Filter::parse(&schema(), &deep(MAX_FILTER_DEPTH + 1)).unwrap_err();
    assert_eq!((error.column, &error.expected[..]), (66, "at most 64 levels of `(` and `not`"));
    assert!(message(&"not ".repeat(60_000)).contains("at most 64 levels"));
    assert!(message(&"(".repeat(200_000)).contains("at most 64 levels"));
    assert!(
        message(&"(".repeat(1 << 20)).starts_with("expected a filter of at most 262144 bytes, found 1048576 bytes")
    );
    let wide = vec!["sold"; 20_000].join(" or ");
    Filter::parse(&schema(), &wide).unwrap();
    // Levels are counted where they are open, not in all.
    Filter::parse(&schema(), &vec!["not (sold)"; 1000].join(" and ")).unwrap();
}

#[test]
fn trees_are_checked_like_their_text() {
    let tree = Expression::Compare {
        field: "year".into(),
        comparison: Comparison::Less,
        value: LiteralValue::Integer(5).into(),
    };
    assert_eq!(Filter::new(&schema(), &tree).unwrap(), Filter::parse(&schema(), "year < 5").unwrap());
    let error = Filter::new(&schema(), &Expression::Not(Box::new(Expression::Is("year".into())))).unwrap_err();
    assert_eq!(error.column, 5);
    assert!(Filter::new(&schema(), &Expression::And(vec![])).is_err());
    assert_eq!(Filter::parse(&schema(), "sold").unwrap().schema(), &schema());
}

fn literal() -> impl Strategy<Value = Literal> {
    prop_oneof![
        any::<String>().prop_map(LiteralValue::Text),
        any::<i64>().prop_map(LiteralValue::Integer),
        any::<f64>().prop_filter("floats of filters are finite", |x| x.is_finite()).prop_map(LiteralValue::Float),
        any::<bool>().prop_map(LiteralValue::Bool),
    ]
    .prop_map(Literal::from)
}

fn field() -> impl Strategy<Value = Name> {
    "[a-c_][a-zA-Z0-9_]{0,3}"
        .prop_filter("words of the language are no names", |name| {
            !crate::metadata::schema::KEYWORDS.contains(&name.as_str())
        })
        .prop_map(|name| Name::from(name.as_str()))
}

fn comparison() -> impl Strategy<Value = Comparison> {
    use Comparison::{Equal, Greater, GreaterOrEqual, Less, LessOrEqual, Unequal};
    proptest::sample::select(vec![Equal, Unequal, Less, LessOrEqual, Greater, GreaterOrEqual])
}

fn expression() -> impl Strategy<Value = Expression> {
    let leaf = prop_oneof![
        field().prop_map(Expression::Is),
        field().prop_map(Expression::Exists),
        field().prop_map(Expression::Missing),
        (field(), comparison(), literal()).prop_map(|(field, comparison, value)| Expression::Compare {
            field,
            comparison,
            value
        }),
        (field(), any::<bool>(), vec(literal(), 1..4)).prop_map(|(field, negated, values)| Expression::In {
            field,
            negated,
            values
        }),
        (field(), literal(), literal()).prop_map(|(field, low, high)| Expression::Between { field, low, high }),
        (field(), literal()).prop_map(|(field, value)| Expression::Contains { field, value }),
    ];
    leaf.prop_recursive(5, 40, 4, |inner| {
        prop_oneof![
            vec(inner.clone(), 2..5).prop_map(Expression::And),
            vec(inner.clone(), 2..5).prop_map(Expression::Or),
            inner.prop_map(|part| Expression::Not(Box::new(part))),
        ]
    })
}

proptest! {
    #[test]
    fn a_printed_tree_parses_to_itself(tree in expression()) {
        let text = tree.to_string();
        prop_assert_eq!(Expression::parse(&text).unwrap(), tree, "{}", text);
    }

    #[test]
    fn no_text_makes_the_parser_panic(text in "\\PC*", words in vec("[a-c(]|not|and|in|\\[|[0-9.e-]{1,4}|\"\\\\?[\"u{]|<|=|\n", 0..12)) {
        for text in [text, words.join(" "), words.concat()] {
            if let Err(error) = Expression::parse(&text) {
                prop_assert!(error.column >= 1 && !error.found.is_empty() && !error.expected.is_empty(), "{}", error);
            }
        }
    }
}
