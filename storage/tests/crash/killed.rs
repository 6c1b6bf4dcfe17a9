//! A real process that is killed while it writes, again and again, in one folder.

use std::env;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Command, Stdio};

use nearlab_storage::store::{CompactOptions, Durability, ElementKind, IdKind, PackOptions, StoreOptions, VectorStore};

use crate::model::{Content, IDS, Seeded, commit, content, shape};
use crate::number;

const FOLDER: &str = "NEARLAB_KILLED_IN";
/// How often a process is killed where nobody says how often.
const KILLS: u64 = 12;

/// What change number `sequence` does: ids to put, ids to delete.
fn change(sequence: u64) -> (Vec<u64>, Vec<u64>) {
    let mut seeded = Seeded(sequence);
    let first = seeded.below(IDS);
    let ids = (0..=seeded.below(6)).map(|i| (first + i) % IDS);
    let (put, delete): (Vec<u64>, Vec<u64>) = ids.partition(|_| seeded.below(4) > 0);
    if put.is_empty() { (vec![first], Vec::new()) } else { (put, delete) }
}

fn expected(sequence: u64) -> Content {
    let mut content = Content::new();
    for sequence in 1..=sequence {
        let (put, delete) = change(sequence);
        content.extend(put.iter().map(|&id| (id, sequence as u32)));
        content.retain(|id, _| !delete.contains(id));
    }
    content
}

#[test]
#[ignore = "it is the process that is killed, not a test"]
fn writes_until_it_is_killed() {
    let folder = env::var(FOLDER).unwrap();
    let store = VectorStore::open(Path::new(&folder)).unwrap();
    let mut out = std::io::stdout().lock();
    for sequence in store.sequence() + 1.. {
        let (put, delete) = change(sequence);
        let put: Vec<(u64, u32)> = put.into_iter().map(|id| (id, sequence as u32)).collect();
        let durability = Seeded(!sequence).durability();
        assert_eq!(commit(&store, (&put, &delete), b"", durability).unwrap().sequence, sequence);
        match sequence % 50 {
            17 => store.checkpoint().unwrap(),
            31 => drop(store.compact(&CompactOptions::default()).unwrap()),
            43 => drop(store.pack(&PackOptions::default()).unwrap()),
            _ => {}
        }
        if durability >= Durability::Flush {
            writeln!(out, "acknowledged {sequence}").unwrap();
        }
    }
}

#[test]
fn a_process_that_is_killed_while_it_writes_loses_nothing_that_was_acknowledged() {
    let kills = number("NEARLAB_KILLS").unwrap_or(KILLS);
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store");
    let shape = shape(ElementKind::F32, IdKind::Numbers);
    let options = StoreOptions { segment_bytes: 40 * shape.row_bytes() as u64, ..StoreOptions::new(shape) };
    drop(VectorStore::create(&path, &options).unwrap());
    let mut seeded = Seeded(kills);
    let mut sequence = 0;
    for _ in 0..kills {
        let mut process = Command::new(env::current_exe().unwrap());
        process.args(["--exact", "killed::writes_until_it_is_killed", "--ignored", "--nocapture"]);
        let mut process = process.env(FOLDER, &path).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        let mut lines = BufReader::new(process.stdout.take().unwrap()).lines().map(Result::unwrap);
        let mut acknowledged =
            lines.by_ref().filter_map(|line| line.strip_prefix("acknowledged ")?.parse::<u64>().ok());
        let mut last = acknowledged.nth(seeded.below(60) as usize);
        process.kill().unwrap();
        // What it still said before it ended was acknowledged too.
        last = acknowledged.last().or(last);
        process.wait().unwrap();
        let store = VectorStore::open(&path).unwrap();
        let last = last.expect("the process came to acknowledge something");
        assert!(store.sequence() >= last && last > sequence, "{} came back of {last}", store.sequence());
        sequence = store.sequence();
        assert_eq!(content(&store).unwrap(), expected(sequence));
        assert!(store.verify().is_empty());
    }
    println!("killed {kills} times while it wrote, {sequence} changes: nothing acknowledged was lost");
}
