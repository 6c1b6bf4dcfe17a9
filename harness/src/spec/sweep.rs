//! The values that a parameter takes: a scalar, a list, `{geometric: [from, to, factor]}` or `{range: [from, to, step]}`.
//!
//! Both progressions include `to` when they hit it. Whole ends give whole values (rounded, each once).

use std::{borrow::Cow, fmt};

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{
    Deserialize, Deserializer,
    de::{Error as _, MapAccess, SeqAccess, Visitor},
};
use serde_json::Value;

use super::{
    error::{Diagnostic, Place},
    located::Located,
};

/// Most values one sweep may have.
const MOST: usize = 10_000;
/// What a sweep may be, for messages.
pub(super) const FORMS: &str =
    "a value, a list of values, {geometric: [from, to, factor]} or {range: [from, to, step]}";

/// A number, a text or true/false. Whole numbers are kept whole however they were written (`10.0` is `10`).
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Scalar(pub(super) Value);

/// A sweep as written.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Sweep {
    One(Scalar),
    List(Vec<Located<Scalar>>),
    Geometric(Located<Vec<Located<Scalar>>>),
    Range(Located<Vec<Located<Scalar>>>),
}

struct ScalarVisitor;

impl Visitor<'_> for ScalarVisitor {
    type Value = Scalar;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a number, a text or true/false")
    }

    fn visit_bool<E>(self, value: bool) -> Result<Scalar, E> {
        Ok(Scalar(Value::from(value)))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Scalar, E> {
        Ok(Scalar(Value::from(value)))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Scalar, E> {
        Ok(Scalar(Value::from(value)))
    }

    fn visit_f64<E: serde::de::Error>(self, value: f64) -> Result<Scalar, E> {
        number(value).map(Scalar).ok_or_else(|| E::custom("expected a finite number"))
    }

    fn visit_unit<E>(self) -> Result<Scalar, E> {
        Ok(NOTHING)
    }

    fn visit_str<E>(self, value: &str) -> Result<Scalar, E> {
        Ok(Scalar(Value::from(value)))
    }
}

/// `~`: kept until its place is known, then refused.
const NOTHING: Scalar = Scalar(Value::Null);

impl<'de> Deserialize<'de> for Scalar {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ScalarVisitor)
    }
}

impl<'de> Deserialize<'de> for Sweep {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Forms;

        impl<'de> Visitor<'de> for Forms {
            type Value = Sweep;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(FORMS)
            }

            fn visit_bool<E: serde::de::Error>(self, value: bool) -> Result<Sweep, E> {
                ScalarVisitor.visit_bool(value).map(Sweep::One)
            }

            fn visit_i64<E: serde::de::Error>(self, value: i64) -> Result<Sweep, E> {
                ScalarVisitor.visit_i64(value).map(Sweep::One)
            }

            fn visit_u64<E: serde::de::Error>(self, value: u64) -> Result<Sweep, E> {
                ScalarVisitor.visit_u64(value).map(Sweep::One)
            }

            fn visit_f64<E: serde::de::Error>(self, value: f64) -> Result<Sweep, E> {
                ScalarVisitor.visit_f64(value).map(Sweep::One)
            }

            fn visit_str<E: serde::de::Error>(self, value: &str) -> Result<Sweep, E> {
                ScalarVisitor.visit_str(value).map(Sweep::One)
            }

            fn visit_unit<E>(self) -> Result<Sweep, E> {
                Ok(Sweep::One(NOTHING))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Sweep, A::Error> {
                let mut values = Vec::new();
                while let Some(value) = list.next_element()? {
                    values.push(value);
                }
                Ok(Sweep::List(values))
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Sweep, A::Error> {
                const KEYS: &[&str] = &["geometric", "range"];
                let Some(key) = map.next_key::<String>()? else {
                    return Err(A::Error::custom(format!("expected {FORMS}, found an empty mapping")));
                };
                let sweep = match key.as_str() {
                    "geometric" => Sweep::Geometric(map.next_value()?),
                    "range" => Sweep::Range(map.next_value()?),
                    other => return Err(A::Error::unknown_field(other, KEYS)),
                };
                match map.next_key::<String>()? {
                    None => Ok(sweep),
                    Some(more) => Err(A::Error::custom(format!("a sweep has one form, found `{more}` as well"))),
                }
            }
        }

        deserializer.deserialize_any(Forms)
    }
}

impl JsonSchema for Scalar {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "Scalar".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({"type": ["number", "string", "boolean"]})
    }
}

impl JsonSchema for Sweep {
    fn schema_name() -> Cow<'static, str> {
        "Sweep".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let scalar = Scalar::json_schema(generator);
        let progression = |name: &str, words: &str| {
            json_schema!({
                "type": "object",
                "additionalProperties": false,
                "required": [name],
                "properties": {name: {"type": "array", "items": {"type": "number"}, "minItems": 3, "maxItems": 3, "description": words}}
            })
        };
        json_schema!({
            "description": "The values a parameter takes: one value, a list, or a progression.",
            "anyOf": [
                scalar,
                {"type": "array", "items": scalar, "minItems": 1, "uniqueItems": true},
                progression("geometric", "[from, to, factor]: from, from * factor, ... up to and with `to`."),
                progression("range", "[from, to, step]: from, from + step, ... up to and with `to`."),
            ]
        })
    }
}

/// A float as a JSON number, whole if it is whole; `None` if it is not finite.
fn number(value: f64) -> Option<Value> {
    if value.fract() == 0.0 && value.abs() < 9_007_199_254_740_992.0 {
        return Some(Value::from(value as i64));
    }
    serde_json::Number::from_f64(value).map(Value::Number)
}

impl Sweep {
    /// The values, at least one and each once; or what is wrong, at the place of the mistake.
    pub(super) fn values(&self, name: &str, place: Place) -> Result<Vec<Value>, Diagnostic> {
        match self {
            Self::One(scalar) if *scalar == NOTHING => Err(nothing(name, place)),
            Self::One(scalar) => Ok(vec![scalar.0.clone()]),
            Self::List(list) => listed(name, list, place),
            Self::Geometric(ends) => {
                let [from, to, factor] = three(name, "geometric: [from, to, factor]", ends)?;
                if from <= 0.0 || factor <= 1.0 || to < from {
                    return Err(impossible(name, ends.place, "0 < from <= to and factor > 1"));
                }
                progression(name, ends, from, to, |value| value * factor)
            }
            Self::Range(ends) => {
                let [from, to, step] = three(name, "range: [from, to, step]", ends)?;
                if step <= 0.0 || to < from {
                    return Err(impossible(name, ends.place, "from <= to and step > 0"));
                }
                progression(name, ends, from, to, |value| value + step)
            }
        }
    }
}

fn listed(name: &str, list: &[Located<Scalar>], place: Place) -> Result<Vec<Value>, Diagnostic> {
    let mut values: Vec<Value> = Vec::new();
    for item in list {
        if item.value == NOTHING {
            return Err(nothing(name, item.place));
        }
        if values.contains(&item.value.0) {
            return Err(Diagnostic::new(item.place, format!("`{name}` has the value {} twice", item.value.0)));
        }
        values.push(item.value.0.clone());
    }
    if values.is_empty() {
        return Err(Diagnostic::new(place, format!("the sweep of `{name}` is empty"))
            .expected(format!("{FORMS}, with at least one value")));
    }
    if values.len() > MOST {
        return Err(too_many(name, place));
    }
    Ok(values)
}

fn nothing(name: &str, place: Place) -> Diagnostic {
    Diagnostic::new(place, format!("`{name}` has no value")).expected(FORMS).found("nothing")
}

fn three(name: &str, form: &str, ends: &Located<Vec<Located<Scalar>>>) -> Result<[f64; 3], Diagnostic> {
    let numbers: Vec<f64> = ends.value.iter().filter_map(|scalar| scalar.value.0.as_f64()).collect();
    if numbers.len() == ends.value.len()
        && let Ok(three) = <[f64; 3]>::try_from(numbers)
    {
        return Ok(three);
    }
    let found = format!("{} values", ends.value.len());
    Err(Diagnostic::new(ends.place, format!("the sweep of `{name}` cannot be read"))
        .expected(format!("{{{form}}} with three numbers"))
        .found(if ends.value.len() == 3 { "three values that are not all numbers".to_owned() } else { found }))
}

fn impossible(name: &str, place: Place, rule: &str) -> Diagnostic {
    Diagnostic::new(place, format!("the sweep of `{name}` has no end")).expected(rule)
}

fn too_many(name: &str, place: Place) -> Diagnostic {
    Diagnostic::new(place, format!("the sweep of `{name}` has more than {MOST} values"))
}

fn progression(
    name: &str,
    ends: &Located<Vec<Located<Scalar>>>,
    from: f64,
    to: f64,
    next: impl Fn(f64) -> f64,
) -> Result<Vec<Value>, Diagnostic> {
    let whole = ends.value.iter().take(2).all(|end| end.value.0.is_u64() || end.value.0.is_i64());
    let mut values: Vec<Value> = Vec::new();
    let mut at = from;
    // A hair of room: 0.1 + 0.1 + 0.1 must reach 0.3.
    let last = to + to.abs().max(from.abs()) * 1e-9;
    for step in 0.. {
        if at > last {
            break;
        }
        if step >= MOST {
            return Err(too_many(name, ends.place));
        }
        // Rounded to 12 digits, so that sums of tenths print as tenths.
        let rounded = if whole { at.round() } else { format!("{at:.12e}").parse().unwrap_or(at) };
        if let Some(value) = number(rounded)
            && values.last() != Some(&value)
        {
            values.push(value);
        }
        at = next(at);
    }
    Ok(values)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn values(yaml: &str) -> Result<Vec<Value>, String> {
        let sweep: Located<Sweep> = serde_saphyr::from_str(yaml).map_err(|error| error.to_string())?;
        sweep
            .value
            .values("x", sweep.place)
            .map_err(|d| format!("{} | {}", d.message, d.expected.as_deref().unwrap_or_default()))
    }

    fn shown(yaml: &str) -> String {
        values(yaml).unwrap().iter().map(ToString::to_string).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn every_form_gives_its_values() {
        assert_eq!(shown("1_000_000"), "1000000");
        assert_eq!(shown("[16, 32.0, -1, f32, true, 0.5]"), r#"16 32 -1 "f32" true 0.5"#);
        assert_eq!(shown("{geometric: [10, 320, 2]}"), "10 20 40 80 160 320");
        assert_eq!(shown("{geometric: [1, 10, 1.5]}"), "1 2 3 5 8");
        assert_eq!(shown("{range: [0.1, 0.5, 0.1]}"), "0.1 0.2 0.3 0.4 0.5");
        assert_eq!(shown("{range: [-2, 3, 2]}"), "-2 0 2");
        assert_eq!(shown("{range: [5, 5, 1]}"), "5");
    }

    #[test]
    fn whole_values_are_equal_however_they_were_written() {
        assert_eq!(values("16.0"), values("16"));
        assert_eq!(values("{range: [16, 16, 1]}"), values("[16]"));
    }

    #[test]
    fn what_is_empty_double_or_endless_is_refused() {
        for (yaml, words) in [
            ("[]", "is empty"),
            ("[1, 2, 1]", "value 1 twice"),
            ("{geometric: [10, 320]}", "three numbers"),
            ("{geometric: [10, 320, x]}", "three numbers"),
            ("{geometric: [10, 320, 1]}", "factor > 1"),
            ("{geometric: [0, 320, 2]}", "0 < from"),
            ("{range: [1, 0, 1]}", "from <= to"),
            ("{range: [0, 1, 0]}", "step > 0"),
            ("{range: [0, 1000000000, 1]}", "more than 10000"),
            ("{range: [1e18, 1.1e18, 1e-3]}", "more than 10000"),
            ("{geometrc: [1, 2, 3]}", "geometrc"),
            ("{range: [1, 2, 1], geometric: [1, 2, 2]}", "one form"),
            ("{}", "empty mapping"),
            ("[[1]]", "number, a text"),
            (".nan", "finite"),
            ("~", "no value"),
            ("[1, ~]", "no value"),
        ] {
            let error = values(yaml).unwrap_err();
            assert!(error.contains(words), "{yaml}: {error}");
        }
    }
}
