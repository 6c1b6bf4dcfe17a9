//! A collection on a file system that takes no writes.

use std::env;
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::process::Command;

use nearlab_index::collection::Collection;
use nearlab_simd::Metric;

use crate::model::{Model, Seeded, agree, config, hnsw, upsert};

const FOLDER: &str = "NEARLAB_READ_ONLY_IN";
/// Makes a folder read-only, and runs a command, for which alone it is.
const READ_ONLY: &str = r#"mount --bind "$1" "$1" && mount -o remount,ro,bind "$1" && shift && exec "$@""#;

/// Makes a collection: what it holds.
fn fill(path: &Path) -> Model {
    let (mut model, mut seeded) = (Model::default(), Seeded(3));
    let collection = Collection::create(path, config(hnsw(), Metric::L2), 1).unwrap();
    (0..3).for_each(|_| upsert(&collection, &mut model, &mut seeded, 90));
    collection.optimize(&()).unwrap();
    upsert(&collection, &mut model, &mut seeded, 30);
    model
}

#[test]
#[ignore = "it runs where the other test has made the file system read-only"]
fn asks_what_can_not_be_written() {
    let path = PathBuf::from(env::var(FOLDER).unwrap());
    assert_eq!(fs::write(path.join("new"), "").unwrap_err().kind(), ErrorKind::ReadOnlyFilesystem);
    let again = tempfile::tempdir().unwrap();
    let model = fill(&again.path().join("c"));
    agree(&Collection::open_read_only(&path).unwrap(), &model, &mut Seeded(4));
    let refused = Collection::open(&path, 1).unwrap_err().to_string();
    assert!(refused.contains(path.to_str().unwrap()), "{refused}");
    agree(&Collection::open_read_only(&path).unwrap(), &model, &mut Seeded(4));
}

#[test]
fn a_collection_on_a_read_only_file_system_is_opened_and_searched() {
    let Some(unshare) = [&["--mount"][..], &["--map-root-user", "--mount"]].into_iter().find(|flags| {
        let tried = Command::new("unshare").args(*flags).arg("true").output();
        tried.is_ok_and(|output| output.status.success())
    }) else {
        eprintln!("skipped: this process may mount nothing for itself alone (`unshare --mount`)");
        return;
    };
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("c");
    fill(&path);
    let mut command = Command::new("unshare");
    command.args(unshare).args(["sh", "-c", READ_ONLY, "sh"]).arg(&path).arg(env::current_exe().unwrap());
    command.args(["--exact", "read_only::asks_what_can_not_be_written", "--ignored"]).env(FOLDER, &path);
    let output = command.output().unwrap();
    let said = [&output.stdout[..], &output.stderr].map(String::from_utf8_lossy);
    assert!(output.status.success() && said[0].contains("1 passed"), "{said:?}");
}
