//! A disk that fills up, for real: a small tmpfs, mounted in a mount namespace of the test's own. Where the system
//! forbids that, the test says so and passes; the same errors are tested without privileges beside the writers.

use std::fs;
use std::io::Write;
use std::path::PathBuf;
use std::process::Command;

use nearlab_storage::{AtomicFile, ContainerWriter, FileKind, SectionId, WriteError};

/// Where the small disk is; set by the outer test for the inner one.
const SMALL_DISK: &str = "NEARLAB_TEST_SMALL_DISK";

#[test]
fn a_disk_that_fills_up_is_an_error_and_keeps_what_was_there() {
    let folder = tempfile::tempdir().unwrap();
    let this_test = std::env::current_exe().unwrap();
    let script = r#"mount -t tmpfs -o size=256k none "$1" || exit 77; exec "$2" --exact on_the_small_disk --ignored --nocapture"#;
    let outcome = Command::new("unshare")
        .args(["--user", "--map-root-user", "--mount", "sh", "-c", script, "sh"])
        .arg(folder.path())
        .arg(this_test)
        .env(SMALL_DISK, folder.path())
        .output();
    let output = match outcome {
        Ok(output) => output,
        Err(error) => return println!("skipped: `unshare` cannot be run: {error}"),
    };
    let (said, complained) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    if !said.contains("running 1 test") {
        return println!("skipped: no tmpfs can be mounted here: {complained}");
    }
    assert!(output.status.success(), "{said}{complained}");
}

#[test]
#[ignore = "run by the test above, on a disk of 256 KiB"]
fn on_the_small_disk() {
    let Some(disk) = std::env::var_os(SMALL_DISK).map(PathBuf::from) else { return };
    let path = disk.join("a.nearlab");
    let write = |elements: &[u8]| {
        let mut writer = ContainerWriter::create(&path, FileKind::new("test"), 1)?;
        writer.section(SectionId::new("a"), elements)?;
        writer.finish()
    };
    write(&[1; 10_000]).unwrap();
    let older = fs::read(&path).unwrap();

    // Larger than the disk; and just small enough to fail only when the buffered end is written.
    for len in [1 << 20, 250_000] {
        let error = write(&vec![2; len]).unwrap_err();
        assert!(error.is_disk_full(), "{error:?}");
        assert!(error.to_string().starts_with(&format!("cannot write {}: No space left", path.display())), "{error}");
    }
    let mut file = AtomicFile::create(disk.join("b")).unwrap();
    let error = WriteError::from_io(&path, file.write_all(&vec![3; 1 << 20]).unwrap_err());
    assert!(error.is_disk_full(), "{error:?}");
    drop(file);

    let names: Vec<_> = fs::read_dir(&disk).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(names, ["a.nearlab"]);
    assert_eq!(fs::read(&path).unwrap(), older);
}
