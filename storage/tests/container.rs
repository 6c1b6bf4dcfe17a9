//! What a container promises: what comes out is what went in, and whatever is not that is an error, never a panic.

#![expect(clippy::unwrap_used, reason = "what prepares a test stands outside its function")]

use std::fs::{self, File};
use std::io::Write;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;

use nearlab_storage::mmap::Advice;
use nearlab_storage::{Container, ContainerWriter, FileKind, OpenError, SectionId, Vectors, Verify};
use proptest::prelude::*;
use tempfile::TempDir;

const KIND: FileKind = FileKind::new("test");
const FLOATS: SectionId = SectionId::new("floats");
const IDS: SectionId = SectionId::new("ids");
const EMPTY: SectionId = SectionId::new("empty");
const PAIRS: SectionId = SectionId::new("pairs");

/// A file of kind `test`, version 1: `floats` (6 f32), `ids` (5 i32), `empty`.
fn sample() -> (TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("sample.nearlab");
    write_sample(&path);
    (folder, path)
}

fn write_sample(path: &Path) {
    let mut writer = ContainerWriter::create(path, KIND, 1).unwrap();
    writer.section(FLOATS, &[1.5f32, -2.0, f32::MIN_POSITIVE, 0.0, 3.0, 4.0]).unwrap();
    writer.section(IDS, &[-1i32, 7, 8, 9, i32::MAX]).unwrap();
    writer.section::<u64>(EMPTY, &[]).unwrap();
    writer.finish().unwrap();
}

fn open(path: &Path, verify: Verify) -> Result<Container, OpenError> {
    Container::open(path, KIND, 1..=1, verify)
}

#[test]
fn every_type_comes_back_as_it_was_written() {
    let (_folder, path) = sample();
    for verify in [Verify::Header, Verify::Sections] {
        let container = open(&path, verify).unwrap();
        assert_eq!((container.kind(), container.version(), container.path()), (KIND, 1, path.as_path()));
        assert_eq!(container.view::<f32>(FLOATS).unwrap(), [1.5, -2.0, f32::MIN_POSITIVE, 0.0, 3.0, 4.0]);
        assert_eq!(container.view::<i32>(IDS).unwrap(), [-1, 7, 8, 9, i32::MAX]);
        assert!(container.view::<u64>(EMPTY).unwrap().is_empty());
        assert!(container.buffer::<u64>(EMPTY).unwrap().is_empty());
        assert!(container.contains(EMPTY) && !container.contains(PAIRS));
        assert_eq!(container.vectors::<f32>(FLOATS, 2, 3).unwrap().row(1), [0.0, 3.0, 4.0]);
        assert_eq!(container.vectors::<f32>(EMPTY, 0, 3).unwrap().len(), 0);
    }
}

#[test]
fn a_buffer_outlives_the_container_and_the_file() {
    let (folder, path) = sample();
    let container = open(&path, Verify::Sections).unwrap();
    let ids = container.buffer_of::<i32>(IDS, 5).unwrap();
    let place = container.bytes(IDS).unwrap().as_ptr();
    drop((container, folder));
    assert!(ids.is_mapped() && !path.exists());
    assert_eq!(*ids, [-1, 7, 8, 9, i32::MAX]);
    assert_eq!(ids.as_ptr().cast(), place, "the elements are not copied");
}

#[test]
fn a_container_stays_the_old_file_when_a_new_one_takes_its_name() {
    let (_folder, path) = sample();
    let old = open(&path, Verify::Header).unwrap();
    let mut writer = ContainerWriter::create(&path, KIND, 1).unwrap();
    writer.section(IDS, &[42i32]).unwrap();
    assert_eq!(writer.path(), path);
    writer.finish().unwrap();
    assert_eq!(open(&path, Verify::Sections).unwrap().view::<i32>(IDS).unwrap(), [42]);
    old.verify().unwrap();
    assert_eq!(old.view::<i32>(IDS).unwrap().len(), 5);
}

#[test]
fn sections_lie_on_pages_at_the_offsets_that_are_told() {
    let (_folder, path) = sample();
    let container = open(&path, Verify::Sections).unwrap();
    let file = fs::read(&path).unwrap();
    assert_eq!(container.file_len(), file.len() as u64);
    assert_eq!(container.sections().len(), 3);
    for section in container.sections() {
        let (offset, len) = container.offset_of(section.id).unwrap();
        assert!(offset.is_multiple_of(4096));
        assert_eq!((offset, len), (section.offset, section.len));
        assert_eq!(&file[offset as usize..(offset + len) as usize], container.bytes(section.id).unwrap());
        container.advise(section.id, Advice::WillNeed).unwrap();
    }
}

#[test]
fn a_stream_of_pieces_is_the_same_file_as_one_slice() {
    let folder = tempfile::tempdir().unwrap();
    let (whole, pieces) = (folder.path().join("whole"), folder.path().join("pieces"));
    let elements: Vec<u32> = (0..300_000).collect();

    let mut writer = ContainerWriter::create(&whole, KIND, 1).unwrap();
    writer.section(IDS, &elements).unwrap();
    writer.finish().unwrap();

    let mut writer = ContainerWriter::create(&pieces, KIND, 1).unwrap();
    let mut section = writer.begin(IDS).unwrap();
    section.write_all(&[0, 0, 0]).unwrap();
    section.write_all(&[0]).unwrap();
    section.flush().unwrap();
    for piece in elements[1..].chunks(777) {
        section.put(piece).unwrap();
    }
    assert_eq!(section.bytes_written(), 1_200_000);
    section.finish().unwrap();
    writer.finish().unwrap();

    assert!(fs::read(&whole).unwrap() == fs::read(&pieces).unwrap());
    assert_eq!(open(&pieces, Verify::Sections).unwrap().view::<u32>(IDS).unwrap(), elements);
}

#[test]
fn a_dropped_writer_leaves_nothing_and_keeps_the_older_file() {
    let (folder, path) = sample();
    let mut writer = ContainerWriter::create(&path, KIND, 1).unwrap();
    writer.section(IDS, &vec![1i32; 10_000]).unwrap();
    drop(writer);
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    assert_eq!(open(&path, Verify::Sections).unwrap().view::<i32>(IDS).unwrap().len(), 5);
}

#[test]
fn every_flipped_byte_is_detected() {
    let (_folder, path) = sample();
    let original = fs::read(&path).unwrap();
    let file = File::options().write(true).open(&path).unwrap();
    for (at, &byte) in original.iter().enumerate() {
        for flipped in [byte ^ (1 << (at % 8)), !byte] {
            file.write_all_at(&[flipped], at as u64).unwrap();
            let outcome = open(&path, Verify::Sections);
            assert!(outcome.is_err(), "byte {at} of {} was {byte:#04x}, is {flipped:#04x}", original.len());
            let header_outcome = open(&path, Verify::Header);
            assert_eq!(
                header_outcome.is_err(),
                at < 4096,
                "the header check reads the header, and only that: byte {at}"
            );
        }
        file.write_all_at(&[byte], at as u64).unwrap();
    }
    open(&path, Verify::Sections).unwrap();
}

#[test]
fn every_truncation_and_every_extension_is_detected_with_both_lengths() {
    let (_folder, path) = sample();
    let file = File::options().write(true).open(&path).unwrap();
    let whole = file.metadata().unwrap().len();
    for len in (0..whole).rev() {
        file.set_len(len).unwrap();
        let error = open(&path, Verify::Header).unwrap_err();
        let wanted = if len < 4096 { 4096 } else { whole };
        assert!(
            matches!(error, OpenError::TooShort { expected, found, .. } if (expected, found) == (wanted, len)),
            "{error}"
        );
        if len % 1024 == 0 {
            assert_eq!(
                error.to_string(),
                format!("{} is cut short: expected {wanted} bytes, found {len}", path.display())
            );
        }
    }
    write_sample(&path);
    let file = File::options().write(true).open(&path).unwrap();
    for extra in [1, 4096, 1 << 20] {
        file.set_len(whole + extra).unwrap();
        let error = open(&path, Verify::Header).unwrap_err();
        assert!(
            matches!(error, OpenError::TooLong { expected, found, .. } if (expected, found) == (whole, whole + extra)),
            "{error}"
        );
    }
}

#[test]
fn damage_is_placed_in_its_section() {
    let (_folder, path) = sample();
    let (offset, len) = open(&path, Verify::Header).unwrap().offset_of(IDS).unwrap();
    let damage = |at: u64| {
        write_sample(&path);
        File::options().write(true).open(&path).unwrap().write_all_at(&[0x5a], at).unwrap();
        open(&path, Verify::Sections).unwrap_err().to_string()
    };
    let message = damage(offset + 3);
    assert!(
        message.contains(&format!("is damaged at byte {offset}: section `ids` should have checksum ")),
        "{message}"
    );
    let at = offset + len + 7;
    let message = damage(at);
    let wanted =
        format!("is damaged at byte {at}: the padding after section `ids` should have only zero bytes, found 0x5a");
    assert!(message.ends_with(&wanted), "{message}");
    let message = damage(100);
    assert!(message.contains("is damaged at byte 0: the header should have checksum "), "{message}");
}

#[test]
fn a_foreign_kind_and_a_future_version_are_named() {
    let (_folder, path) = sample();
    let error = Container::open(&path, FileKind::new("hnsw"), 1..=1, Verify::Header).unwrap_err();
    assert_eq!(
        error.to_string(),
        format!("{} holds the wrong kind of data: expected `hnsw`, found `test`", path.display())
    );
    ContainerWriter::create(&path, KIND, 9).unwrap().finish().unwrap();
    let error = Container::open(&path, KIND, 1..=2, Verify::Header).unwrap_err();
    assert_eq!(
        error.to_string(),
        format!("{} has version 9 of the format `test`, expected version 1 to 2", path.display())
    );
    assert_eq!(Container::open(&path, KIND, 1..=9, Verify::Header).unwrap().version(), 9);
}

#[test]
fn what_was_never_a_container_is_called_that() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.hdf5");
    fs::write(&path, b"\x89HDF\r\n\x1a\n and so on").unwrap();
    let message = open(&path, Verify::Header).unwrap_err().to_string();
    assert!(
        message.contains(r#"is not a nearlab file: expected it to begin with "NEARLAB\0", found "\x89HDF"#),
        "{message}"
    );
    fs::write(&path, b"").unwrap();
    assert!(matches!(open(&path, Verify::Header), Err(OpenError::TooShort { expected: 4096, found: 0, .. })));
    for path in [folder.path(), &folder.path().join("missing")] {
        let error = open(path, Verify::Header).unwrap_err();
        assert!(matches!(error, OpenError::Io { .. }), "{error:?}");
        assert!(error.to_string().starts_with(&format!("cannot read {}: ", path.display())), "{error}");
    }
}

#[test]
fn a_missing_section_is_named_with_those_that_are_there() {
    let (_folder, path) = sample();
    let container = open(&path, Verify::Header).unwrap();
    let wanted = format!("{} has no section `pairs`: found `floats`, `ids`, `empty`", path.display());
    let errors = [
        container.bytes(PAIRS).map(drop).unwrap_err(),
        container.view::<u8>(PAIRS).map(drop).unwrap_err(),
        container.vectors::<u8>(PAIRS, 1, 1).map(drop).unwrap_err(),
        container.buffer::<u8>(PAIRS).map(drop).unwrap_err(),
        container.buffer_of::<u8>(PAIRS, 1).map(drop).unwrap_err(),
        container.offset_of(PAIRS).map(drop).unwrap_err(),
        container.advise(PAIRS, Advice::Random).unwrap_err(),
    ];
    for error in errors {
        assert_eq!(error.to_string(), wanted);
    }
}

#[test]
fn a_section_read_as_the_wrong_shape_is_refused() {
    let (_folder, path) = sample();
    let container = open(&path, Verify::Header).unwrap();
    let errors = [
        (container.view::<u64>(IDS).map(drop), "a multiple of 8 bytes"),
        (container.buffer::<u64>(IDS).map(drop), "a multiple of 8 bytes"),
        (container.buffer_of::<i32>(IDS, 6).map(drop), "6 elements of 4 bytes"),
        (container.vectors::<i32>(IDS, 2, 3).map(drop), "2 vectors of 3 components of 4 bytes"),
        (container.vectors::<i32>(IDS, 5, 0).map(drop), "5 vectors of 0 components of 4 bytes"),
        (container.vectors::<i32>(IDS, usize::MAX, 3).map(drop), "vectors of 3 components of 4 bytes"),
    ];
    for (outcome, expected) in errors {
        let error = outcome.unwrap_err();
        assert!(matches!(error, OpenError::SectionShape { section: IDS, found: 20, .. }), "{error:?}");
        assert!(error.to_string().ends_with(&format!("{expected}, found 20 bytes")), "{error}");
    }
}

/// Overwrites up to four stretches of a valid file, which is a better enemy than noise: most of it still is true.
fn mutations() -> impl Strategy<Value = Vec<(usize, Vec<u8>)>> {
    let place = prop_oneof![0..128usize, 4080..4100usize, 0..12_288usize];
    prop::collection::vec((place, prop::collection::vec(any::<u8>(), 1..16)), 1..4)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_sections_come_back(
        floats in prop::collection::vec(any::<f32>(), 0..3000),
        bytes in prop::collection::vec(any::<u8>(), 0..9000),
    ) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.nearlab");
        let mut writer = ContainerWriter::create(&path, KIND, 1).unwrap();
        writer.section(FLOATS, &floats).unwrap();
        writer.section(IDS, &bytes).unwrap();
        writer.finish().unwrap();
        let container = open(&path, Verify::Sections).unwrap();
        let bits = |floats: &[f32]| floats.iter().map(|x| x.to_bits()).collect::<Vec<_>>();
        prop_assert_eq!(bits(container.view::<f32>(FLOATS).unwrap()), bits(&floats));
        prop_assert_eq!(container.bytes(IDS).unwrap(), bytes);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_mutated_file_never_panics_and_is_used_only_within_its_bounds(
        mutations in mutations(),
        sealed in any::<bool>(),
        cut in 0..20_000usize,
    ) {
        static SAMPLE: LazyLock<Vec<u8>> = LazyLock::new(|| {
            let (_folder, path) = sample();
            fs::read(path).unwrap()
        });
        let mut bytes = SAMPLE.clone();
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("mutated.nearlab");
        for (at, replacement) in mutations {
            let end = (at + replacement.len()).min(bytes.len());
            bytes[at.min(end)..end].copy_from_slice(&replacement[..end - at.min(end)]);
        }
        if sealed {
            // As a malicious writer would, so that the checks behind the checksum are reached.
            let checksum = xxhash_rust::xxh3::xxh3_64(&bytes[..4088]);
            bytes[4088..4096].copy_from_slice(&checksum.to_le_bytes());
        }
        bytes.truncate(cut);
        fs::write(&path, &bytes).unwrap();
        let Ok(container) = open(&path, Verify::Header) else { return Ok(()) };
        let _ = container.verify();
        for section in container.sections() {
            prop_assert_eq!(container.bytes(section.id).unwrap().len() as u64, section.len);
            let _ = container.view::<u64>(section.id);
            let _ = container.buffer::<f32>(section.id).map(|floats| floats.len());
            let _ = container.vectors::<f32>(section.id, 2, 3).map(|vectors: Vectors<'_, f32>| vectors.row(1).len());
        }
    }
}
