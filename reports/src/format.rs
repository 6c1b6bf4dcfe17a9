//! Numbers and parameters as a person reads them. The records keep every digit; a report keeps three or four.

use serde_json::Value;

use crate::record::Params;

/// 1234567.8 as `1,234,568`; below 100 with decimals that still say something.
pub fn number(value: f64) -> String {
    if !value.is_finite() {
        return "–".to_owned();
    }
    let magnitude = value.abs();
    if magnitude == 0.0 {
        "0".to_owned()
    } else if magnitude < 0.1 {
        format!("{value:.4}")
    } else if magnitude < 10.0 {
        format!("{value:.2}")
    } else if magnitude < 100.0 {
        format!("{value:.1}")
    } else {
        grouped(&format!("{value:.0}"))
    }
}

/// 1234567 as `1,234,567`.
pub fn count(value: u64) -> String {
    grouped(&value.to_string())
}

fn grouped(digits: &str) -> String {
    let (sign, digits) = digits.strip_prefix('-').map_or(("", digits), |rest| ("-", rest));
    let mut out = String::from(sign);
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

/// 12500 as `12.5k`: for axis labels.
pub fn short(value: f64) -> String {
    let (divisor, unit) = match value.abs() {
        v if v >= 1e9 => (1e9, "G"),
        v if v >= 1e6 => (1e6, "M"),
        v if v >= 1e3 => (1e3, "k"),
        _ => (1.0, ""),
    };
    format!("{}{unit}", trimmed(value / divisor, 3))
}

/// At most `decimals` decimals, without zeros at the end.
pub fn trimmed(value: f64, decimals: usize) -> String {
    let text = format!("{value:.decimals$}");
    if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.').to_owned() } else { text }
}

/// Three digits and a unit out of `units`, each `step` times the one before.
fn scaled(value: f64, units: &[&str], step: f64) -> String {
    let mut value = value;
    let mut at = 0;
    while value.abs() >= step && at + 1 < units.len() {
        value /= step;
        at += 1;
    }
    let decimals = match value.abs() {
        v if v >= 100.0 || v.fract() == 0.0 => 0,
        v if v >= 10.0 => 1,
        _ => 2,
    };
    format!("{value:.decimals$} {}", units[at])
}

/// 1234567 as `1.18 MiB`.
pub fn bytes(value: f64) -> String {
    scaled(value, &["B", "KiB", "MiB", "GiB", "TiB"], 1024.0)
}

/// Nanoseconds as `123 µs`.
pub fn nanoseconds(value: f64) -> String {
    if value >= 1e9 { seconds(value / 1e9) } else { scaled(value, &["ns", "µs", "ms"], 1000.0) }
}

/// Seconds as `0.52 s`, `2 min 5 s`, or smaller units below a tenth.
pub fn seconds(value: f64) -> String {
    if value == 0.0 {
        "0 s".to_owned()
    } else if value < 0.1 {
        nanoseconds(value * 1e9)
    } else if value < 10.0 {
        format!("{value:.2} s")
    } else if value < 120.0 {
        format!("{value:.1} s")
    } else {
        let whole = value.round() as u64;
        format!("{} min {} s", count(whole / 60), whole % 60)
    }
}

/// A recall, never rounded up to 1 when it is not: `0.9512`, `0.99998`, `1`.
pub fn recall(value: f64) -> String {
    if value == 1.0 {
        return "1".to_owned();
    }
    let mut decimals = 4;
    while decimals < 9 && value < 1.0 && (value * 10f64.powi(decimals)).round() >= 10f64.powi(decimals) {
        decimals += 1;
    }
    format!("{value:.*}", decimals as usize)
}

/// `2.13×`.
pub fn ratio(value: f64) -> String {
    let decimals = match value.abs() {
        v if v >= 100.0 => 0,
        v if v >= 10.0 => 1,
        _ => 2,
    };
    format!("{value:.decimals$}×")
}

/// One parameter value, strings without quotes.
pub fn value(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

/// `ef_construction 200, m 16`; a dash when there are none.
pub fn params(params: &Params) -> String {
    if params.is_empty() {
        return "–".to_owned();
    }
    let words: Vec<String> = params.iter().map(|(name, found)| format!("{name} {}", value(found))).collect();
    words.join(", ")
}

/// Both kinds of parameters in one line.
pub fn all_params(build: &Params, search: &Params) -> String {
    match (build.is_empty(), search.is_empty()) {
        (true, _) => params(search),
        (false, true) => params(build),
        (false, false) => format!("{}; {}", params(build), params(search)),
    }
}

/// `one query`, `2 queries`.
pub fn plural(n: u64, one: &str, many: &str) -> String {
    if n == 1 { format!("1 {one}") } else { format!("{} {many}", count(n)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_keep_what_a_reader_needs() {
        let shown: Vec<String> =
            [0.0, 0.01234, 1.234, 56.78, 1234.5, -1_234_567.0, f64::NAN].map(number).into_iter().collect();
        assert_eq!(shown, ["0", "0.0123", "1.23", "56.8", "1,234", "-1,234,567", "–"]);
        assert_eq!([12_500.0, 100.0, 2e6, 3e9].map(short), ["12.5k", "100", "2M", "3G"]);
        assert_eq!(count(1_000), "1,000");
    }

    #[test]
    fn units_are_the_largest_that_fit() {
        assert_eq!([512.0, 1_234_567.0, 1024.0].map(bytes), ["512 B", "1.18 MiB", "1 KiB"]);
        assert_eq!([950.0, 123_456.0, 2.5e9].map(nanoseconds), ["950 ns", "123 µs", "2.50 s"]);
        assert_eq!([0.0, 0.05, 0.5, 60.0, 125.0].map(seconds), ["0 s", "50 ms", "0.50 s", "60.0 s", "2 min 5 s"]);
    }

    #[test]
    fn a_recall_below_one_never_reads_as_one() {
        assert_eq!([1.0, 0.95, 0.999_98, 0.999_999].map(recall), ["1", "0.9500", "0.99998", "0.999999"]);
        assert_eq!([2.126, 12.34, 123.4].map(ratio), ["2.13×", "12.3×", "123×"]);
    }

    #[test]
    fn parameters_read_as_words() {
        let build = Params::from([("m".to_owned(), 16.into()), ("codes".to_owned(), "f32".into())]);
        let search = Params::from([("ef_search".to_owned(), 40.into())]);
        assert_eq!(all_params(&build, &search), "codes f32, m 16; ef_search 40");
        assert_eq!(all_params(&build, &Params::new()), "codes f32, m 16");
        assert_eq!(all_params(&Params::new(), &search), "ef_search 40");
        assert_eq!(params(&Params::new()), "–");
        assert_eq!([plural(1, "point", "points"), plural(1200, "point", "points")], ["1 point", "1,200 points"]);
    }
}
