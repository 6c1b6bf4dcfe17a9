//! Durations (`30m`, `1h30m`, `500ms`) and sizes (`8GiB`, `500MB`): always with a unit, so that nobody has to guess one.

use std::time::Duration;

const TIMES: [(&str, u64); 4] = [("ms", 1), ("s", 1_000), ("m", 60_000), ("h", 3_600_000)];
const SIZES: [(&str, u64); 9] = [
    ("B", 1),
    ("KB", 1_000),
    ("MB", 1_000_000),
    ("GB", 1_000_000_000),
    ("TB", 1_000_000_000_000),
    ("KiB", 1 << 10),
    ("MiB", 1 << 20),
    ("GiB", 1 << 30),
    ("TiB", 1 << 40),
];

/// What a duration looks like, for messages.
pub(super) const DURATION: &str = "a duration with its unit, such as 500ms, 30s, 10m or 1h30m";
/// What a size looks like, for messages.
pub(super) const SIZE: &str = "a size with its unit, such as 512MiB, 8GiB or 16GB";

/// Reads a duration above zero; `None` for anything else.
pub(super) fn duration(text: &str) -> Option<Duration> {
    let mut rest = text.trim();
    let mut total = 0_u64;
    while !rest.is_empty() {
        let (value, unit, after) = quantity(rest, &TIMES)?;
        total = total.checked_add(scaled(value, unit)?)?;
        rest = after;
    }
    (total > 0).then(|| Duration::from_millis(total))
}

/// Reads a size in bytes above zero; `None` for anything else.
pub(super) fn size(text: &str) -> Option<u64> {
    let (value, unit, rest) = quantity(text.trim(), &SIZES)?;
    scaled(value, unit).filter(|&bytes| bytes > 0 && rest.is_empty())
}

fn quantity<'t>(text: &'t str, units: &[(&str, u64)]) -> Option<(f64, u64, &'t str)> {
    let digits = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let value: f64 = text[..digits].parse().ok()?;
    let rest = text[digits..].trim_start();
    let letters = rest.find(|c: char| !c.is_ascii_alphabetic()).unwrap_or(rest.len());
    let (_, unit) = units.iter().find(|(name, _)| *name == &rest[..letters])?;
    Some((value, *unit, rest[letters..].trim_start()))
}

fn scaled(value: f64, unit: u64) -> Option<u64> {
    let product = (value * unit as f64).round();
    // 2^53: beyond it a float no longer counts single units.
    (product.is_finite() && product <= 9_007_199_254_740_992.0).then_some(product as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_read_with_their_units() {
        for (text, ms) in
            [("30m", 1_800_000), ("1h30m", 5_400_000), ("500ms", 500), ("1.5s", 1_500), ("2 h", 7_200_000)]
        {
            assert_eq!(duration(text), Some(Duration::from_millis(ms)), "{text}");
        }
    }

    #[test]
    fn what_is_not_a_duration_is_refused() {
        for text in ["", "30", "m", "30 parsecs", "-3s", "0s", "1e9h", "3s4", "1..2s", "99999999999999999999h", "３s"]
        {
            assert_eq!(duration(text), None, "{text}");
        }
    }

    #[test]
    fn sizes_are_read_in_binary_and_decimal_units() {
        assert_eq!(size("8GiB"), Some(8 << 30));
        assert_eq!(size("1.5 GB"), Some(1_500_000_000));
        for text in ["8", "8G", "GiB", "8GiB8", "0B", "", "-1GiB", "99999999TiB"] {
            assert_eq!(size(text), None, "{text}");
        }
    }
}
