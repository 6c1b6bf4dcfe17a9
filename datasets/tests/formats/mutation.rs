//! Damaged files of every format: whatever the bytes, there is an answer or an error, never a panic or a huge allocation.

use std::{
    fs,
    path::{Path, PathBuf},
};

use nearlab_datasets::{
    DataFile, Format, PrepareOptions,
    convert::{ConvertOptions, Matrix, convert},
};
use rand::{RngExt, SeedableRng};
use rand_pcg::Pcg64Mcg;

use super::{
    list_columns,
    set::{Workplace, fixture},
};

/// Damaged copies of each file. `NEARLAB_MUTATIONS` asks for more.
fn mutations() -> usize {
    std::env::var("NEARLAB_MUTATIONS").ok().and_then(|count| count.parse().ok()).unwrap_or(40)
}

fn damage(bytes: &mut Vec<u8>, rng: &mut Pcg64Mcg) {
    for _ in 0..rng.random_range(1..4) {
        let at = rng.random_range(0..bytes.len());
        match rng.random_range(0..6) {
            0 => bytes[at] ^= 1 << rng.random_range(0..8),
            1 => bytes[at] = rng.random(),
            2 => bytes[at..].iter_mut().take(8).for_each(|b| *b = 0xff),
            3 => bytes[at..].iter_mut().take(4).for_each(|b| *b = 0),
            4 => bytes[at..].iter_mut().take(4).for_each(|b| *b = rng.random()),
            _ => bytes.truncate(at.max(1)),
        }
    }
}

/// Reads everything there is; what it says does not matter.
fn read(path: &Path) {
    let Ok(file) = DataFile::open(path) else { return };
    let matrices = [Some(file.train), file.test, file.neighbors, file.distances];
    for mut matrix in matrices.into_iter().flatten() {
        let (mut block, mut ids) = (Vec::new(), Vec::new());
        for rows in matrix.blocks().take(4) {
            let outcome = matrix.read_f32(rows.clone(), &mut block);
            if outcome.is_ok() && matrix.element().is_integer() {
                let _ = matrix.read_i64(rows, &mut ids);
            }
        }
    }
}

fn samples(place: &Workplace) -> Vec<PathBuf> {
    let names = ["contiguous", "gzip-shuffle", "chunked", "latest", "i64-f64", "fixed-string", "u8-vectors"];
    let mut paths: Vec<PathBuf> = names.iter().map(|name| fixture(&format!("{name}.hdf5"))).collect();
    let from = fixture("contiguous.hdf5");
    for (name, matrix) in [
        ("a.fvecs", Matrix::Train),
        ("a.ivecs", Matrix::Neighbors),
        ("a.fbin", Matrix::Train),
        ("a.ibin", Matrix::Neighbors),
        ("a.npy", Matrix::Train),
    ] {
        let path = place.path(name);
        let options = ConvertOptions { matrix: Some(matrix), ..ConvertOptions::default() };
        convert(from.to_str().unwrap(), &path, &options, &place.cache, &()).unwrap();
        paths.push(path);
    }
    let lists: Vec<&[f32]> = vec![&[1.0, 2.0, 3.0]; 9];
    list_columns::write(&place.path("a.parquet"), list_columns::SCHEMA, &[&lists[..5], &lists[5..]]);
    paths.push(place.path("a.parquet"));
    paths
}

#[test]
fn damaged_files_are_read_or_refused_without_a_panic_or_a_huge_allocation() {
    let place = Workplace::new();
    let mut rng = Pcg64Mcg::seed_from_u64(5);
    for path in samples(&place) {
        let whole = fs::read(&path).unwrap();
        let copy = place.path(&format!("damaged.{}", Format::of(&path).unwrap()));
        for _ in 0..mutations() {
            let mut bytes = whole.clone();
            damage(&mut bytes, &mut rng);
            fs::write(&copy, &bytes).unwrap();
            read(&copy);
        }
    }
    assert!(peak_resident_mib().is_none_or(|mib| mib < 1024), "{:?} MiB", peak_resident_mib());
}

#[test]
fn damaged_sets_are_prepared_or_refused_without_a_panic() {
    let place = Workplace::new();
    let mut rng = Pcg64Mcg::seed_from_u64(6);
    let options = PrepareOptions { truth_k: 1, ..PrepareOptions::default() };
    for name in ["contiguous.hdf5", "gzip-shuffle.hdf5", "angular.hdf5"] {
        let whole = fs::read(fixture(name)).unwrap();
        for _ in 0..mutations() / 2 {
            let mut bytes = whole.clone();
            damage(&mut bytes, &mut rng);
            fs::write(place.path("damaged.hdf5"), &bytes).unwrap();
            if let Err(error) = place.prepare("damaged.hdf5", &options) {
                assert!(error.to_string().contains("damaged.hdf5"), "{error}");
            }
        }
    }
}

fn peak_resident_mib() -> Option<u64> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    Some(line.trim().trim_end_matches(" kB").parse::<u64>().ok()? / 1024)
}
