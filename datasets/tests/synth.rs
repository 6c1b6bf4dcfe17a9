//! Synthetic sets: the same rows whoever makes them, and the shape each kind promises.

#![expect(clippy::unwrap_used, reason = "a test that cannot set up its world should stop")]

use nearlab_datasets::synth::{Part, Synth, SynthError, SynthKind, SynthSpec, generate};
use nearlab_simd::Metric;

const KINDS: [SynthKind; 4] = [SynthKind::Uniform, SynthKind::Clustered, SynthKind::LowIntrinsic, SynthKind::Embedding];

fn pool(threads: usize) -> rayon::ThreadPool {
    rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap()
}

fn all(synth: &Synth, part: Part) -> Vec<f32> {
    let mut out = vec![0.0; synth.rows(part) * synth.spec().d];
    synth.fill(part, 0, &mut out);
    out
}

fn squared_distance(a: &[f32], b: &[f32]) -> f32 {
    a.iter().zip(b).map(|(x, y)| (x - y) * (x - y)).sum()
}

/// Mean over queries of (mean distance / nearest distance).
fn contrast(synth: &Synth) -> f32 {
    let (train, queries, d) = (all(synth, Part::Train), all(synth, Part::Queries), synth.spec().d);
    let per_query = queries.chunks_exact(d).map(|query| {
        let distances: Vec<f32> = train.chunks_exact(d).map(|row| squared_distance(query, row).sqrt()).collect();
        let nearest = distances.iter().copied().fold(f32::INFINITY, f32::min);
        distances.iter().sum::<f32>() / distances.len() as f32 / nearest
    });
    per_query.sum::<f32>() / synth.spec().queries as f32
}

#[test]
fn a_seed_gives_the_same_rows_on_any_number_of_threads_and_in_any_blocks() {
    for kind in KINDS {
        let synth = generate(&SynthSpec::new(kind, 700, 24, 30, 7)).unwrap();
        let whole = all(&synth, Part::Train);
        for threads in [1, 3] {
            let pool = pool(threads);
            let blocks: Vec<f32> = synth.blocks(Part::Train, &pool).flatten().collect();
            assert_eq!(blocks, whole, "{kind}, {threads} threads");
            let mut some = vec![0.0; 24 * 5];
            synth.fill_parallel(Part::Train, 300, &mut some, &pool);
            assert_eq!(some, whole[300 * 24..305 * 24], "{kind}");
        }
        let again = generate(&SynthSpec::new(kind, 700, 24, 30, 7)).unwrap();
        assert_eq!(all(&again, Part::Queries), all(&synth, Part::Queries));
        let other = generate(&SynthSpec::new(kind, 700, 24, 30, 8)).unwrap();
        assert_ne!(all(&other, Part::Train)[..24], whole[..24], "{kind}: another seed, another set");
        assert!(whole.iter().all(|x| x.is_finite()));
    }
}

#[test]
fn a_large_set_comes_in_several_blocks_of_whole_rows() {
    let synth = generate(&SynthSpec::new(SynthKind::Uniform, 9_000, 1_000, 1, 1)).unwrap();
    let pool = pool(2);
    let lengths: Vec<usize> = synth.blocks(Part::Train, &pool).map(|block| block.len()).collect();
    assert_eq!(lengths.iter().sum::<usize>(), 9_000_000);
    assert!(lengths.len() == 3 && lengths.iter().all(|length| length % 1_000 == 0), "{lengths:?}");
}

#[test]
fn no_query_is_a_base_row() {
    for kind in KINDS {
        let synth = generate(&SynthSpec::new(kind, 200, 8, 50, 1)).unwrap();
        let (train, queries) = (all(&synth, Part::Train), all(&synth, Part::Queries));
        for query in queries.chunks_exact(8) {
            assert!(train.chunks_exact(8).all(|row| row != query), "{kind}");
        }
    }
}

#[test]
fn uniform_rows_fill_the_unit_cube() {
    let rows = all(&generate(&SynthSpec::new(SynthKind::Uniform, 2_000, 10, 1, 3)).unwrap(), Part::Train);
    assert!(rows.iter().all(|x| (0.0..1.0).contains(x)));
    let mean = rows.iter().sum::<f32>() / rows.len() as f32;
    assert!((mean - 0.5).abs() < 0.01, "{mean}");
}

#[test]
fn clusters_make_neighbours_stand_out() {
    let clustered = generate(&SynthSpec::new(SynthKind::Clustered, 2_000, 32, 40, 3)).unwrap();
    let uniform = generate(&SynthSpec::new(SynthKind::Uniform, 2_000, 32, 40, 3)).unwrap();
    assert!(contrast(&clustered) > 1.5 * contrast(&uniform), "{} {}", contrast(&clustered), contrast(&uniform));
    assert_eq!(clustered.spec().clusters, Some(45));
    assert_eq!(clustered.metric(), Metric::L2);
}

#[test]
fn low_intrinsic_rows_lie_in_their_subspace() {
    let mut spec = SynthSpec::new(SynthKind::LowIntrinsic, 40, 32, 5, 3);
    (spec.intrinsic, spec.noise) = (Some(4), Some(0.0));
    let rows = all(&generate(&spec).unwrap(), Part::Train);
    // Gram-Schmidt over the first four rows must explain all others.
    let mut basis: Vec<Vec<f32>> = Vec::new();
    for (i, row) in rows.chunks_exact(32).enumerate() {
        let mut rest = row.to_vec();
        for axis in &basis {
            let along: f32 = rest.iter().zip(axis).map(|(x, a)| x * a).sum();
            rest.iter_mut().zip(axis).for_each(|(x, a)| *x -= along * a);
        }
        let length = rest.iter().map(|x| x * x).sum::<f32>().sqrt();
        if i < 4 {
            basis.push(rest.iter().map(|x| x / length).collect());
        } else {
            assert!(length < 1e-3, "row {i} leaves the subspace by {length}");
        }
    }
    let thin = generate(&SynthSpec::new(SynthKind::LowIntrinsic, 1_000, 64, 20, 1)).unwrap();
    let thick = generate(&SynthSpec { intrinsic: Some(64), ..thin.spec().clone() }).unwrap();
    assert!(contrast(&thin) > 1.2 * contrast(&thick));
}

#[test]
fn embeddings_have_unit_norm_a_common_mean_and_a_decaying_spectrum() {
    let synth = generate(&SynthSpec::new(SynthKind::Embedding, 3_000, 96, 10, 3)).unwrap();
    let (rows, d) = (all(&synth, Part::Train), 96);
    let mut mean = vec![0.0_f32; d];
    for row in rows.chunks_exact(d) {
        assert!((row.iter().map(|x| x * x).sum::<f32>() - 1.0).abs() < 1e-5);
        mean.iter_mut().zip(row).for_each(|(m, x)| *m += x / 3_000.0);
    }
    let common: f32 = mean.iter().map(|m| m * m).sum();
    assert!((0.6..0.8).contains(&common), "squared length of the mean: {common}");
    // Power iteration: the first principal direction holds far more than its even share, but no coordinate does.
    let mut axis = vec![1.0_f32; d];
    let mut variance = 0.0;
    for _ in 0..20 {
        let mut next = vec![0.0; d];
        for row in rows.chunks_exact(d) {
            let along: f32 = row.iter().zip(&mean).zip(&axis).map(|((x, m), a)| (x - m) * a).sum();
            next.iter_mut().zip(row.iter().zip(&mean)).for_each(|(y, (x, m))| *y += along * (x - m) / 3_000.0);
        }
        variance = next.iter().map(|x| x * x).sum::<f32>().sqrt();
        axis = next.iter().map(|x| x / variance).collect();
    }
    let share = variance / (1.0 - common);
    assert!(share > 0.08, "share of the first direction: {share}, even would be {}", 1.0 / d as f32);
    assert!(axis.iter().all(|a| a.abs() < 0.9), "the rotation mixes coordinates");
    assert_eq!(synth.metric(), Metric::Cosine);
}

#[test]
fn a_spec_reads_from_yaml_and_says_what_it_is() {
    let spec: SynthSpec =
        serde_saphyr::from_str("{kind: clustered, n: 100, d: 4, queries: 5, seed: 7, clusters: 3}").unwrap();
    let resolved = generate(&spec).unwrap().spec().to_string();
    assert_eq!(resolved, "synthetic: clustered, n 100, d 4, queries 5, seed 7, clusters 3, spread 0.1");
    let error = serde_saphyr::from_str::<SynthSpec>("{kind: uniform, n: 1, d: 4, queries: 5, sed: 7}").unwrap_err();
    assert!(error.to_string().contains("seed"), "{error}");
    assert_eq!("low-intrinsic".parse(), Ok(SynthKind::LowIntrinsic));
    let message = "gaussian".parse::<SynthKind>().unwrap_err().to_string();
    assert_eq!(message, "kind: expected uniform, clustered, low_intrinsic or embedding, found gaussian");
}

#[test]
fn impossible_specs_are_refused_with_the_range() {
    let of = |kind, change: fn(&mut SynthSpec)| {
        let mut spec = SynthSpec::new(kind, 10, 4, 2, 0);
        change(&mut spec);
        generate(&spec).map(|_| ()).expect_err("the spec is impossible")
    };
    for (kind, change, expected) in [
        (SynthKind::Uniform, (|s| s.n = 0) as fn(&mut SynthSpec), "n: expected at least 1, found 0"),
        (SynthKind::Uniform, |s| s.d = 0, "d: expected at least 1, found 0"),
        (SynthKind::Uniform, |s| s.queries = 0, "queries: expected at least 1, found 0"),
        (SynthKind::Clustered, |s| s.clusters = Some(0), "clusters: expected at least 1"),
        (SynthKind::Clustered, |s| s.spread = Some(0.0), "spread: expected a positive number, found 0"),
        (SynthKind::Clustered, |s| s.spread = Some(f64::INFINITY), "spread: expected a positive number, found inf"),
        (SynthKind::LowIntrinsic, |s| s.intrinsic = Some(5), "intrinsic: expected at most d, found 5"),
        (SynthKind::LowIntrinsic, |s| s.noise = Some(-0.1), "noise: expected a number of at least 0"),
        (SynthKind::Embedding, |s| s.spread = Some(1.5), "spread: expected a number in (0, 1], found 1.5"),
        (SynthKind::Embedding, |s| s.decay = Some(f64::NAN), "decay: expected a number of at least 0, found NaN"),
        (SynthKind::Embedding, |s| s.common = Some(1.0), "common: expected a number in [0, 1), found 1"),
    ] {
        let message = of(kind, change).to_string();
        assert!(message.contains(expected), "{message}\nexpected: {expected}");
    }
    let foreign = of(SynthKind::Uniform, |s| s.clusters = Some(3));
    assert!(matches!(foreign, SynthError::Foreign { parameter: "clusters", .. }));
    assert_eq!(foreign.to_string(), "clusters means nothing for uniform data; it belongs to clustered and embedding");
}

#[test]
#[should_panic(expected = "does not hold whole rows")]
fn a_buffer_of_broken_rows_is_a_mistake() {
    generate(&SynthSpec::new(SynthKind::Uniform, 4, 3, 1, 0)).unwrap().fill(Part::Train, 0, &mut [0.0; 4]);
}

#[test]
#[should_panic(expected = "rows up to 5 were asked of a part that has 4")]
fn rows_beyond_the_end_are_a_mistake() {
    generate(&SynthSpec::new(SynthKind::Uniform, 4, 3, 1, 0)).unwrap().fill(Part::Train, 3, &mut [0.0; 6]);
}
