//! The conversation of a whole worker, over small vectors.

use std::{collections::BTreeMap, path::PathBuf};

use super::*;
use crate::protocol::{Filters, Matrix};

/// A trial over 60 vectors of 4 dimensions, its first 5 the queries.
fn laboratory(kind: &str) -> (tempfile::TempDir, Trial) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("vectors");
    let vectors: Vec<f32> = (0..240u32).map(|x| (x.wrapping_mul(2_654_435_761) >> 20) as f32 / 4096.0).collect();
    fs::write(&path, bytemuck::cast_slice(&vectors)).unwrap();
    let train = Matrix { path, offset: 0, n: 60, d: 4, element: "f32".into() };
    let trial = Trial {
        protocol: PROTOCOL,
        trial: "t".into(),
        kind: kind.into(),
        build: BTreeMap::new(),
        threads: 2,
        seed: 1,
        metric: "l2".into(),
        test: Matrix { n: 5, ..train.clone() },
        train,
        save: None,
        profile: None,
    };
    (folder, trial)
}

fn request(folder: &Path, mode: &str, params: serde_json::Value) -> SearchRequest {
    SearchRequest {
        key: "key".into(),
        k: 3,
        params: serde_json::from_value(params).unwrap(),
        mode: mode.into(),
        threads: 2,
        warmup: 1,
        ids: folder.join("ids"),
        latencies: (mode == "latency").then(|| folder.join("ns")),
        filters: None,
    }
}

/// What the worker says to some requests, and how it ends.
fn talk(folder: &Path, trial: &Trial, requests: &[Request]) -> (Vec<Reply>, Result<(), WorkerError>) {
    let path = folder.join("trial.json");
    fs::write(&path, serde_json::to_vec(trial).unwrap()).unwrap();
    let lines: Vec<String> = requests.iter().map(|request| serde_json::to_string(request).unwrap()).collect();
    let mut said = Vec::new();
    let end = serve(&path, io::Cursor::new(lines.join("\n")), &mut said);
    let replies = said.split(|&byte| byte == b'\n').filter(|line| !line.is_empty());
    let replies: Vec<Reply> = replies.map(|line| serde_json::from_slice(line).unwrap()).collect();
    let quiet = |reply: &Reply| !matches!(reply, Reply::Building { .. } | Reply::Searching { .. });
    (replies.into_iter().filter(quiet).collect(), end)
}

fn failure(replies: &[Reply]) -> (&str, &str) {
    match replies.last() {
        Some(Reply::Failed { stage, message }) => (stage, message),
        other => panic!("expected `failed`, found {other:?}"),
    }
}

#[test]
fn every_kind_finds_each_query_itself_in_both_modes() {
    for (kind, build, search) in [
        ("flat", serde_json::json!({}), serde_json::json!({})),
        ("hnsw", serde_json::json!({"m": 4, "ef_construction": 20}), serde_json::json!({"ef_search": 60})),
        (
            "hnsw",
            serde_json::json!({"m": 4, "codes": "sq4", "components": 2, "rerank_codes": "f32"}),
            serde_json::json!({"ef_search": 60, "rerank": 40}),
        ),
        ("ivf", serde_json::json!({"nlist": 4, "iterations": 3}), serde_json::json!({"nprobe": 4})),
    ] {
        let (folder, mut trial) = laboratory(kind);
        trial.build = serde_json::from_value(build).unwrap();
        trial.save = Some(folder.path().join("index"));
        for mode in ["latency", "throughput"] {
            let search = Request::Search(request(folder.path(), mode, search.clone()));
            let (replies, end) = talk(folder.path(), &trial, &[search, Request::Exit {}]);
            assert!(end.is_ok(), "{kind} {mode}: {end:?}");
            let [Reply::Hello { protocol: PROTOCOL, .. }, Reply::Built(built), Reply::Searched(searched)] =
                &replies[..]
            else {
                panic!("{kind} {mode}: {replies:?}")
            };
            assert!(matches!(&replies[0], Reply::Hello { simd_tier: Some(tiers), .. } if !tiers.is_empty()));
            assert!(built.digest.is_some() && !built.memory.is_empty() && built.stages.load > 0.0, "{built:?}");
            assert!(searched.wall_seconds > 0.0 && searched.counters.is_some_and(|c| c.distance_computations > 0));
            let bytes = fs::read(folder.path().join("ids")).unwrap();
            let ids: Vec<i32> = bytes.as_chunks().0.iter().map(|&bytes| i32::from_le_bytes(bytes)).collect();
            assert_eq!(ids.iter().copied().step_by(3).collect::<Vec<_>>(), [0, 1, 2, 3, 4], "{kind} {mode}");
        }
        assert_eq!(fs::read(folder.path().join("ns")).unwrap().len(), 40);
        assert!(folder.path().join("index").is_file());
    }
}

/// Makes a good trial a bad one.
type Spoil = fn(&mut Trial);

#[test]
fn a_trial_that_cannot_be_built_says_why() {
    let spoilt: [(&str, Spoil); 8] = [
        ("there is no index kind `tree`", |trial| trial.kind = "tree".into()),
        ("there is no metric `miles`", |trial| trial.metric = "miles".into()),
        ("queries have 2 dimensions, base vectors 4", |trial| trial.test.d = 2),
        ("cannot map", |trial| trial.train.path = PathBuf::from("/nowhere")),
        ("`m` must be a whole number", |trial| {
            trial.build.insert("m".into(), "many".into());
        }),
        ("`m`", |trial| {
            trial.build.insert("m".into(), 1.into());
        }),
        (
            "`codes` must be one of f32, f16, bf16, sq8, sq4, lvq4, lvq8, sq8-dim, rabitq1, rabitq2, rabitq3, rabitq4, rabitq5, rabitq6, rabitq7, rabitq8, pq4, pq8, pq4-blocks, found \"sp4\"",
            |trial| {
                trial.build.insert("codes".into(), "sp4".into());
            },
        ),
        ("`components` must be 0 for codes other than sq4, found 2", |trial| {
            trial.build.insert("components".into(), 2.into());
        }),
    ];
    for (words, spoil) in spoilt {
        let (folder, mut trial) = laboratory("hnsw");
        spoil(&mut trial);
        let (replies, end) = talk(folder.path(), &trial, &[]);
        let (stage, message) = failure(&replies);
        assert!(stage == "build" && message.contains(words), "{message}");
        assert!(matches!(end, Err(WorkerError::Build(_))));
    }
}

#[test]
fn a_search_that_cannot_be_done_is_refused_and_the_next_one_answered() {
    let (folder, trial) = laboratory("hnsw");
    let good = request(folder.path(), "latency", serde_json::json!({"ef_search": 10}));
    for (words, bad) in [
        ("k is 0", SearchRequest { k: 0, ..good.clone() }),
        ("mode filtered and its filters", SearchRequest { mode: "filtered".into(), ..good.clone() }),
        (
            "mode latency and its filters",
            SearchRequest { filters: Some(Box::new(filters(folder.path()))), ..good.clone() },
        ),
        (
            "one filter for each of 5 queries",
            SearchRequest {
                filters: Some(Box::new(Filters {
                    of_query: Matrix { n: 4, ..filters(folder.path()).of_query },
                    ..filters(folder.path())
                })),
                ..good.clone()
            },
        ),
        ("there is no mode `soon`", SearchRequest { mode: "soon".into(), ..good.clone() }),
        ("`ef_search` is missing", SearchRequest { params: BTreeMap::new(), ..good.clone() }),
        ("ef_search", request(folder.path(), "throughput", serde_json::json!({"ef_search": 0}))),
        ("cannot write", SearchRequest { ids: "/nowhere/ids".into(), ..good.clone() }),
        ("cannot write", SearchRequest { latencies: Some("/nowhere/ns".into()), ..good.clone() }),
    ] {
        let requests = [Request::Search(good.clone()), Request::Search(bad)];
        let (replies, end) = talk(folder.path(), &trial, &requests);
        let (stage, message) = failure(&replies);
        assert!(stage == "search" && message.contains(words), "{message}");
        assert!(end.is_ok(), "the end of input is a good end");
        let (replies, _) = talk(folder.path(), &trial, &[requests[1].clone(), requests[0].clone()]);
        assert!(matches!(replies.last(), Some(Reply::Searched(_))), "{replies:?}");
    }
}

#[test]
fn a_search_whose_latencies_cannot_be_written_leaves_no_ids_either() {
    let (folder, trial) = laboratory("flat");
    let good = request(folder.path(), "latency", serde_json::json!({}));
    let bad = SearchRequest { latencies: Some("/nowhere/ns".into()), ..good.clone() };
    let (replies, _) = talk(folder.path(), &trial, &[Request::Search(bad)]);
    assert!(failure(&replies).1.contains("cannot write /nowhere/ns"), "{replies:?}");
    assert!(!good.ids.exists());
    let (_, end) = talk(folder.path(), &trial, &[Request::Search(good.clone())]);
    assert!(end.is_ok() && good.ids.exists());
}

/// Filters over the 60 vectors: the even ids, and the ids from 57 on; each query of an odd position uses the second.
fn filters(folder: &Path) -> Filters {
    let path = folder.join("filters");
    let (even, last) = (0x0555_5555_5555_5555_u64, 0b111_u64 << 57);
    let bytes = [bytemuck::bytes_of(&[even, last]), bytemuck::bytes_of(&[0_i32, 1, 0, 1, 0])].concat();
    fs::write(&path, bytes).unwrap();
    Filters {
        bitmaps: Matrix { path: path.clone(), offset: 0, n: 2, d: 8, element: "u8".into() },
        of_query: Matrix { path, offset: 16, n: 5, d: 1, element: "i32".into() },
    }
}

#[test]
fn every_kind_finds_only_what_the_filters_admit() {
    for (kind, build, search) in [
        ("flat", serde_json::json!({}), serde_json::json!({})),
        ("hnsw", serde_json::json!({"m": 4, "ef_construction": 20}), serde_json::json!({"ef_search": 60})),
        ("ivf", serde_json::json!({"nlist": 4, "iterations": 3}), serde_json::json!({"nprobe": 4})),
    ] {
        let (folder, mut trial) = laboratory(kind);
        trial.build = serde_json::from_value(build).unwrap();
        let asked = SearchRequest {
            k: 4,
            filters: Some(Box::new(filters(folder.path()))),
            latencies: Some(folder.path().join("ns")),
            ..request(folder.path(), "filtered", search)
        };
        let (replies, end) = talk(folder.path(), &trial, &[Request::Search(asked)]);
        assert!(end.is_ok() && matches!(replies.last(), Some(Reply::Searched(_))), "{kind}: {replies:?}");
        let bytes = fs::read(folder.path().join("ids")).unwrap();
        let ids: Vec<i32> = bytes.as_chunks().0.iter().map(|&bytes| i32::from_le_bytes(bytes)).collect();
        let rows: Vec<&[i32]> = ids.chunks_exact(4).collect();
        assert!([0, 2, 4].iter().all(|&query| rows[query][0] == query as i32), "{kind}: {ids:?}");
        assert!([0, 2, 4].iter().all(|&query| rows[query].iter().all(|id| id % 2 == 0 && *id >= 0)), "{kind}: {ids:?}");
        for query in [1, 3] {
            let mut found = rows[query].to_vec();
            found[..3].sort_unstable();
            assert_eq!(found, [57, 58, 59, -1], "{kind}");
        }
        assert_eq!(fs::read(folder.path().join("ns")).unwrap().len(), 40);
    }
}

#[test]
fn what_is_no_trial_or_no_request_ends_the_worker() {
    let (folder, mut trial) = laboratory("flat");
    let path = folder.path().join("trial.json");
    let end = serve(&path, io::empty(), Vec::new()).unwrap_err();
    assert!(matches!(end, WorkerError::ReadTrial { .. }), "{end}");
    fs::write(&path, "{").unwrap();
    let end = serve(&path, io::empty(), Vec::new()).unwrap_err();
    assert!(matches!(end, WorkerError::NotATrial { .. }), "{end}");
    fs::write(&path, serde_json::to_vec(&trial).unwrap()).unwrap();
    let end = serve(&path, io::Cursor::new("dig\n"), Vec::new()).unwrap_err();
    assert!(end.to_string().starts_with("not a request: dig"), "{end}");
    trial.protocol = 7;
    let (_, end) = talk(folder.path(), &trial, &[]);
    assert!(matches!(end, Err(WorkerError::Protocol { found: 7 })));
}
