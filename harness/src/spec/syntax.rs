//! From text to the typed YAML, and from the parser's errors to ours: what was expected, what was found, the near miss.

use serde::de::{DeserializeOwned, IgnoredAny};
use serde_saphyr::{DuplicateKeyPolicy, Error, Location};

use super::{
    error::{Diagnostic, Place},
    located::{Entries, place},
    storage::StoreExperiment,
    suggest::nearest,
    yaml::Experiment,
};

/// Modes that are planned, for a kinder message.
const LATER_MODES: [&str; 3] = ["closed_loop", "open_loop", "runbook"];

/// Whether an experiment asks about stores: it has a key `stores`, or none of `indexes` and one that is nearly `stores`.
pub(super) fn is_about_stores(yaml: &str) -> bool {
    let Ok(keys) = serde_saphyr::from_str::<Entries<IgnoredAny>>(yaml) else {
        // It does not parse: the drawing of the mistake is the same, but for which keys are known.
        return yaml.lines().any(|line| line.starts_with("stores:"));
    };
    let has = |wanted: &str| keys.0.iter().any(|(key, _)| key.value == wanted);
    let nearly = |key: &str| nearest(key, ["indexes", "stores"]) == Some("stores");
    has("stores") || (!has("indexes") && keys.0.iter().any(|(key, _)| nearly(&key.value)))
}

/// Parses an experiment about stores; as [`experiment`].
pub(super) fn store_experiment(yaml: &str) -> Result<StoreExperiment, Diagnostic> {
    parse(yaml).map_err(|diagnostic| match diagnostic.message.as_str() {
        "unknown key `indexes`" => diagnostic.help("an experiment asks about indexes or about stores, not both"),
        _ => diagnostic,
    })
}

/// Parses an experiment; the first mistake of syntax, keys or types is the error.
pub(super) fn experiment(yaml: &str) -> Result<Experiment, Diagnostic> {
    parse(yaml)
}

fn parse<T: DeserializeOwned>(yaml: &str) -> Result<T, Diagnostic> {
    let options = serde_saphyr::options! {
        duplicate_keys: DuplicateKeyPolicy::Error,
        strict_booleans: true,
    };
    serde_saphyr::from_str_with_options(yaml, options).map_err(|error| diagnose(yaml, error.without_snippet()))
}

fn diagnose(yaml: &str, error: &Error) -> Diagnostic {
    let location = error.location();
    let at = |message: String| match location {
        Some(location) if location.line() > 0 => Diagnostic::new(place(&location), message),
        _ => Diagnostic::nowhere(message),
    };
    let found = || location.map_or_else(String::new, |location| node_text(yaml, &location));
    let wrong_type = |expected: &str| {
        let subject =
            location.and_then(|location| key_before(yaml, &location)).unwrap_or_else(|| "the value".to_owned());
        at(format!("{subject} has the wrong type")).expected(expected)
    };
    match error {
        Error::SerdeUnknownField { field, expected, .. } => at(format!("unknown key `{field}`"))
            .expected(format!("one of {}", expected.join(", ")))
            .near_miss(nearest(field, expected.iter().copied())),
        Error::SerdeMissingField { field, .. } => {
            at(format!("the key `{field}` is missing")).expected(format!("`{field}: ...` in this mapping"))
        }
        Error::SerdeUnknownVariant { variant, expected, .. } => {
            let diagnostic =
                at(format!("unknown value `{variant}`")).expected(format!("one of {}", expected.join(", ")));
            if LATER_MODES.contains(&variant.as_str()) {
                return diagnostic.help("this mode is planned, but this version does not have it");
            }
            diagnostic.near_miss(nearest(variant, expected.iter().copied()))
        }
        Error::DuplicateMappingKey { key, .. } => {
            at(format!("the key `{}` is given twice", key.as_deref().unwrap_or("?"))).expected("each key once")
        }
        Error::SerdeInvalidType { expected, .. } | Error::SerdeInvalidValue { expected, .. } => {
            wrong_type(expected).found(found())
        }
        Error::InvalidScalar { ty, .. } => wrong_type(type_in_words(ty)).found(found()),
        Error::InvalidBooleanStrict { .. } => wrong_type("true or false").found(found()),
        Error::NullIntoString { .. } => wrong_type("a text").found("nothing"),
        Error::Unexpected { expected, .. } => wrong_type(event_in_words(expected)).found(found()),
        Error::ExternallyTaggedEnumExpectedScalarOrMapping { .. } => {
            wrong_type("one of the words allowed here").found(found())
        }
        Error::UnknownAnchor { .. } => at("this alias has no anchor".to_owned()).expected("`&name` before `*name`"),
        Error::MultipleDocuments { .. } => {
            at("a second document begins here".to_owned()).expected("one experiment per file")
        }
        Error::Eof { .. } => at("the file ends too early".to_owned()).expected("an experiment"),
        Error::Message { msg, .. } => at(msg.clone()),
        Error::AliasError { error, .. } => diagnose(yaml, error),
        other => at(without_place(&other.to_string()).to_owned()),
    }
}

/// The key that a value belongs to, quoted, when both stand on one line.
fn key_before(yaml: &str, location: &Location) -> Option<String> {
    let Place { line, column, .. } = place(location);
    let before: String = yaml.lines().nth(line.checked_sub(1)?)?.chars().take(column.saturating_sub(1)).collect();
    let key = before.trim_end().strip_suffix(':')?;
    let start = key.rfind(|c: char| !(c.is_alphanumeric() || c == '_')).map_or(0, |at| at + 1);
    let name = key.get(start..).filter(|name| !name.is_empty())?;
    Some(format!("`{name}`"))
}

/// The parser ends its sentences with a position that the drawing gives already.
fn without_place(message: &str) -> &str {
    message.rsplit_once(" at line ").map_or(message, |(sentence, _)| sentence)
}

fn type_in_words(ty: &'static str) -> &'static str {
    match ty {
        "u8" | "u16" | "u32" | "u64" | "usize" => "a whole number, not negative",
        "i8" | "i16" | "i32" | "i64" | "isize" => "a whole number",
        "floating point" | "f32" | "f64" => "a number",
        other => other,
    }
}

fn event_in_words(event: &'static str) -> &'static str {
    match event {
        "mapping start" => "a mapping (`key: value`)",
        "sequence start" => "a list (`[a, b]`)",
        "string scalar" | "scalar" => "a single value",
        other => other,
    }
}

/// What stands at a place: the scalar, or what kind of thing begins there.
fn node_text(yaml: &str, location: &Location) -> String {
    let Place { line, column, length } = place(location);
    let text = yaml.lines().nth(line.saturating_sub(1)).unwrap_or_default();
    let rest: String = text.chars().skip(column.saturating_sub(1)).collect();
    let word = rest.trim_start_matches(|c: char| c.is_alphanumeric() || c == '_');
    let key = word.len() < rest.len() && (word.starts_with(": ") || word == ":");
    match rest.chars().next() {
        None => "nothing".to_owned(),
        Some('[') => "a list".to_owned(),
        Some('-') if rest.starts_with("- ") => "a list".to_owned(),
        Some('{') => "a mapping".to_owned(),
        Some(_) if key => "a mapping".to_owned(),
        Some(_) => format!("`{}`", rest.chars().take(length).collect::<String>().trim()),
    }
}
