//! Reads dhat's JSON into [`Heap`]: totals and the sites that hold most bytes at the peak.

use std::{
    collections::HashMap,
    fs, io,
    path::{Path, PathBuf},
};

use nearlab_reports::record::{Heap, HeapSite};
use serde::Deserialize;

/// Sites kept in a record.
const TOP_SITES: usize = 10;

/// Names of functions that only pass an allocation on: the allocator and the standard library.
const PASSING_NAMES: [&str; 11] = [
    "alloc::",
    "<alloc::",
    "core::",
    "<core::",
    "std::",
    "<std::",
    "<T as alloc::",
    "dhat::",
    "<dhat::",
    "__rust",
    "hashbrown::",
];

/// Files of such functions where they were inlined: their names then come without a path, and dhat keeps the last three
/// parts of a file's path only.
const PASSING_FILES: [&str; 23] = [
    "(iter/",
    "(ops/",
    "(collections/",
    "(alloc/src/",
    "(core/src/",
    "(std/src/",
    "(src/alloc/",
    "(src/raw_vec/",
    "(src/vec/",
    "(src/slice/",
    "(src/str/",
    "(src/string/",
    "(src/boxed/",
    "(src/rc/",
    "(src/sync/",
    "(src/collections/",
    "(src/iter/",
    "(src/ops/",
    "(src/ptr/",
    "(src/panic/",
    "(src/thread/",
    "(src/io/",
    "(src/heap/allocator.rs",
];

/// Why a heap profile cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum HeapFileError {
    /// The file cannot be read.
    #[error("cannot read the heap profile {}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The file is not dhat's.
    #[error("{} is not a dhat profile: {source}", path.display())]
    NotDhat {
        /// The file.
        path: PathBuf,
        /// What the JSON reader said.
        source: serde_json::Error,
    },
}

/// The parts of dhat's file (version 2, `rust-heap`) that are used.
#[derive(Deserialize)]
struct DhatFile {
    pps: Vec<ProgramPoint>,
    ftbl: Vec<String>,
}

#[derive(Deserialize)]
struct ProgramPoint {
    /// Total bytes.
    tb: u64,
    /// Total blocks.
    tbk: u64,
    /// Bytes at the global peak.
    gb: u64,
    /// Blocks at the global peak.
    gbk: u64,
    /// Frames, innermost first, as positions in `ftbl`.
    fs: Vec<usize>,
}

/// Reads the profile at `path`.
pub fn read(path: &Path) -> Result<Heap, HeapFileError> {
    let text = fs::read_to_string(path).map_err(|source| HeapFileError::Io { path: path.to_owned(), source })?;
    let file: DhatFile =
        serde_json::from_str(&text).map_err(|source| HeapFileError::NotDhat { path: path.to_owned(), source })?;
    Ok(summarise(&file))
}

fn summarise(file: &DhatFile) -> Heap {
    let mut heap = Heap { total_bytes: 0, total_blocks: 0, peak_bytes: 0, peak_blocks: 0, sites: Vec::new() };
    let mut sites: HashMap<&str, HeapSite> = HashMap::new();
    for point in &file.pps {
        heap.total_bytes += point.tb;
        heap.total_blocks += point.tbk;
        heap.peak_bytes += point.gb;
        heap.peak_blocks += point.gbk;
        let frame = innermost(&point.fs, &file.ftbl);
        let site = sites.entry(frame).or_insert_with(|| HeapSite {
            frame: frame.to_owned(),
            peak_bytes: 0,
            peak_blocks: 0,
            total_bytes: 0,
            total_blocks: 0,
        });
        site.peak_bytes += point.gb;
        site.peak_blocks += point.gbk;
        site.total_bytes += point.tb;
        site.total_blocks += point.tbk;
    }
    heap.sites = sites.into_values().collect();
    heap.sites.sort_by(|a, b| {
        (b.peak_bytes, b.total_bytes).cmp(&(a.peak_bytes, a.total_bytes)).then_with(|| a.frame.cmp(&b.frame))
    });
    heap.sites.truncate(TOP_SITES);
    heap
}

/// The innermost frame that is not the allocator's or a container's, without its address.
fn innermost<'a>(frames: &[usize], table: &'a [String]) -> &'a str {
    let names = || frames.iter().filter_map(|&frame| table.get(frame)).map(|text| without_address(text));
    names().find(|name| !passes_on(name)).or_else(|| names().next()).unwrap_or("?")
}

/// Whether a frame, `function (file:line:column)`, only passes an allocation on.
fn passes_on(frame: &str) -> bool {
    let file = frame.rfind(" (").map_or("", |place| &frame[place + 1..]);
    PASSING_NAMES.iter().any(|name| frame.starts_with(name))
        || PASSING_FILES.iter().any(|start| file.starts_with(start))
}

/// `0x55d0: crate::function (src/file.rs:1:2)` without `0x55d0: `.
fn without_address(frame: &str) -> &str {
    match frame.split_once(": ") {
        Some((address, name)) if address.starts_with("0x") => name,
        _ => frame,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SMALL: &str = r#"{"dhatFileVersion": 2, "mode": "rust-heap", "pps": [
        {"tb": 100, "tbk": 2, "tl": 5, "mb": 60, "mbk": 1, "gb": 60, "gbk": 1, "eb": 0, "ebk": 0, "fs": [1, 2, 3]},
        {"tb": 40, "tbk": 4, "tl": 5, "mb": 10, "mbk": 1, "gb": 10, "gbk": 1, "eb": 0, "ebk": 0, "fs": [1, 2]},
        {"tb": 7, "tbk": 1, "tl": 5, "mb": 7, "mbk": 1, "gb": 0, "gbk": 0, "eb": 0, "ebk": 0, "fs": [1]}],
        "ftbl": ["[root]", "0x1f: alloc::vec::Vec<T>::with_capacity (vec.rs:1:2)", "0x2f: nearlab_index::hnsw::build (build.rs:3:4)", "0x3f: main"]}"#;

    #[test]
    fn sites_are_summed_by_the_innermost_frame_that_is_ours() {
        let heap = summarise(&serde_json::from_str(SMALL).unwrap());
        assert_eq!((heap.total_bytes, heap.total_blocks, heap.peak_bytes, heap.peak_blocks), (147, 7, 70, 2));
        assert_eq!(heap.sites[0].frame, "nearlab_index::hnsw::build (build.rs:3:4)");
        assert_eq!((heap.sites[0].peak_bytes, heap.sites[0].total_blocks), (70, 6));
        assert_eq!(heap.sites[1].frame, "alloc::vec::Vec<T>::with_capacity (vec.rs:1:2)");
    }

    #[test]
    fn inlined_frames_of_the_standard_library_are_passed_over() {
        for frame in [
            "alloc_zeroed<dhat::Alloc> (src/alloc/global.rs:219:33)",
            "with_capacity_in<f32, alloc::alloc::Global> (src/raw_vec/mod.rs:177:20)",
            "to_vec<f32> (alloc/src/slice.rs:376:14)",
            "<alloc::raw_vec::RawVecInner>::try_allocate_in (???:0:0)",
            "alloc_zeroed (src/heap/allocator.rs:38:34)",
        ] {
            assert!(passes_on(frame), "{frame}");
        }
        for frame in [
            "new (src/hnsw/rows.rs:16:70)",
            "prepare_base (index/src/space.rs:115:39)",
            "crossbeam_deque::deque::Block<T>::new (???:0:0)",
        ] {
            assert!(!passes_on(frame), "{frame}");
        }
    }

    #[test]
    fn a_file_that_is_not_dhats_is_refused_by_name() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("heap.json");
        assert!(read(&path).unwrap_err().to_string().starts_with("cannot read the heap profile "));
        fs::write(&path, "{}").unwrap();
        assert!(read(&path).unwrap_err().to_string().contains("heap.json is not a dhat profile"));
    }
}
