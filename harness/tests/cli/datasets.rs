//! `nearlab datasets`.

use crate::laboratory::{Laboratory, stderr, stdout, text};

#[test]
fn a_set_is_made_described_converted_and_verified() {
    let laboratory = Laboratory::new();
    let info = stdout(&laboratory.expect("datasets info data.hdf5", 0));
    assert!(info.contains("1000") && info.contains("l2") && info.contains("20 per query"), "{info}");
    let info = stdout(&laboratory.expect("datasets info data.hdf5 --json", 0));
    let value: serde_json::Value = serde_json::from_str(&info).unwrap();
    assert_eq!((value["n"].as_u64(), value["d"].as_u64(), value["queries"].as_u64()), (Some(1000), Some(12), Some(40)));

    laboratory.expect("datasets convert data.hdf5 base.fvecs", 0);
    laboratory.expect("datasets convert data.hdf5 queries.fbin --matrix test", 0);
    laboratory
        .expect("datasets truth base.fvecs --queries queries.fbin --metric l2 -k 20 --out again.hdf5 --gzip 6", 0);
    let verified = stdout(&laboratory.expect("datasets verify again.hdf5 data.hdf5 --full", 0));
    assert_eq!(verified.matches("40 of 40 queries searched again").count(), 2, "{verified}");
    let sha = |line: &str| line.rsplit(' ').next().unwrap().to_owned();
    let lines: Vec<&str> = verified.lines().collect();
    assert_eq!(sha(lines[0]), sha(lines[1]), "the same vectors by another way");
    laboratory.expect("datasets info base.fvecs", 0);
    laboratory.expect("datasets info base.fvecs --queries queries.fbin --metric l2", 0);
}

#[test]
fn the_catalogue_and_the_cache_are_listed_and_the_cache_is_cleaned() {
    let laboratory = Laboratory::new();
    let list = stdout(&laboratory.expect("datasets list --urls", 0));
    assert!(list.contains("sift-128-euclidean") && list.contains("http") && list.contains("0 files"), "{list}");
    laboratory.write("one.yaml", crate::laboratory::SMALL);
    laboratory.expect("run one.yaml --plan", 0);
    let list = stdout(&laboratory.expect("datasets list", 0));
    assert!(list.contains("1 files"), "{list}");
    let prepared = std::fs::read_dir(laboratory.path("cache/prepared")).unwrap().next().unwrap().unwrap().path();
    let verified = stdout(&laboratory.expect(&format!("datasets verify {}", prepared.display()), 0));
    assert!(verified.contains("every byte agrees"), "{verified}");
    let cleaned = stdout(&laboratory.expect("datasets clean", 0));
    assert!(cleaned.contains("removed 1 files"), "{cleaned}");
}

#[test]
fn a_set_of_the_catalogue_is_taken_from_a_mirror() {
    let laboratory = Laboratory::new();
    std::fs::create_dir(laboratory.path("mirror")).unwrap();
    let fetch = |name: &str| {
        laboratory
            .command(&format!("datasets fetch {name}"))
            .env("NEARLAB_MIRROR", laboratory.path("mirror"))
            .output()
            .unwrap()
    };
    let output = fetch("sift-128-euclidian");
    assert_eq!(output.status.code(), Some(2));
    assert!(stderr(&output).contains("did you mean sift-128-euclidean?"), "{}", text(&output));
    let output = fetch("sift-128-euclidean");
    assert_eq!(output.status.code(), Some(2));
    assert!(stderr(&output).contains("mirror"), "{}", text(&output));
}

#[test]
fn impossible_requests_are_refused_and_leave_nothing() {
    let laboratory = Laboratory::new();
    for (arguments, words) in [
        ("datasets synth clustered -n 10 -d 2 -k 20 --queries 2 --out bad.hdf5", "expected 1 to 10"),
        ("datasets synth uniform -n 10 -d 2 -k 2 --queries 2 --clusters 3 --out bad.hdf5", "clusters"),
        ("datasets synth uniform -n 10 -d 0 -k 2 --queries 2 --out bad.hdf5", "at least 1"),
        ("datasets truth data.hdf5 --out bad.fvecs", ".hdf5"),
        ("datasets truth data.hdf5 --queries data.hdf5 --out bad.hdf5", "--metric"),
        ("datasets convert data.hdf5 bad.parquet", "bad.parquet"),
        ("datasets convert nowhere.hdf5 bad.fvecs", "nowhere.hdf5"),
        ("datasets info nowhere.hdf5", "nowhere.hdf5"),
        ("datasets verify nowhere.nearlab", "nowhere.nearlab"),
    ] {
        let output = laboratory.expect(arguments, 2);
        assert!(stderr(&output).contains(words), "{arguments}: {}", text(&output));
        let left: Vec<_> = std::fs::read_dir(laboratory.path(".")).unwrap().map(|e| e.unwrap().file_name()).collect();
        assert!(
            !left
                .iter()
                .any(|name| name.to_string_lossy().starts_with("bad") || name.to_string_lossy().starts_with(".bad")),
            "{left:?}"
        );
    }
}
