//! The store against a model: random records, random batches and random filters, evaluated by reading every document. The
//! store is opened anew after every few batches. Seeds are fixed, so a failure repeats itself.
#![expect(clippy::unwrap_used, reason = "what prepares a test stands outside its function")]

use std::collections::BTreeMap;

use nearlab_storage::metadata::{
    Change, Comparison, Document, Durability, Estimate, Expression, Field, FieldKind, Filter, Literal, LiteralValue,
    MetadataStore, Name, Schema, Timestamp, Value, encode,
};

struct Random(u64);

impl Random {
    /// A number below `bound`.
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % bound
    }

    fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[self.below(from.len() as u64) as usize]
    }
}

const KINDS: [(&str, FieldKind); 6] = [
    ("s", FieldKind::String),
    ("i", FieldKind::Integer),
    ("f", FieldKind::Float),
    ("b", FieldKind::Bool),
    ("t", FieldKind::Timestamp),
    ("g", FieldKind::Tags),
];

/// Each kind with an index and, under the name with a `u` before it, without one.
fn schema() -> Schema {
    let fields = KINDS.iter().map(|(name, kind)| Field::new(*name, *kind));
    let unindexed = KINDS.iter().map(|(name, kind)| Field::new(format!("u{name}"), *kind).unindexed());
    Schema::new(fields.chain(unindexed)).unwrap()
}

fn text(random: &mut Random) -> String {
    // Few values for many records, many values for few, and prefixes of each other.
    match random.below(4) {
        0 => "common".to_owned(),
        1 => "x".repeat(random.below(12) as usize),
        2 => format!("word \"{}\"", random.below(20)),
        _ => format!("long enough to have more than eight bytes {}", random.below(3000)),
    }
}

fn value(random: &mut Random, kind: FieldKind) -> Value {
    match kind {
        FieldKind::String => Value::String(text(random)),
        FieldKind::Integer => Value::Integer(match random.below(3) {
            0 => random.below(4) as i64 - 2,
            1 => random.below(1 << 20) as i64 - (1 << 19),
            _ => random.pick(&[i64::MIN, i64::MAX, 0]),
        }),
        FieldKind::Float => Value::Float(match random.below(3) {
            0 => random.pick(&[0.0, -0.0, 1.0, -1.5, f64::MAX, f64::MIN, 5e-324]),
            _ => (random.below(1 << 20) as f64 - 1e5) / 1e3,
        }),
        FieldKind::Bool => Value::Bool(random.below(5) == 0),
        FieldKind::Timestamp => {
            Value::Timestamp(Timestamp::from_microseconds(random.below(1 << 31) as i64 * 1000 - 1_000_000).unwrap())
        }
        FieldKind::Tags => Value::Tags((0..random.below(4)).map(|_| text(random)).collect()),
    }
}

fn document(random: &mut Random) -> Document {
    let mut document = Document::new();
    for (name, kind) in KINDS {
        if random.below(8) > 0 {
            let value = value(random, kind);
            document.set(format!("u{name}"), value.clone());
            document.set(name, value);
        }
    }
    document
}

fn literal(random: &mut Random, kind: FieldKind) -> Literal {
    let value = match value(random, kind) {
        Value::String(text) => LiteralValue::Text(text),
        Value::Integer(number) => LiteralValue::Integer(number),
        Value::Float(number) if random.below(4) == 0 && number.abs() < 1e9 => LiteralValue::Integer(number as i64),
        Value::Float(number) => LiteralValue::Float(number),
        Value::Bool(truth) => LiteralValue::Bool(truth),
        Value::Timestamp(moment) => LiteralValue::Text(moment.to_string()),
        Value::Tags(_) => LiteralValue::Text(text(random)),
    };
    value.into()
}

fn expression(random: &mut Random, depth: u32) -> Expression {
    use Comparison::{Equal, Greater, GreaterOrEqual, Less, LessOrEqual, Unequal};
    if depth > 0 && random.below(3) > 0 {
        let parts = |random: &mut Random| (0..2 + random.below(2)).map(|_| expression(random, depth - 1)).collect();
        return match random.below(5) {
            0 | 1 => Expression::And(parts(random)),
            2 | 3 => Expression::Or(parts(random)),
            _ => Expression::Not(Box::new(expression(random, depth - 1))),
        };
    }
    let (name, kind) = random.pick(&KINDS);
    let field = if random.below(6) == 0 { Name::from(&format!("u{name}")[..]) } else { Name::from(name) };
    match random.below(8) {
        0 => return Expression::Exists(field),
        1 => return Expression::Missing(field),
        _ => {}
    }
    match kind {
        FieldKind::Tags => Expression::Contains { field, value: literal(random, kind) },
        FieldKind::Bool if random.below(2) == 0 => Expression::Is(field),
        FieldKind::Bool => {
            Expression::Compare { field, comparison: random.pick(&[Equal, Unequal]), value: literal(random, kind) }
        }
        _ => match random.below(5) {
            0 => {
                let values = (0..=random.below(5)).map(|_| literal(random, kind)).collect();
                Expression::In { field, negated: random.below(2) == 0, values }
            }
            1 => Expression::Between { field, low: literal(random, kind), high: literal(random, kind) },
            _ => {
                let comparison = random.pick(&[Equal, Unequal, Less, LessOrEqual, Greater, GreaterOrEqual]);
                Expression::Compare { field, comparison, value: literal(random, kind) }
            }
        },
    }
}

/// Whether a filter is true of a document, by the words of its documentation and with none of the store's code.
fn is_true(filter: &Expression, document: &Document) -> bool {
    let order = |field: &Name, literal: &Literal| {
        document.get(&field.text).map(|value| match (value, &literal.value) {
            (Value::String(a), LiteralValue::Text(b)) => a.cmp(b),
            (Value::Integer(a), LiteralValue::Integer(b)) => a.cmp(b),
            (Value::Float(a), LiteralValue::Float(b)) => a.partial_cmp(b).unwrap(),
            (Value::Float(a), LiteralValue::Integer(b)) => a.partial_cmp(&(*b as f64)).unwrap(),
            (Value::Bool(a), LiteralValue::Bool(b)) => a.cmp(b),
            (Value::Timestamp(a), LiteralValue::Text(b)) => a.cmp(&b.parse().unwrap()),
            (value, literal) => panic!("{value:?} was compared with {literal:?}"),
        })
    };
    match filter {
        Expression::And(parts) => parts.iter().all(|part| is_true(part, document)),
        Expression::Or(parts) => parts.iter().any(|part| is_true(part, document)),
        Expression::Not(part) => !is_true(part, document),
        Expression::Is(field) => document.get(&field.text) == Some(&Value::Bool(true)),
        Expression::Compare { field, comparison, value } => order(field, value).is_some_and(|order| match comparison {
            Comparison::Equal => order.is_eq(),
            Comparison::Unequal => order.is_ne(),
            Comparison::Less => order.is_lt(),
            Comparison::LessOrEqual => order.is_le(),
            Comparison::Greater => order.is_gt(),
            Comparison::GreaterOrEqual => order.is_ge(),
        }),
        Expression::In { field, negated, values } => {
            document.get(&field.text).is_some()
                && values.iter().any(|value| order(field, value).is_some_and(std::cmp::Ordering::is_eq)) != *negated
        }
        Expression::Between { field, low, high } => {
            order(field, low).is_some_and(std::cmp::Ordering::is_ge)
                && order(field, high).is_some_and(std::cmp::Ordering::is_le)
        }
        Expression::Contains { field, value } => match (document.get(&field.text), &value.value) {
            (Some(Value::Tags(tags)), LiteralValue::Text(tag)) => tags.contains(tag),
            _ => false,
        },
        Expression::Exists(field) => document.get(&field.text).is_some(),
        Expression::Missing(field) => document.get(&field.text).is_none(),
    }
}

type Model = BTreeMap<u32, Document>;

fn check_filters(store: &MetadataStore, model: &Model, random: &mut Random, count: usize) {
    for _ in 0..count {
        let tree = expression(random, 2);
        let expected: Vec<u32> =
            model.iter().filter(|(_, document)| is_true(&tree, document)).map(|(slot, _)| *slot).collect();
        let filter = Filter::parse(store.schema(), &tree.to_string()).unwrap();
        assert_eq!(store.filter(&filter).unwrap().iter().collect::<Vec<_>>(), expected, "{tree}");

        let Estimate { records, low, high, expected: guess } = store.estimate(&filter).unwrap();
        let found = expected.len() as u64;
        assert_eq!(records, model.len() as u64);
        assert!(low <= found && found <= high && high <= records, "{low} <= {found} <= {high} <= {records}: {tree}");
        assert!(low as f64 <= guess + 1e-6 && guess <= high as f64 + 1e-6, "{low} <= {guess} <= {high}: {tree}");
    }
}

fn check_documents(store: &MetadataStore, model: &Model, slots: u64) {
    let all: Vec<u32> = (0..slots as u32).collect();
    let expected: Vec<_> = all.iter().map(|slot| model.get(slot).cloned()).collect();
    assert_eq!(store.get(&all).unwrap(), expected);
    assert_eq!(store.slots().unwrap().iter().collect::<Vec<_>>(), model.keys().copied().collect::<Vec<_>>());
}

/// Random batches of `batch` changes at most, of which one in `removes` removes.
fn batch(
    random: &mut Random,
    model: &mut Model,
    (most, slots, removes): (u64, u64, u64),
) -> Vec<(u32, Option<Vec<u8>>)> {
    let schema = schema();
    (0..=random.below(most))
        .map(|_| {
            let slot = random.below(slots) as u32;
            if random.below(removes) == 0 {
                model.remove(&slot);
                return (slot, None);
            }
            let document = document(random);
            let bytes = encode(&schema, &document).unwrap();
            model.insert(slot, document);
            (slot, Some(bytes))
        })
        .collect()
}

fn apply(store: &MetadataStore, sequence: u64, batch: &[(u32, Option<Vec<u8>>)], durability: Durability) {
    let changes: Vec<Change<'_>> = batch
        .iter()
        .map(|(slot, document)| match document {
            Some(document) => Change::Put { slot: *slot, document },
            None => Change::Remove { slot: *slot },
        })
        .collect();
    store.apply(sequence, &changes, durability).unwrap();
}

fn run(seed: u64, phases: &[(usize, (u64, u64, u64))], filters: usize) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("metadata.redb");
    let (mut random, mut model, mut sequence) = (Random(seed), Model::new(), 0);
    let mut store = MetadataStore::create(&path, schema()).unwrap();
    check_filters(&store, &model, &mut random, 5);
    for (batches, shape) in phases {
        for _ in 0..*batches {
            sequence += 1 + random.below(3);
            let durability = random.pick(&[Durability::Deferred, Durability::Immediate]);
            apply(&store, sequence, &batch(&mut random, &mut model, *shape), durability);
            check_filters(&store, &model, &mut random, filters);
        }
        check_documents(&store, &model, shape.1);
        store.sync().unwrap();
        drop(store);
        store = MetadataStore::open(&path, &schema()).unwrap();
        assert_eq!(store.sequence().unwrap(), sequence);
        check_documents(&store, &model, shape.1);
        check_filters(&store, &model, &mut random, filters);
    }
}

#[test]
fn small_stores_agree_with_the_model() {
    for seed in 0..6 {
        run(seed, &[(10, (20, 60, 4)), (10, (20, 60, 2)), (5, (60, 200_000, 5))], 12);
    }
}

#[test]
fn large_stores_agree_with_the_model_as_blocks_are_cut_and_joined() {
    // Filled at once, changed here and there, nearly emptied, filled again.
    run(100, &[(1, (20_000, 1_000_000, 50)), (3, (20_000, 12_000, 50)), (6, (50, 12_000, 3))], 6);
    run(101, &[(4, (16_000, 9_000, 9)), (8, (6_000, 9_000, 1)), (2, (9_000, 9_000, 4)), (2, (9_000, 9_000, 1))], 6);
}
