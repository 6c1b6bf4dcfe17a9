//! ARCHITECTURE.md, enforced: who may use whom, and what must be absent where.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

/// Crate folder and the nearlab crates that its manifest may name, in any section.
const MAY_USE: [(&str, &[&str]); 8] = [
    ("simd", &[]),
    ("storage", &["simd"]),
    ("index", &["simd", "storage"]),
    ("datasets", &["simd", "storage"]),
    ("reports", &[]),
    ("harness", &["simd", "storage", "index", "datasets", "reports"]),
    ("laboratory", &["simd", "storage", "index", "reports", "harness"]),
    ("benches", &["simd", "storage", "index"]),
];

/// Folder, text that may not occur in its code, and why.
const ABSENT: [(&str, &str, &str); 12] = [
    ("index/src", "Instant", "an index knows no clock"),
    ("index/src", "SystemTime", "an index knows no clock"),
    ("index/src", "hdf5", "an index knows no HDF5"),
    ("index/src", "yaml", "an index knows no YAML"),
    ("index/src/hnsw", "ivf", "hnsw and ivf never import each other"),
    ("index/src/ivf", "hnsw", "hnsw and ivf never import each other"),
    ("index/src", "static COUNTER", "counters are returned by a search, never global"),
    ("storage/src", "ef_search", "storage knows bytes and files, not indexes"),
    ("simd/src", "HNSW", "simd knows numbers, not indexes"),
    ("reports/src", "Instant", "reports reads records and measures nothing"),
    ("reports/src", "nearlab_", "reports uses none of ours"),
    ("harness/src/cli", "current_exe", "a newer build may have that name: environment::program is what runs"),
];

/// The only places where `unsafe` may stand.
const UNSAFE_ALLOWED: [&str; 5] = [
    "simd/src/arch/",
    "storage/src/mmap.rs",
    "storage/src/disk/writeback.rs",
    "harness/src/heap/allocator.rs",
    "benches/src/ceilings.rs",
];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the crate lies in the workspace").to_path_buf()
}

fn rust_files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).expect("a source folder is readable") {
        let path = entry.expect("a folder entry is readable").path();
        if path.is_dir() {
            found.extend(rust_files(&path));
        } else if path.extension().is_some_and(|e| e == "rs") {
            found.push(path);
        }
    }
    found
}

/// Lines of code without comments, with their numbers.
fn code_lines(text: &str) -> impl Iterator<Item = (usize, &str)> {
    text.lines()
        .enumerate()
        .map(|(i, line)| (i + 1, line.split("//").next().unwrap_or_default()))
        .filter(|(_, line)| !line.trim().is_empty())
}

#[test]
fn manifests_follow_the_dependency_direction() {
    for (folder, allowed) in MAY_USE {
        let manifest = fs::read_to_string(root().join(folder).join("Cargo.toml")).expect("every crate has a manifest");
        let used: BTreeSet<&str> = manifest
            .lines()
            .filter_map(|line| line.strip_prefix("nearlab-"))
            .map(|rest| rest.split(['.', ' ', '=']).next().unwrap_or_default())
            .collect();
        for name in used {
            assert!(allowed.contains(&name), "{folder}/Cargo.toml uses nearlab-{name}; it may use {allowed:?}");
        }
    }
}

#[test]
fn rooms_do_not_know_what_they_must_not_know() {
    let root = root();
    for (folder, text, why) in ABSENT {
        for file in rust_files(&root.join(folder)) {
            let source = fs::read_to_string(&file).expect("a source file is readable");
            for (line, code) in code_lines(&source) {
                assert!(!code.contains(text), "{}:{line} contains `{text}`: {why}", file.display());
            }
        }
    }
}

#[test]
fn unsafe_stands_only_where_the_architecture_allows_it() {
    let root = root();
    for (folder, _) in MAY_USE {
        for file in rust_files(&root.join(folder).join("src")) {
            let relative =
                file.strip_prefix(&root).expect("files lie in the workspace").to_string_lossy().replace('\\', "/");
            if UNSAFE_ALLOWED.iter().any(|place| relative.starts_with(place)) {
                continue;
            }
            let source = fs::read_to_string(&file).expect("a source file is readable");
            for (line, code) in code_lines(&source) {
                assert!(!code.contains("unsafe {"), "{relative}:{line} has an unsafe block");
                assert!(!code.contains("unsafe fn"), "{relative}:{line} has an unsafe function");
                assert!(!code.contains("unsafe impl"), "{relative}:{line} has an unsafe impl");
            }
        }
    }
}

#[test]
fn experiments_hold_no_code() {
    fn check(folder: &Path) {
        for entry in fs::read_dir(folder).expect("experiments is readable") {
            let path = entry.expect("a folder entry is readable").path();
            if path.is_dir() {
                check(&path);
            } else {
                assert!(path.extension().is_some_and(|e| e == "yaml"), "{} is not YAML", path.display());
            }
        }
    }
    check(&root().join("experiments"));
}
