//! A real process that is killed while it changes a collection, again and again, in one folder.

use std::collections::BTreeMap;
use std::env;
use std::io::{BufRead, BufReader, Write};
use std::process::{Command, Stdio};

use nearlab_index::collection::{Collection, Records};
use nearlab_simd::Metric;
use nearlab_storage::Vectors;
use nearlab_storage::metadata::Document;
use nearlab_storage::store::Durability;

use crate::model::{DIM, Model, Seeded, agree, config, document, hnsw};
use crate::rehearsed::number;

const FOLDER: &str = "NEARLAB_KILLED_IN";
/// How often a process is killed where nobody says how often.
const KILLS: u64 = 5;

/// The records that change number `sequence` puts: ids, vectors, prices.
fn put(sequence: u64) -> (Vec<u64>, Vec<f32>, Vec<i64>) {
    let mut seeded = Seeded(sequence);
    let first = seeded.below(300);
    let ids: Vec<u64> = (0..=seeded.below(9)).map(|i| first + i).collect();
    let vectors = ids.iter().flat_map(|_| seeded.vector()).collect();
    let prices = ids.iter().map(|_| seeded.below(1000) as i64).collect();
    (ids, vectors, prices)
}

fn expected(sequence: u64) -> Model {
    let mut records = BTreeMap::new();
    for sequence in 1..=sequence {
        let (ids, vectors, prices) = put(sequence);
        let rows = vectors.chunks(DIM).map(<[f32]>::to_vec);
        records.extend(ids.into_iter().zip(rows.zip(prices)));
    }
    Model(records)
}

#[test]
#[ignore = "it is the process that is killed, not a test"]
fn changes_until_it_is_killed() {
    let collection = Collection::open(env::var(FOLDER).unwrap(), 1).unwrap();
    let mut out = std::io::stdout().lock();
    for sequence in collection.sequence() + 1.. {
        let (ids, vectors, prices) = put(sequence);
        let documents: Vec<Document> = prices.iter().map(|&price| document(price)).collect();
        let records = Records { ids: (&ids[..]).into(), vectors: Vectors::new(&vectors, DIM), documents: &documents };
        assert_eq!(collection.upsert(&records, Durability::Flush).unwrap(), sequence);
        writeln!(out, "acknowledged {sequence}").unwrap();
        match sequence % 40 {
            17 => collection.sync().unwrap(),
            33 => collection.optimize(&()).unwrap(),
            _ => {}
        }
    }
}

#[test]
fn a_process_that_is_killed_while_it_changes_a_collection_loses_nothing_that_was_acknowledged() {
    let kills = number("NEARLAB_KILLS").unwrap_or(KILLS);
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("c");
    drop(Collection::create(&path, config(hnsw(), Metric::L2), 1).unwrap());
    let mut seeded = Seeded(11);
    let mut sequence = 0;
    for _ in 0..kills {
        let mut process = Command::new(env::current_exe().unwrap());
        process.args(["--exact", "killed::changes_until_it_is_killed", "--ignored", "--nocapture"]);
        let mut process = process.env(FOLDER, &path).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        let mut lines = BufReader::new(process.stdout.take().unwrap()).lines().map(Result::unwrap);
        let mut acknowledged =
            lines.by_ref().filter_map(|line| line.strip_prefix("acknowledged ")?.parse::<u64>().ok());
        let mut last = acknowledged.nth(30 + seeded.below(60) as usize);
        process.kill().unwrap();
        // What it still said before it ended was acknowledged too.
        last = acknowledged.last().or(last);
        process.wait().unwrap();
        let collection = Collection::open(&path, 1).unwrap();
        assert!(Some(collection.sequence()) >= last && last.is_some(), "{last:?} was lost");
        sequence = collection.sequence();
        agree(&collection, &expected(sequence), &mut seeded);
    }
    println!("killed {kills} times while it changed a collection, {sequence} changes: nothing acknowledged was lost");
}
