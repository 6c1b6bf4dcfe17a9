//! The built-in catalogue, catalogues of one's own, and what a wrong one says.

#![expect(clippy::unwrap_used, reason = "a test that cannot set up its world should stop")]

use std::path::Path;

use nearlab_datasets::catalog::{Catalog, CatalogError, Place};
use nearlab_simd::Metric;

fn load(yaml: &str) -> Result<Catalog, CatalogError> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("mine.yaml");
    std::fs::write(&path, yaml).unwrap();
    Catalog::load(&path)
}

fn refusal(yaml: &str) -> String {
    load(yaml).expect_err("this catalogue is wrong").to_string()
}

fn entry(changed: &str) -> String {
    format!("mine:\n  n: 10\n  d: 4\n  queries: 2\n{changed}")
}

#[test]
fn the_builtin_catalogue_is_valid_and_has_the_sets_of_the_field() {
    let catalog = Catalog::builtin();
    assert!(catalog.entries().count() >= 25);
    let sift = catalog.find("sift-128-euclidean").unwrap();
    assert_eq!((sift.n, sift.d, sift.queries, sift.metric), (1_000_000, 128, 10_000, Metric::L2));
    assert_eq!(sift.place, Place::Url("http://ann-benchmarks.com/sift-128-euclidean.hdf5".into()));
    assert!(catalog.find("glove-100-angular").unwrap().sha256.is_some());
    let openai = catalog.find("dbpedia-openai-1000k-angular").unwrap();
    assert_eq!((openai.n, openai.d, openai.metric), (990_000, 1536, Metric::Cosine));
}

#[test]
fn known_lengths_agree_with_the_shapes() {
    // These files are contiguous: float32 vectors, int32 ids, float32 distances, and 8,288 bytes of structure.
    for entry in Catalog::builtin().entries().filter(|entry| matches!(entry.place, Place::Url(_))) {
        let Some(bytes) = entry.bytes else { continue };
        let (rows, k) = (entry.n + entry.queries, entry.truth_k.unwrap());
        assert_eq!(bytes, rows * entry.d * 4 + entry.queries * k * 8 + 8_288, "{}", entry.name);
    }
}

#[test]
fn the_set_in_the_repository_is_where_the_catalogue_says() {
    let catalog = Catalog::builtin();
    let quickstart = catalog.find("sift-photos-20k-128-euclidean").unwrap();
    let Place::File(path) = &quickstart.place else { panic!("it is a local file") };
    assert_eq!(std::fs::metadata(path).unwrap().len(), quickstart.bytes.unwrap());
}

#[test]
fn an_own_catalogue_adds_and_replaces_entries() {
    let catalog = load(
        "sift-128-euclidean: {file: here/sift.hdf5, n: 5, d: 3, queries: 2, metric: l2}\n\
         mine: {url: \"https://example.org/m.fbin\", n: 10, d: 4, queries: 2, metric: inner_product, note: ours}\n",
    )
    .unwrap();
    let sift = catalog.find("sift-128-euclidean").unwrap();
    assert_eq!((sift.n, sift.sha256.as_ref()), (5, None));
    let Place::File(path) = &sift.place else { panic!("replaced by a local file") };
    assert!(path.ends_with("here/sift.hdf5") && path.is_absolute(), "{path:?} is resolved against the catalogue");
    let mine = catalog.find("mine").unwrap();
    assert_eq!((mine.metric, mine.note.as_deref()), (Metric::InnerProduct, Some("ours")));
    assert!(catalog.find("gist-960-euclidean").is_some(), "the built-in entries stay");
}

#[test]
fn a_missing_catalogue_names_its_path() {
    let message = Catalog::load(Path::new("no/such/catalogue.yaml")).unwrap_err().to_string();
    assert!(message.contains("no/such/catalogue.yaml"), "{message}");
}

#[test]
fn an_unknown_key_is_shown_with_its_line_and_the_known_keys() {
    let message = refusal(&entry("  metric: l2\n  file: a\n  sha: abc\n"));
    assert!(message.contains("mine.yaml") && message.contains("sha256"), "{message}");
    assert!(message.contains("line 7"), "{message}");
}

#[test]
fn impossible_values_are_refused_at_line_and_column() {
    let hex = "0".repeat(63);
    for (changed, expected) in [
        ("  metric: l1\n  file: a\n".to_owned(), "mine.yaml:5:11: mine: metric: expected l2, inner_product or cosine"),
        ("  metric: l2\n".to_owned(), "mine.yaml:2:6: mine: expected url or file, found neither"),
        ("  metric: l2\n  file: a\n  url: http://b/c\n".to_owned(), "mine.yaml:6:9: mine: give url or file, not both"),
        ("  metric: l2\n  url: ftp://b/c\n".to_owned(), "mine.yaml:6:8: mine: url: expected http:// or https://"),
        (
            "  metric: l2\n  file: a\n  bytes: 0\n".to_owned(),
            "mine.yaml:7:10: mine: bytes: expected at least 1, found 0",
        ),
        ("  metric: l2\n  file: a\n  truth_k: 0\n".to_owned(), "mine.yaml:7:12: mine: truth_k: expected at least 1"),
        (format!("  metric: l2\n  file: a\n  sha256: \"{hex}\"\n"), "mine.yaml:7:11: mine: sha256: expected 64"),
    ] {
        let message = refusal(&entry(&changed));
        assert!(message.contains(expected), "{message}\nexpected: {expected}");
    }
    assert!(refusal("../x: {file: a, n: 1, d: 1, queries: 1, metric: l2}").contains("a name is letters"));
    assert!(refusal("x: {file: a, n: 0, d: 1, queries: 1, metric: l2}").contains("n: expected at least 1"));
    assert!(refusal("x: {file: a, d: 1, queries: 1, metric: l2}").contains("missing field"));
    assert!(refusal("x: {file: a, n: many, d: 1, queries: 1, metric: l2}").contains("line 1"));
    let twice = "x: {file: a, n: 1, d: 1, queries: 1, metric: l2}\n";
    assert!(refusal(&twice.repeat(2)).contains("line 2"));
}

#[test]
fn a_near_miss_is_suggested() {
    let catalog = Catalog::builtin();
    assert_eq!(catalog.suggestions("sift-128-euclidian")[0], "sift-128-euclidean");
    assert_eq!(catalog.suggestions("Sift-128-Euclidean")[0], "sift-128-euclidean");
    assert!(catalog.suggestions("gist").contains(&"gist-960-euclidean"));
    assert!(catalog.suggestions("glove-100-angular.hdf5").contains(&"glove-100-angular"));
    assert!(catalog.suggestions("a/path/of/mine.fbin").is_empty());
    assert!(catalog.find("sift-128-euclidian").is_none());
}
