use std::fs;

use nearlab_datasets::{
    Correlation, FilterOptions, PrepareOptions, Prepared, PreparedFilter, QuerySplit,
    filters::prepare,
    truth::{TruthJob, exact},
};
use nearlab_storage::Vectors;

use super::set::{Heard, Set, Workplace, quickstart};

fn options(selectivity: f64, correlation: Correlation) -> FilterOptions {
    FilterOptions { selectivity, correlation, filters: 20, seed: 3 }
}

/// The first 2,000 real vectors and 60 queries.
fn data(place: &Workplace) -> Prepared {
    let queries = Some(QuerySplit { report: 60, calibrate: 0, seed: 1 });
    let options = PrepareOptions { limit: Some(2_000), queries, ..PrepareOptions::default() };
    place.prepare(quickstart().to_str().unwrap(), &options).unwrap()
}

fn made(place: &Workplace, data: &Prepared, wanted: &[FilterOptions]) -> Vec<PreparedFilter> {
    let paths = prepare(data, wanted, 10, &place.cache, &()).unwrap();
    paths.iter().map(|path| PreparedFilter::open(path).unwrap()).collect()
}

#[test]
fn every_query_has_its_true_neighbours_among_exactly_so_many_matches() {
    let place = Workplace::new();
    let data = data(&place);
    let wanted: Vec<FilterOptions> =
        Correlation::ALL.into_iter().flat_map(|one| [1.0, 0.1, 0.002].map(|share| options(share, one))).collect();
    let pool = rayon::ThreadPoolBuilder::new().num_threads(1).build().unwrap();
    for (filter, wanted) in made(&place, &data, &wanted).iter().zip(&wanted) {
        assert_eq!((filter.options(), filter.filters()), (wanted, 20));
        assert_eq!(filter.matches(), (2_000.0 * wanted.selectivity) as usize);
        assert_eq!(filter.truth_k(), filter.matches().min(10));
        for query in (0..60).step_by(7) {
            let matches: Vec<i32> = (0..2_000).filter(|&id| filter.admits(query, id)).collect();
            assert_eq!(matches.len(), filter.matches());
            let rows: Vec<f32> = matches.iter().flat_map(|&id| data.train().row(id as usize)).copied().collect();
            let job = TruthJob {
                train: Vectors::new(&rows, 128),
                queries: data.test().rows(query..query + 1),
                metric: data.metric(),
                k: filter.truth_k(),
            };
            let truth = exact(&job, &pool, &()).neighbors;
            let expected: Vec<i32> = truth.iter().map(|&position| matches[position as usize]).collect();
            assert_eq!(filter.neighbors().row(query), expected, "{wanted:?}");
        }
        assert!(!filter.admits(0, -1) && !filter.admits(0, 2_000) && !filter.admits(0, i32::MAX));
    }
}

#[test]
fn the_near_match_more_or_less_often_as_the_correlation_says() {
    let place = Workplace::new();
    let data = data(&place);
    // Of 2,000 vectors the 100 nearest, or as many as match, are a twentieth.
    for (share, least, most) in [(0.5, 0.85, 0.25), (0.1, 0.3, 0.03), (0.05, 0.15, 0.01)] {
        let near = Correlation::ALL.map(|one| made(&place, &data, &[options(share, one)])[0].near_share());
        let [none, positive, negative] = near;
        assert!((none - share).abs() < 0.02, "{share}: {near:?}");
        assert!(positive > least && negative < most, "{share}: {near:?}");
    }
    assert_eq!(made(&place, &data, &[options(1.0, Correlation::Negative)])[0].near_share(), 1.0);
}

#[test]
fn filters_are_made_once_and_the_same_every_time() {
    let (place, other) = (Workplace::new(), Workplace::new());
    let data = data(&place);
    let wanted = [options(0.1, Correlation::Positive), options(0.1, Correlation::None)];
    let heard = Heard::default();
    let paths = prepare(&data, &wanted, 10, &place.cache, &heard).unwrap();
    assert!(heard.0.lock().unwrap().iter().any(|(stage, done, total)| stage == "filters" && done == total));
    let name = data.path().file_stem().unwrap().to_str().unwrap();
    assert!(paths.iter().all(|path| path.file_name().unwrap().to_str().unwrap().starts_with(name)));
    let before = paths[0].metadata().unwrap().modified().unwrap();
    assert_eq!(prepare(&data, &wanted, 10, &place.cache, &()).unwrap(), paths);
    assert_eq!(paths[0].metadata().unwrap().modified().unwrap(), before);
    let elsewhere = prepare(&data, &wanted, 10, &other.cache, &()).unwrap();
    for (one, two) in paths.iter().zip(&elsewhere) {
        assert_eq!(fs::read(one).unwrap(), fs::read(two).unwrap());
    }
    for changed in [
        FilterOptions { seed: 4, ..wanted[0] },
        FilterOptions { filters: 21, ..wanted[0] },
        FilterOptions { selectivity: 0.2, ..wanted[0] },
    ] {
        assert!(!paths.contains(&prepare(&data, &[changed], 10, &place.cache, &()).unwrap()[0]));
    }
    assert_ne!(prepare(&data, &wanted[..1], 9, &place.cache, &()).unwrap()[0], paths[0]);
}

#[test]
fn another_program_finds_bitmaps_and_assignment_at_the_offsets_given() {
    use std::os::unix::fs::FileExt;
    let place = Workplace::new();
    Set::line().write(&place.path("set.hdf5"));
    let data = place.prepare("set.hdf5", &PrepareOptions { truth_k: 2, ..PrepareOptions::default() }).unwrap();
    // More filters than vectors are as many as vectors.
    let wanted = FilterOptions { filters: 9, ..options(0.5, Correlation::Negative) };
    let filter = &made(&place, &data, &[wanted])[0];
    assert_eq!((filter.filters(), filter.matches(), filter.words(), filter.truth_k()), (6, 3, 1, 3));
    let read = |(path, offset): (std::path::PathBuf, u64), bytes: usize| {
        let mut found = vec![0; bytes];
        fs::File::open(path).unwrap().read_exact_at(&mut found, offset).unwrap();
        found
    };
    let bitmaps = read(filter.bitmap_location(), 6 * 8);
    let of_query = read(filter.of_query_location(), 3 * 4);
    for query in 0..3 {
        let row = &bitmaps[usize::from(of_query[query * 4]) * 8..][..8];
        let admits = |id: i32| row[id as usize / 8] >> (id % 8) & 1 == 1;
        assert!((0..64).all(|id| admits(id) == filter.admits(query, id)));
    }
    // Queries at 0.25 and 4.75 on the line 0..5: what matches lies at the other end, or short of it.
    assert!([0, 1].iter().all(|&id| !filter.admits(0, id)) && [4, 5].iter().all(|&id| !filter.admits(2, id)));
    assert!(filter.admits(0, 3) && filter.admits(2, 2));
}

#[test]
fn a_selectivity_without_a_match_and_a_damaged_file_are_refused() {
    let place = Workplace::new();
    let data = data(&place);
    let refused = prepare(&data, &[options(0.0002, Correlation::None)], 10, &place.cache, &()).unwrap_err();
    assert!(refused.to_string().contains("`selectivity`: expected at least one filter"), "{refused}");
    let wanted = [options(0.01, Correlation::None)];
    let path = prepare(&data, &wanted, 10, &place.cache, &()).unwrap().remove(0);
    let whole = fs::read(&path).unwrap();
    let (_, offset) = PreparedFilter::open(&path).unwrap().bitmap_location();
    let (_, queries) = PreparedFilter::open(&path).unwrap().of_query_location();
    for (at, byte) in [(offset as usize, whole[offset as usize] ^ 1), (queries as usize, 99)] {
        let mut damaged = whole.clone();
        damaged[at] = byte;
        fs::write(&path, &damaged).unwrap();
        let error = PreparedFilter::open(&path).err().unwrap().to_string();
        assert!(error.contains(": section `") && error.contains("found"), "{error}");
        // It is made again.
        assert_eq!(prepare(&data, &wanted, 10, &place.cache, &()).unwrap()[0], path);
        assert_eq!(fs::read(&path).unwrap(), whole);
    }
}
