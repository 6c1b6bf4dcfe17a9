//! Collections of which a fuzzer changes one file: what `collection.json` says, the nodes of the index, the pages of metadata.
//!
//! An input is a byte that says which, and then
//!
//! | file | content |
//! |---|---|
//! | 0 | `collection.json` as it is |
//! | 1 | what follows the checksum in it, which is made to fit |
//! | 2 | sections of `nodes-G`: the number of its name in [`SECTIONS`], its length as four bytes, its content |
//! | 3 | changes to `metadata.redb`: the place as four bytes, the byte that stands there; the checksum of the stamp is made to fit, and that of a copy of page 0 whose turn changes |
//! | 4 | the length to cut `metadata.redb` to, four bytes, and changes as before |

use std::fs;
use std::path::{Path, PathBuf};

use nearlab_index::collection::{Collection, CollectionConfig, IndexConfig, Records};
use nearlab_index::hnsw::HnswParams;
use nearlab_simd::Metric;
use nearlab_storage::metadata::Document;
use nearlab_storage::store::{Durability, ElementKind, IdKind};
use nearlab_storage::{ContainerWriter, FileKind, SectionId, Vectors};
use xxhash_rust::xxh3::{xxh3_64, xxh3_64_with_seed};

use crate::metadata::{INDEXED, record, schema};

/// Components of each vector.
pub const DIM: usize = 3;
/// Records.
pub const RECORDS: u64 = 30;
/// The sections of the nodes, by the byte before their content.
pub const SECTIONS: [&str; 4] = ["slots", "seqs", "builtof", "takenin"];
const NODES: &str = "nodes-00000001";
const STAMP: usize = 56;
const COPIES: [usize; 2] = [4096, 8192];
const COPY: usize = 512;

/// A sound collection, file by file.
pub struct Sound(Vec<(PathBuf, Vec<u8>)>);

impl Sound {
    /// One with a graph, closed, made in `folder`, which goes.
    pub fn make(folder: &Path) -> Self {
        let _ = fs::remove_dir_all(folder);
        let config = CollectionConfig {
            dim: DIM,
            metric: Metric::L2,
            element: ElementKind::F32,
            ids: IdKind::Numbers,
            index: IndexConfig::Hnsw(HnswParams { m: 4, ef_construction: 20, ..HnswParams::default() }),
            schema: Some(schema(INDEXED)),
        };
        let collection = Collection::create(folder, config, 1).expect("a new collection");
        let put = |ids: Vec<u64>| {
            let rows: Vec<f32> =
                ids.iter().flat_map(|id| (0..DIM as u64).map(move |i| (id * 7 + i * 3) as f32)).collect();
            let documents: Vec<Document> = ids.iter().map(|&id| record(id as u32)).collect();
            let records = Records { ids: (&ids[..]).into(), vectors: Vectors::new(&rows, DIM), documents: &documents };
            collection.upsert(&records, Durability::Sync).expect("room for records");
        };
        put((0..RECORDS - 4).collect());
        collection.optimize(&()).expect("room for an index");
        put((RECORDS - 6..RECORDS).collect());
        drop(collection);
        let mut files = Vec::new();
        gather(folder, Path::new(""), &mut files);
        fs::remove_dir_all(folder).expect("a folder just made");
        assert!(files.iter().any(|(path, _)| path == Path::new(NODES)), "the index was saved");
        Self(files)
    }

    /// A file of it.
    pub fn file(&self, name: &str) -> &[u8] {
        let found = self.0.iter().find(|(path, _)| path == Path::new(name));
        found.map_or(&[], |(_, bytes)| bytes)
    }

    /// Writes it into `folder`, with what the input changes. None where that ends early.
    pub fn write(&self, input: &[u8], folder: &Path) -> Option<()> {
        let (&which, input) = input.split_first()?;
        let _ = fs::remove_dir_all(folder);
        for (path, bytes) in &self.0 {
            let path = folder.join(path);
            fs::create_dir_all(path.parent()?).ok()?;
            fs::write(path, bytes).ok()?;
        }
        match which % 5 {
            0 => fs::write(folder.join("collection.json"), input).ok(),
            1 => fs::write(folder.join("collection.json"), sealed(input)).ok(),
            2 => write_nodes(input, &folder.join(NODES)),
            3 => fs::write(folder.join("metadata.redb"), damaged(self.file("metadata.redb"), input)).ok(),
            _ => {
                let (len, input) = input.split_first_chunk()?;
                let whole = self.file("metadata.redb");
                let cut = &whole[..whole.len().min(u32::from_le_bytes(*len) as usize)];
                fs::write(folder.join("metadata.redb"), damaged(cut, input)).ok()
            }
        }
    }
}

fn gather(root: &Path, within: &Path, files: &mut Vec<(PathBuf, Vec<u8>)>) {
    for entry in fs::read_dir(root.join(within)).expect("a folder").map(|entry| entry.expect("an entry")) {
        let path = within.join(entry.file_name());
        if entry.path().is_dir() {
            gather(root, &path, files);
        } else {
            files.push((path, fs::read(entry.path()).expect("a file")));
        }
    }
}

fn sealed(members: &[u8]) -> Vec<u8> {
    let mut text = format!("{{\n  \"checksum\": \"{:016x}\",", xxh3_64(members)).into_bytes();
    text.extend(members);
    text
}

fn write_nodes(mut rest: &[u8], path: &Path) -> Option<()> {
    let mut writer = ContainerWriter::create(path, FileKind::new("nodes"), 1).ok()?;
    let mut seen = [false; SECTIONS.len()];
    while let Some((&[section, a, b, c, d], after)) = rest.split_first_chunk::<5>() {
        let section = usize::from(section) % SECTIONS.len();
        if std::mem::replace(&mut seen[section], true) {
            return None;
        }
        let (content, after) = after.split_at_checked(u32::from_le_bytes([a, b, c, d]) as usize)?;
        writer.section(SectionId::new(SECTIONS[section]), content).ok()?;
        rest = after;
    }
    writer.finish().ok()
}

/// The pages after some changes; `docs/formats.md` says what has which checksum.
fn damaged(pages: &[u8], changes: &[u8]) -> Vec<u8> {
    let mut pages = pages.to_vec();
    for change in changes.as_chunks::<5>().0 {
        let [a, b, c, d, byte] = *change;
        if pages.is_empty() {
            break;
        }
        let at = u32::from_le_bytes([a, b, c, d]) as usize % pages.len();
        pages[at] = byte;
        if at < STAMP && pages.len() >= STAMP + 8 {
            let sum = xxh3_64(&pages[..STAMP]);
            pages[STAMP..STAMP + 8].copy_from_slice(&sum.to_le_bytes());
        }
        let len = pages.len();
        let turned = |copy: &usize| (copy + 8..copy + 16).contains(&at) && len >= copy + COPY;
        for copy in COPIES.into_iter().filter(turned) {
            let key = u64::from_le_bytes(pages[24..32].try_into().expect("eight bytes"));
            let sum = xxh3_64_with_seed(&pages[copy + 8..copy + COPY], key).max(1);
            pages[copy..copy + 8].copy_from_slice(&sum.to_le_bytes());
        }
    }
    pages
}
