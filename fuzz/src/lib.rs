//! What the targets share: files in memory, and what they read, written as a fuzzer can change it: indexes here, vector stores
//! in [`store`], records in [`metadata`], the other files of a collection in [`collection`].
//!
//! A container's checksums would stop nearly every changed file at the door. The target for indexes therefore reads a form
//! without them, [`write_container`] makes a sound container of it, and what the fuzzer changes is what the readers of the
//! sections see.

pub mod collection;
pub mod metadata;
pub mod store;

use std::path::{Path, PathBuf};

use nearlab_storage::{Container, ContainerWriter, FileKind, SectionId, Verify};

/// Kinds of index files, by the first byte of an input.
pub const KINDS: [FileKind; 3] = [FileKind::new("flat"), FileKind::new("hnsw"), FileKind::new("ivf")];

/// All sections that an index file can have, by the byte before their content.
pub const SECTIONS: [&str; 26] = [
    "header", "levels", "base", "upperoff", "upper", "vectors", "f16", "sq8", "sq8level", "sq4", "sq4level", "mean",
    "pcs", "deleted", "centroid", "offsets", "ids", "affine", "amean", "signs", "bf16", "pq", "pqcent", "apart",
    "apartvec", "ascale",
];

/// A file of this process, in memory where the machine has a folder for that.
pub fn scratch_file() -> PathBuf {
    let memory = Path::new("/dev/shm");
    let folder = if memory.is_dir() { memory.to_owned() } else { std::env::temp_dir() };
    folder.join(format!("nearlab-fuzz-{}", std::process::id()))
}

/// Writes the container that `input` describes: kind, version, then for each section its number, its length as four bytes and
/// its content. None where the input ends early.
pub fn write_container(input: &[u8], path: &Path) -> Option<FileKind> {
    let (&[kind, version], mut rest) = input.split_first_chunk::<2>()?;
    let kind = KINDS[usize::from(kind) % KINDS.len()];
    let mut writer = ContainerWriter::create(path, kind, u32::from(version)).ok()?;
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
    writer.finish().ok()?;
    Some(kind)
}

/// The input that describes the container at `path`.
pub fn describe_container(path: &Path, kind: usize) -> Vec<u8> {
    let container = Container::open(path, KINDS[kind], 0..=255, Verify::Sections).expect("a file just written");
    let mut input = vec![kind as u8, container.version() as u8];
    for section in container.sections() {
        let number = SECTIONS.iter().position(|&name| SectionId::new(name) == section.id).expect("a known section");
        let content: &[u8] = container.bytes(section.id).expect("a section of the file");
        input.push(number as u8);
        input.extend((content.len() as u32).to_le_bytes());
        input.extend(content);
    }
    input
}
