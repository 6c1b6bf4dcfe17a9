//! `nearlab collection`: a collection from its making to its backup.

use std::{
    collections::BTreeSet,
    fmt::Write as _,
    fs,
    path::{Path, PathBuf},
};

use nearlab_datasets::DataFile;
use serde_json::{Value, json};

use crate::laboratory::{Laboratory, stderr, stdout, text};

const DIM: usize = 128;
const SCHEMA: &str = r#"{"fields": [{"name": "price", "kind": "integer"}, {"name": "colour", "kind": "string"}]}"#;

fn photos() -> PathBuf {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    root.join("datasets/data/sift-photos-20k-128-euclidean.hdf5")
}

/// Arguments with blanks in them, after those without.
fn expect(laboratory: &Laboratory, arguments: &str, rest: &[&str], status: i32) -> std::process::Output {
    let output = laboratory.command(arguments).args(rest).output().unwrap();
    assert_eq!(output.status.code(), Some(status), "nearlab {arguments} {rest:?}\n{}", text(&output));
    output
}

fn price(row: usize) -> usize {
    row * 7 % 100
}

fn documents(rows: usize) -> String {
    (0..rows).fold(String::new(), |mut text, row| {
        let colour = ["red", "green", "blue"][row % 3];
        writeln!(text, "{}", json!({"price": price(row), "colour": colour})).unwrap();
        text
    })
}

/// The ids that the lines of JSON give, with their distances.
fn answers(said: &str) -> Vec<Vec<(u64, f64)>> {
    let hit = |hit: &Value| (hit["id"].as_u64().unwrap(), hit["distance"].as_f64().unwrap());
    let hits = |line: &str| {
        let answer: Value = serde_json::from_str(line).unwrap();
        answer["hits"].as_array().unwrap().iter().map(hit).collect()
    };
    said.lines().map(hits).collect()
}

/// The nearest rows among some, compared one by one.
fn nearest(rows: &[f32], query: &[f32], k: usize, admits: impl Fn(usize) -> bool) -> Vec<(u64, f64)> {
    let distance = |row: &[f32]| row.iter().zip(query).map(|(a, b)| f64::from(a - b).powi(2)).sum::<f64>();
    let admitted = rows.chunks_exact(DIM).enumerate().filter(|(row, _)| admits(*row));
    let mut all: Vec<(u64, f64)> = admitted.map(|(row, vector)| (row as u64, distance(vector))).collect();
    all.sort_by(|a, b| a.1.total_cmp(&b.1).then(a.0.cmp(&b.0)));
    all.truncate(k);
    all
}

/// Share of the true neighbours that were found; distances of what was found are right, and it is admitted.
fn recall(found: &[Vec<(u64, f64)>], truth: &[Vec<(u64, f64)>], admits: impl Fn(usize) -> bool) -> f64 {
    assert_eq!(found.len(), truth.len());
    let mut met = 0;
    for (found, truth) in found.iter().zip(truth) {
        assert_eq!(found.len(), truth.len());
        let farthest = truth.last().unwrap().1;
        met += found.iter().filter(|(_, distance)| *distance <= farthest).count();
        assert!(found.iter().all(|(id, _)| admits(*id as usize)), "{found:?}");
        assert!(found.is_sorted_by(|a, b| a.1 <= b.1), "{found:?}");
    }
    met as f64 / truth.iter().map(Vec::len).sum::<usize>() as f64
}

fn stats(laboratory: &Laboratory, folder: &str) -> Value {
    serde_json::from_str(&stdout(&laboratory.expect(&format!("collection stats {folder} --json"), 0))).unwrap()
}

#[test]
fn a_collection_lives_from_its_making_to_its_backup() {
    let laboratory = Laboratory::empty();
    laboratory.write("schema.json", SCHEMA);
    laboratory.write("documents.jsonl", &documents(20_000));
    let photos = photos();
    let mut file = DataFile::open(&photos).unwrap();
    let (rows, queries) = (file.train.read_all_f32().unwrap(), file.test.as_mut().unwrap().read_all_f32().unwrap());
    let queries: Vec<&[f32]> = queries.chunks_exact(DIM).take(20).collect();
    let photos = photos.display();

    let made = expect(
        &laboratory,
        "collection create shop --dim 128 --metric l2 --m 12 --ef-construction 100 --codes sq4 --rerank-codes sq8 --schema schema.json",
        &[],
        0,
    );
    assert_eq!(stdout(&made), "shop: 128 components, l2, hnsw, 2 fields\n");
    let loaded = laboratory.expect(&format!("collection load shop {photos} --metadata documents.jsonl"), 0);
    let said = stdout(&loaded);
    assert!(
        said.starts_with("shop: 20,000 records loaded in ") && said.ends_with("; 20,000 records in all\n"),
        "{said}"
    );
    let figures = stats(&laboratory, "shop");
    assert_eq!(
        (&figures["records"], &figures["unindexed"], &figures["index"]),
        (&json!(20_000), &json!(0), &json!("hnsw"))
    );
    assert_eq!(figures["params"]["m"], 12);

    let search = format!("collection search shop --queries {photos} --limit 20 --json --documents");
    let cheap = |row: usize| price(row) < 30 && row % 3 != 1;
    let filter = r#"price < 30 and colour in ["red", "blue"]"#;
    for (rest, admits) in [(&[][..], (|_| true) as fn(usize) -> bool), (&["--filter", filter], cheap)] {
        let said = stdout(&expect(&laboratory, &search, rest, 0));
        let truth: Vec<_> = queries.iter().map(|query| nearest(&rows, query, 10, admits)).collect();
        let share = recall(&answers(&said), &truth, admits);
        assert!(share >= 0.95, "{share} {rest:?}");
        let first: Value = serde_json::from_str(said.lines().next().unwrap()).unwrap();
        let hit = &first["hits"][0];
        assert_eq!(hit["document"]["price"], price(hit["id"].as_u64().unwrap() as usize));
    }

    // Vectors by themselves: a query in the arguments is the same as one of a file.
    let query = serde_json::to_string(&queries[0]).unwrap();
    let table = stdout(&expect(&laboratory, "collection search shop -k 3 --documents --query", &[&query], 0));
    assert_eq!(table.lines().count(), 5, "{table}");
    assert!(table.starts_with("rank  id") && table.contains("\"colour\":"), "{table}");
    assert_eq!(
        table.lines().nth(2).unwrap().split_whitespace().nth(1).unwrap(),
        nearest(&rows, queries[0], 1, |_| true)[0].0.to_string()
    );

    let deleted = stdout(&expect(&laboratory, "collection delete shop --filter", &["price >= 50"], 0));
    assert_eq!(deleted, "shop: 10,000 records deleted, 10,000 left\n");
    let deleted = stdout(&laboratory.expect("collection delete shop --id 0 --id 0 --id 99999", 0));
    assert_eq!(deleted, "shop: 1 record deleted, 9,999 left; 1 id was not there\n");
    let optimized = stdout(&laboratory.expect("collection optimize shop --threads 2", 0));
    assert_eq!(optimized, "shop: 9,999 records, 0 unindexed\n");
    let left = |row: usize| row != 0 && price(row) < 50;
    let truth: Vec<_> = queries.iter().map(|query| nearest(&rows, query, 10, left)).collect();
    let share = recall(&answers(&stdout(&laboratory.expect(&search, 0))), &truth, left);
    assert!(share >= 0.95, "{share}");
    assert_eq!(stdout(&laboratory.expect("collection verify shop", 0)), "shop: ok, 9,999 records\n");
    assert_eq!(stdout(&laboratory.expect("collection backup shop copy", 0)), "copy: 9,999 records copied\n");
    laboratory.expect("collection delete shop --id 1", 0);
    assert_eq!(stdout(&laboratory.expect("collection verify copy", 0)), "copy: ok, 9,999 records\n");
    assert_eq!(stats(&laboratory, "copy")["records"], 9999);
    assert_eq!(stats(&laboratory, "shop")["records"], 9998);
    let refused = stderr(&laboratory.expect("collection backup shop copy", 2));
    assert_eq!(refused, "error: copy exists already: expected an empty or missing folder\n");
}

#[test]
fn candidates_are_ranked_anew_and_vectors_packed_as_asked() {
    let laboratory = Laboratory::new();
    let photos = photos();
    let mut file = DataFile::open(&photos).unwrap();
    let (rows, queries) = (file.train.read_all_f32().unwrap(), file.test.as_mut().unwrap().read_all_f32().unwrap());
    let photos = photos.display();
    laboratory.expect("collection create shop --dim 128 --metric l2 --m 12 --codes sq4 --rerank-codes sq8", 0);
    laboratory.expect(&format!("collection load shop {photos}"), 0);
    let truth: Vec<_> = queries.chunks_exact(DIM).take(20).map(|query| nearest(&rows, query, 10, |_| true)).collect();
    let reached = |rest: &str| {
        let search = format!("collection search shop --queries {photos} --limit 20 --json {rest}");
        recall(&answers(&stdout(&laboratory.expect(&search, 0))), &truth, |_| true)
    };
    // Ten by the order of 4-bit codes alone, and ten of many.
    assert!(reached("--no-exact --rerank 10") < reached("--no-exact --rerank 100"));
    assert!(reached("--patience 1") < reached("--patience 50"));

    let exact = reached("");
    let packed = stdout(&laboratory.expect("collection pack shop --level 3", 0));
    assert!(packed.starts_with("shop: 20,000 vectors packed, 9.77 MiB to 2."), "{packed}");
    assert_eq!(stdout(&laboratory.expect("collection pack shop --codec lz4", 0)), "shop: nothing to pack\n");
    assert_eq!(reached(""), exact);
    assert_eq!(stdout(&laboratory.expect("collection verify shop", 0)), "shop: ok, 20,000 records\n");

    laboratory.expect("collection create bare --dim 12 --metric l2 --index ivf", 0);
    laboratory.expect("collection create plain --dim 12 --metric l2", 0);
    for (arguments, words) in [
        ("search plain --queries data.hdf5 --rerank 9", "--rerank: expected an index with rerank codes, found plain"),
        ("search bare --queries data.hdf5 --rerank 9", "--rerank: expected an hnsw collection"),
        ("search bare --queries data.hdf5 --patience 9", "--patience: expected an hnsw collection"),
        ("pack bare --level 20", "1..=19"),
    ] {
        let said = stderr(&laboratory.expect(&format!("collection {arguments}"), 2));
        assert!(said.contains(words), "{said}");
    }
}

#[test]
fn flat_and_ivf_collections_with_names_are_exact_where_they_look_at_all() {
    let laboratory = Laboratory::new();
    let ids: Vec<String> = (0..1000).map(|row| format!("row {row}")).collect();
    laboratory.write("ids.txt", &ids.join("\n"));
    let mut lines = BTreeSet::new();
    for (index, rest) in [("flat", ""), ("ivf", "--nlist 16")] {
        let create = format!("collection create {index} --dim 12 --metric l2 --ids names --index {index} {rest}");
        laboratory.expect(&create, 0);
        laboratory.expect(&format!("collection load {index} data.hdf5 --ids ids.txt --batch 300 --durability sync"), 0);
        let nprobe = if index == "ivf" { "--nprobe 16" } else { "" };
        lines.insert(stdout(
            &laboratory.expect(&format!("collection search {index} --queries data.hdf5 --json {nprobe}"), 0),
        ));
        assert_eq!(stats(&laboratory, index)["unindexed"], if index == "ivf" { 0 } else { 1000 });
    }
    assert_eq!(lines.len(), 1, "the same answers");
    assert!(lines.first().unwrap().contains("\"id\":\"row "), "{lines:?}");
    let said = stdout(&expect(&laboratory, "collection delete flat --id", &["row 7"], 0));
    assert_eq!(said, "flat: 1 record deleted, 999 left\n");
    laboratory.expect("collection load flat data.hdf5 --first-id 5000 --limit 10 --no-optimize", 0);
    assert_eq!(stats(&laboratory, "flat")["records"], 1009);
    let said = stdout(&laboratory.expect("collection stats flat", 0));
    assert!(said.lines().any(|line| line.split_whitespace().eq(["ids", "names"])), "{said}");
}

#[test]
fn damage_is_said_line_by_line() {
    let laboratory = Laboratory::new();
    laboratory.expect("collection create some --dim 12 --metric l2 --index flat", 0);
    laboratory.expect("collection load some data.hdf5", 0);
    let segment = fs::read_dir(laboratory.path("some/vectors")).unwrap().map(|entry| entry.unwrap().path());
    let segment =
        segment.into_iter().find(|path| path.file_name().unwrap().to_string_lossy().starts_with("segment")).unwrap();
    let mut bytes = fs::read(&segment).unwrap();
    let at = 100 * 12 * 4 + 4096;
    bytes[at] ^= 1;
    fs::write(&segment, bytes).unwrap();
    let output = laboratory.expect("collection verify some", 1);
    assert_eq!(stdout(&output).lines().count(), 1, "{}", text(&output));
    assert!(stdout(&output).contains("segment") && stdout(&output).contains("expected"), "{}", text(&output));
}

#[test]
fn a_damaged_index_is_said_too() {
    let laboratory = Laboratory::new();
    laboratory.expect("collection create some --dim 12 --metric cosine --index ivf --nlist 8", 0);
    laboratory.expect("collection load some data.hdf5", 0);
    let index = laboratory.path("some/index-00000001");
    let mut bytes = fs::read(&index).unwrap();
    bytes[5000] ^= 1;
    fs::write(&index, bytes).unwrap();
    let said = stdout(&laboratory.expect("collection verify some", 1));
    assert!(said.lines().count() == 1 && said.contains("some/index-00000001"), "{said}");
    laboratory.expect("collection optimize some", 0);
    assert_eq!(stdout(&laboratory.expect("collection verify some", 0)), "some: ok, 1,000 records\n");
}

#[test]
fn what_does_not_fit_is_refused_with_file_place_expected_and_found() {
    let laboratory = Laboratory::new();
    laboratory.write("schema.json", SCHEMA);
    laboratory.write("typo.json", r#"{"fields": [{"name": "a-b", "kind": "float"}]}"#);
    laboratory.write("few.jsonl", &documents(7));
    laboratory.write("wrong.jsonl", &documents(1000).replacen("\"price\":5}", "\"price\":\"5\"}", 1));
    laboratory.write("broken.jsonl", &documents(1000).replacen('}', "", 1));
    laboratory.write("twice.txt", &(0..1000).map(|row| (row % 999).to_string()).collect::<Vec<_>>().join("\n"));
    laboratory.expect("collection create shop --dim 12 --metric l2 --schema schema.json", 0);
    laboratory.expect("collection create bare --dim 12 --metric l2 --index ivf --element u8", 0);
    let create = "collection create new --dim 12 --metric l2";
    for (arguments, rest, words) in [
        ("collection create shop --dim 12 --metric l2", &[][..], &["shop exists already"][..]),
        ("collection create new --dim 0 --metric l2", &[], &["--dim", "1..=65536"]),
        ("collection create new --dim 12 --metric miles", &[], &["miles", "l2, inner_product, cosine"]),
        (create, &["--schema", "nowhere.json"], &["cannot read nowhere.json"]),
        (create, &["--schema", "typo.json"], &["typo.json: expected a schema: field 1", "a-b"]),
        (create, &["--index", "flat", "--m", "8"], &["--m: expected --index hnsw, found flat"]),
        (create, &["--m", "1"], &["parameter `m` must be from 2 to 256, found 1"]),
        (create, &["--codes", "sq4"], &["rerank codes"]),
        (create, &["--codes", "sq4", "--rerank-codes", "sq8", "--components", "13"], &["the 12 of --dim, found 13"]),
        ("collection load nowhere data.hdf5", &[], &["nowhere holds no collection"]),
        ("collection load shop nowhere.fvecs", &[], &["nowhere.fvecs: cannot open"]),
        ("collection load shop schema.json", &[], &["schema.json: file extension", ".fvecs", "found .json"]),
        ("collection load shop data.hdf5 --metadata few.jsonl", &[], &["few.jsonl", "each of 1000 vectors, found 7"]),
        (
            "collection load shop data.hdf5 --metadata wrong.jsonl",
            &[],
            &["wrong.jsonl:16: field `price`", "found \"5\""],
        ),
        ("collection load shop data.hdf5 --metadata broken.jsonl", &[], &["broken.jsonl:1:", "expected a JSON object"]),
        ("collection load bare data.hdf5 --metadata few.jsonl", &[], &["--metadata", "bare made without --schema"]),
        ("collection load shop data.hdf5 --ids twice.txt", &[], &["twice.txt:1000", "an earlier line, found 0"]),
        ("collection load shop data.hdf5 --ids few.jsonl", &[], &["few.jsonl:1: expected an id from 0"]),
        ("collection load shop data.hdf5 --batch 0", &[], &["--batch"]),
        ("collection load shop data.hdf5 --threads 0", &[], &["parameter `threads` must be from 1"]),
        ("collection load bare data.hdf5", &[], &["data.hdf5: expected whole numbers from 0 to 255", "in row 0"]),
        ("collection search shop", &[], &["--query <JSON>|--queries <FILE>"]),
        ("collection search shop --query", &["[1, 2"], &["--query: expected a JSON array of 12 numbers"]),
        ("collection search shop --query", &["[1, 2]"], &["--query: expected 12 components, found 2"]),
        ("collection search shop --query", &["[1e39,0,0,0,0,0,0,0,0,0,0,0]"], &["--query: expected"]),
        ("collection search shop --queries data.hdf5 -k 0", &[], &["1..="]),
        ("collection search shop --queries data.hdf5 --nprobe 3", &[], &["--nprobe: expected an ivf collection"]),
        ("collection search shop --queries data.hdf5 --ef-search 0", &[], &["parameter `ef_search`", "found 0"]),
        ("collection search bare --queries data.hdf5 --filter", &["a < 3"], &["--filter", "without --schema"]),
        ("collection delete shop", &[], &["--id <ID>|--filter <TEXT>"]),
        ("collection delete shop --id", &["seven"], &["--id: expected an id from 0", "\"seven\""]),
        ("collection optimize nowhere", &[], &["nowhere holds no collection"]),
        ("collection stats nowhere", &[], &["nowhere holds no collection"]),
        ("collection verify nowhere", &[], &["nowhere holds no collection"]),
        ("collection backup nowhere copy", &[], &["nowhere holds no collection"]),
    ] {
        let output = expect(&laboratory, arguments, rest, 2);
        let said = stderr(&output);
        assert!(said.contains("error: ") && !said.contains("panicked"), "{said}");
        for word in words {
            assert!(said.contains(word), "{arguments} {rest:?}: `{word}` is missing: {said}");
        }
    }
    assert!(!laboratory.path("new/collection.json").exists() && !laboratory.path("copy").exists());
    let said = stderr(&expect(&laboratory, "collection delete shop --filter", &["price < 3 and color == 2"], 2));
    let line = "error: --filter: expected a declared field: one of `price`, `colour`, found `color` at column 15";
    assert_eq!(said, format!("{line}\n  price < 3 and color == 2\n                ^\n"));
    assert_eq!(stats(&laboratory, "shop")["records"], 0);

    let said =
        stderr(&laboratory.expect("collection load shop data.hdf5 --metadata wrong.jsonl --batch 10 --quiet", 2));
    assert!(said.ends_with("\nthe first 10 of 1000 vectors were loaded before\n"), "{said}");
    assert_eq!(stats(&laboratory, "shop")["records"], 10);
}
