//! Values as keys: bytes whose order is the order of the values.

use super::super::encoding::RawValue;

/// The key of an integer or a timestamp: its sign flipped, big-endian.
pub(in super::super) fn integer_key(number: i64) -> [u8; 8] {
    (number as u64 ^ (1 << 63)).to_be_bytes()
}

/// The key of a finite float: its sign flipped, and all bits of a negative one. -0.0 has the key of 0.0, being equal to it.
pub(in super::super) fn float_key(number: f64) -> [u8; 8] {
    // Turns -0.0 into 0.0 and changes nothing else.
    let bits = (number + 0.0).to_bits();
    let flips = if bits >> 63 == 1 { u64::MAX } else { 1 << 63 };
    (bits ^ flips).to_be_bytes()
}

/// The key of a bool.
pub(in super::super) fn bool_key(truth: bool) -> [u8; 1] {
    [u8::from(truth)]
}

/// Calls `with` for each key of a value: one, or one per tag, ascending.
pub(in super::super) fn each_key(value: &RawValue<'_>, mut with: impl FnMut(&[u8])) {
    match value {
        RawValue::String(text) => with(text.as_bytes()),
        RawValue::Integer(number) => with(&integer_key(*number)),
        RawValue::Timestamp(moment) => with(&integer_key(moment.microseconds())),
        RawValue::Float(number) => with(&float_key(*number)),
        RawValue::Bool(truth) => with(&bool_key(*truth)),
        RawValue::Tags(tags) => tags.iter().for_each(|tag| with(tag.as_bytes())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_ordered_as_their_values() {
        let integers = [i64::MIN, -256, -1, 0, 1, 255, 256, i64::MAX];
        assert!(integers.map(integer_key).is_sorted());
        let floats = [f64::MIN, -1e9, -1.0, -f64::MIN_POSITIVE, 0.0, 5e-324, 1.0, 1.5, 256.0, f64::MAX];
        assert!(floats.map(float_key).is_sorted_by(|a, b| a < b));
        assert_eq!(float_key(-0.0), float_key(0.0));
        assert!(bool_key(false) < bool_key(true));
    }
}
