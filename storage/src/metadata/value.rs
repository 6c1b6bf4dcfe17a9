//! The values of fields.

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;

use super::schema::FieldKind;

/// The value of one field of one record.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// Of a field of kind [`FieldKind::String`].
    String(String),
    /// Of a field of kind [`FieldKind::Integer`].
    Integer(i64),
    /// Of a field of kind [`FieldKind::Float`]; finite in every document that passed its check.
    Float(f64),
    /// Of a field of kind [`FieldKind::Bool`].
    Bool(bool),
    /// Of a field of kind [`FieldKind::Timestamp`].
    Timestamp(Timestamp),
    /// Of a field of kind [`FieldKind::Tags`]. The empty set is a value, not absence.
    Tags(BTreeSet<String>),
}

impl Value {
    /// The kind of field that takes this value.
    pub fn kind(&self) -> FieldKind {
        match self {
            Self::String(_) => FieldKind::String,
            Self::Integer(_) => FieldKind::Integer,
            Self::Float(_) => FieldKind::Float,
            Self::Bool(_) => FieldKind::Bool,
            Self::Timestamp(_) => FieldKind::Timestamp,
            Self::Tags(_) => FieldKind::Tags,
        }
    }
}

/// A moment, in microseconds since 1970-01-01T00:00:00Z, from the year -9999 to the year 9999.
///
/// ```
/// use nearlab_storage::metadata::Timestamp;
///
/// let moment: Timestamp = "2024-02-29T12:00:00.5+01:00".parse()?;
/// assert_eq!(moment.to_string(), "2024-02-29T11:00:00.5Z");
/// assert_eq!(moment.microseconds(), 1_709_204_400_500_000);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(i64);

impl Timestamp {
    /// The moment that many microseconds after 1970, or `None` outside the years that have a text form.
    pub fn from_microseconds(microseconds: i64) -> Option<Self> {
        jiff::Timestamp::from_microsecond(microseconds).ok().map(|_| Self(microseconds))
    }

    /// Microseconds since 1970-01-01T00:00:00Z.
    pub fn microseconds(self) -> i64 {
        self.0
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match jiff::Timestamp::from_microsecond(self.0) {
            Ok(moment) => moment.fmt(f),
            Err(_) => unreachable!("only moments with a text form are made"),
        }
    }
}

impl FromStr for Timestamp {
    type Err = TimestampError;

    /// Reads RFC 3339. Finer parts than microseconds, and leap seconds, are refused rather than cut off: `<` would lie about them.
    fn from_str(text: &str) -> Result<Self, TimestampError> {
        let refused = |why: &str| TimestampError { found: text.to_owned(), why: why.to_owned() };
        let moment: jiff::Timestamp = text.parse().map_err(|error: jiff::Error| refused(&error.to_string()))?;
        // Which would be read as the second before.
        if is_leap_second(text) {
            return Err(refused("it is a leap second"));
        }
        if moment.subsec_nanosecond() % 1000 != 0 {
            return Err(refused("it is finer than a microsecond"));
        }
        Ok(Self(moment.as_microsecond()))
    }
}

/// Whether a moment that was read has a sixty-first second, as in `23:59:60` or `235960`.
fn is_leap_second(text: &str) -> bool {
    let time = text.split(['T', 't', ' ']).nth(1).unwrap_or_default();
    let digits = time.bytes().take_while(|byte| byte.is_ascii_digit() || *byte == b':').filter(u8::is_ascii_digit);
    digits.skip(4).take(2).eq(*b"60")
}

/// Why a text is no timestamp.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected an RFC 3339 timestamp such as \"2024-02-29T12:00:00Z\", found {found:?}: {why}")]
pub struct TimestampError {
    /// The text.
    pub found: String,
    /// What is wrong with it.
    pub why: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn timestamps_survive_their_text() {
        for text in ["1970-01-01T00:00:00Z", "2024-02-29T11:00:00.000001Z", "1969-12-31T23:59:59.999999Z"] {
            assert_eq!(text.parse::<Timestamp>().unwrap().to_string(), text);
        }
        assert_eq!("1969-12-31T23:59:59.999999Z".parse::<Timestamp>().unwrap().microseconds(), -1);
    }

    #[test]
    fn texts_without_a_zone_and_finer_than_microseconds_are_refused() {
        for (text, why) in [("2024-01-01", ""), ("2024-01-01T00:00:00.0000001Z", "finer"), ("yesterday", "")] {
            let message = text.parse::<Timestamp>().unwrap_err().to_string();
            assert!(message.starts_with("expected an RFC 3339 timestamp"), "{message}");
            assert!(message.contains(text) && message.contains(why), "{message}");
        }
    }

    #[test]
    fn leap_seconds_are_refused_in_every_form() {
        let forms = ["2016-12-31T23:59:60Z", "2016-12-31T235960Z", "20161231t235960.5Z", "2016-12-31 23:59:60+00:00"];
        for text in forms {
            let message = text.parse::<Timestamp>().unwrap_err().to_string();
            assert!(message.contains(text) && message.contains("leap second"), "{message}");
        }
        for text in ["2016-12-31T23:58Z", "2016-12-31T22:00:06Z", "2016-12-31T220006Z", "2016-12-31T23:59:59.60Z"] {
            assert!(text.parse::<Timestamp>().is_ok(), "{text}");
        }
    }

    #[test]
    fn moments_without_a_text_form_do_not_exist() {
        assert_eq!(Timestamp::from_microseconds(i64::MAX), None);
        assert_eq!(Timestamp::from_microseconds(i64::MIN), None);
        assert_eq!(Timestamp::from_microseconds(5).unwrap().microseconds(), 5);
    }

    #[test]
    fn a_value_knows_its_kind() {
        assert_eq!(Value::Tags(BTreeSet::new()).kind(), FieldKind::Tags);
        assert_eq!(Value::Timestamp(Timestamp(0)).kind(), FieldKind::Timestamp);
        assert_eq!(Value::String(String::new()).kind(), FieldKind::String);
    }
}
