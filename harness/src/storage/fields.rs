//! The records of `filter` workloads: seeded, the same for every store and of any number; and a scan of them, which is both
//! the baseline's answer and what the others are held to.
//!
//! Values as they occur: prices spread over three orders of magnitude, colours by Zipf's law, one record in ten sold.

use nearlab_storage::metadata::{
    Comparison, Document, Expression, Field, FieldKind, Literal, LiteralValue, Name, Schema, Value,
};
use rand_pcg::{Pcg64, rand_core::Rng};

/// Colours, the most frequent first.
pub const COLORS: [&str; 16] = [
    "red", "blue", "green", "black", "white", "grey", "brown", "yellow", "orange", "pink", "purple", "silver", "gold",
    "teal", "olive", "maroon",
];

/// Stream of the generator, so that other uses of the seed draw other numbers.
const STREAM: u128 = 0x0066_6965_6c64_7300;

/// The fields of one record.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Record {
    /// 1 to 1,000, by exp(u ln 1000) of a uniform u; whole cents.
    pub price: f64,
    /// Position in [`COLORS`].
    pub color: u8,
    /// 0 to 99.
    pub stock: i64,
    /// One in ten.
    pub sold: bool,
}

impl Record {
    /// The record as the metadata store takes it.
    pub fn document(&self) -> Document {
        Document::new()
            .with("price", Value::Float(self.price))
            .with("color", Value::String(COLORS[usize::from(self.color)].to_owned()))
            .with("stock", Value::Integer(self.stock))
            .with("sold", Value::Bool(self.sold))
    }

    /// The record as a line of JSON, with its newline.
    pub fn line(&self) -> String {
        let color = COLORS[usize::from(self.color)];
        format!(
            "{{\"price\": {:?}, \"color\": \"{color}\", \"stock\": {}, \"sold\": {}}}\n",
            self.price, self.stock, self.sold
        )
    }
}

/// The schema of the records.
pub fn schema() -> Schema {
    Schema::new([
        Field::new("price", FieldKind::Float),
        Field::new("color", FieldKind::String),
        Field::new("stock", FieldKind::Integer),
        Field::new("sold", FieldKind::Bool),
    ])
    .expect("four names of their own")
}

/// `count` records.
pub fn records(seed: u64, count: usize) -> impl Iterator<Item = Record> {
    let mut random = Pcg64::new(u128::from(seed), STREAM);
    let mut unit = move || (random.next_u64() >> 11) as f64 / (1_u64 << 53) as f64;
    (0..count).map(move |_| {
        let price = ((unit() * 1000_f64.ln()).exp() * 100.0).round() / 100.0;
        // Zipf over n names: about 1 / (i + 1).
        let color = ((COLORS.len() as f64 + 1.0).powf(unit()) - 1.0) as usize;
        Record { price, color: color.min(COLORS.len() - 1) as u8, stock: (unit() * 100.0) as i64, sold: unit() < 0.1 }
    })
}

/// The positions of the records of which an expression is true, in order: one look at each record. Every field has a value,
/// and the expression suits the schema; where it does not, nothing matches.
pub fn scan(records: &[Record], expression: &Expression) -> Vec<u32> {
    let matching = records.iter().enumerate().filter(|(_, record)| matches(record, expression));
    matching.map(|(at, _)| at as u32).collect()
}

fn matches(record: &Record, expression: &Expression) -> bool {
    match expression {
        Expression::And(all) => all.iter().all(|one| matches(record, one)),
        Expression::Or(any) => any.iter().any(|one| matches(record, one)),
        Expression::Not(one) => !matches(record, one),
        Expression::Is(field) => field.text == "sold" && record.sold,
        Expression::Compare { field, comparison, value } => {
            order(record, field, value).is_some_and(|order| holds(*comparison, order))
        }
        Expression::In { field, negated, values } => {
            let found = values.iter().any(|value| order(record, field, value) == Some(std::cmp::Ordering::Equal));
            found != *negated
        }
        Expression::Between { field, low, high } => {
            order(record, field, low).is_some_and(std::cmp::Ordering::is_ge)
                && order(record, field, high).is_some_and(std::cmp::Ordering::is_le)
        }
        Expression::Exists(_) => true,
        Expression::Contains { .. } | Expression::Missing(_) => false,
    }
}

/// How the record's value stands to a literal; `None` where they cannot be compared.
fn order(record: &Record, field: &Name, literal: &Literal) -> Option<std::cmp::Ordering> {
    let number = match &literal.value {
        LiteralValue::Integer(number) => Some(*number as f64),
        LiteralValue::Float(number) => Some(*number),
        LiteralValue::Text(_) | LiteralValue::Bool(_) => None,
    };
    match (field.text.as_str(), &literal.value) {
        ("price", _) => record.price.partial_cmp(&number?),
        ("stock", _) => (record.stock as f64).partial_cmp(&number?),
        ("color", LiteralValue::Text(text)) => Some(COLORS[usize::from(record.color)].cmp(text.as_str())),
        ("sold", LiteralValue::Bool(yes)) => Some(record.sold.cmp(yes)),
        _ => None,
    }
}

fn holds(comparison: Comparison, order: std::cmp::Ordering) -> bool {
    match comparison {
        Comparison::Equal => order.is_eq(),
        Comparison::Unequal => order.is_ne(),
        Comparison::Less => order.is_lt(),
        Comparison::LessOrEqual => order.is_le(),
        Comparison::Greater => order.is_gt(),
        Comparison::GreaterOrEqual => order.is_ge(),
    }
}

#[cfg(test)]
mod tests {
    use nearlab_storage::metadata::{Change, Durability, Filter, MetadataStore, encode};

    use super::*;

    #[test]
    fn a_scan_finds_what_the_metadata_store_finds() {
        let folder = tempfile::tempdir().unwrap();
        let store = MetadataStore::create(folder.path().join("metadata.redb"), schema()).unwrap();
        let made: Vec<Record> = records(7, 2000).collect();
        let documents: Vec<Vec<u8>> =
            made.iter().map(|record| encode(&schema(), &record.document()).unwrap()).collect();
        let changes: Vec<Change<'_>> =
            documents.iter().enumerate().map(|(slot, document)| Change::Put { slot: slot as u32, document }).collect();
        store.apply(1, &changes, Durability::Deferred).unwrap();
        for text in [
            "price < 30",
            "price >= 30 and price <= 300.5",
            "price between 10 and 20 or color == \"teal\"",
            "color in [\"red\", \"blue\"] and not sold",
            "color not in [\"red\", \"blue\"]",
            "color != \"red\" and sold == false",
            "stock > 50 and sold",
            "exists(price) and not (stock < 10)",
            "missing(color)",
        ] {
            let found: Vec<u32> = store.filter(&Filter::parse(&schema(), text).unwrap()).unwrap().iter().collect();
            assert_eq!(scan(&made, &Expression::parse(text).unwrap()), found, "{text}");
            assert!(!found.is_empty() || text.starts_with("missing"), "{text}");
        }
    }

    #[test]
    fn the_same_seed_gives_the_same_records_and_their_lines_are_json() {
        let first: Vec<Record> = records(1, 100).collect();
        assert_eq!(first, records(1, 100).collect::<Vec<_>>());
        assert_ne!(first, records(2, 100).collect::<Vec<_>>());
        assert_eq!(first[..10], records(1, 10).collect::<Vec<_>>()[..]);
        let line: serde_json::Value = serde_json::from_str(&first[0].line()).unwrap();
        assert_eq!(line["price"].as_f64(), Some(first[0].price));
        assert_eq!(line["sold"].as_bool(), Some(first[0].sold));
    }
}
