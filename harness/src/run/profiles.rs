//! Profiles: where time goes and who allocates, each taken in a worker of its own, never in one that is timed.
//!
//! One build and one search point stand for an index: its first build as written, and the middle one of that build's
//! search points at the first k. External workers have no profile.

use std::{collections::BTreeMap, fs, io, path::Path};

use nearlab_reports::record::{Event, Failure, Outcome, Profile};

use super::{
    RunError, State, Work,
    session::{Session, trial_failure},
};
use crate::{
    heap,
    plan::{Plan, PlannedSearch, PlannedTrial},
    protocol::{ProfileRequest, SearchRequest},
    spec::{Kind, Mode, Spec},
    trial::{Ended, Trouble},
    worker::SAMPLES_FILE,
};

/// Samples per second when a person asks for profiles that the experiment does not.
const DEFAULT_HZ: i32 = 199;

/// One profile to take.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Wanted<'a> {
    trial: &'a PlannedTrial,
    number: usize,
    /// `None`: heap.
    cpu_hz: Option<i32>,
}

impl Wanted<'_> {
    fn kind(&self) -> &'static str {
        if self.cpu_hz.is_some() { "cpu" } else { "heap" }
    }
}

/// The profiles still to be taken.
pub(super) fn wanted<'a>(spec: &Spec, plan: &'a Plan, work: &Work, state: &State) -> Vec<Wanted<'a>> {
    let (cpu_hz, heap, only) = match work {
        Work::Measure => (spec.profile.cpu_hz, spec.profile.heap, None),
        Work::Profile { index } if spec.profile.is_any() => (spec.profile.cpu_hz, spec.profile.heap, index.as_deref()),
        Work::Profile { index } => (Some(DEFAULT_HZ), true, index.as_deref()),
    };
    // Whoever asks for profiles alone wants those as well that were tried in vain.
    let by_name = matches!(work, Work::Profile { .. });
    let mut wanted = Vec::new();
    for index in spec.indexes.iter().filter(|index| only.is_none_or(|only| only == index.name)) {
        let of_index = plan.trials.iter().enumerate().filter(|(_, trial)| trial.index == index.name);
        let Some((number, trial)) = of_index.min_by_key(|(_, trial)| trial.written) else { continue };
        if trial.kind == Kind::External {
            continue;
        }
        let cpu = cpu_hz.map(|hz| Wanted { trial, number, cpu_hz: Some(hz) });
        let heap = heap.then_some(Wanted { trial, number, cpu_hz: None });
        let to_take = |one: &Wanted<'_>| {
            let (trial, kind) = (trial.hash.as_str(), one.kind());
            !state.is_profiled(trial, kind) && (by_name || !state.has_failed_profile(trial, kind))
        };
        wanted.extend(cpu.into_iter().chain(heap).filter(to_take));
    }
    wanted
}

/// Takes every profile that is wanted; an interruption ends it between two of them.
pub(super) fn take(session: &mut Session<'_>, work: &Work) -> Result<(), RunError> {
    for wanted in wanted(session.spec, session.plan, work, &session.state) {
        if super::interrupt::requested() {
            return Ok(());
        }
        let title = format!("{} {} profile", session.title(wanted.number, wanted.trial), wanted.kind());
        session.display.begin(&title);
        match take_one(session, &wanted)? {
            Ok(()) => session.display.end(&format!("{title} taken")),
            Err(Ended::Interrupted) => return Ok(()),
            Err(Ended::Trouble(trouble)) => {
                let failure = Failure {
                    search: Some(middle(wanted.trial).params.clone()),
                    ..trial_failure(wanted.trial, &format!("{} profile", wanted.kind()), trouble)
                };
                session.fail(failure)?;
            }
        }
    }
    Ok(())
}

fn take_one(session: &mut Session<'_>, wanted: &Wanted<'_>) -> Result<Result<(), Ended>, RunError> {
    let trial = wanted.trial;
    let relative = format!("profiles/{}/{}", trial.hash, wanted.kind());
    let folder = session.folder.path().join(&relative);
    fs::create_dir_all(&folder).map_err(RunError::file("make the folder", &folder))?;
    let folder = std::path::absolute(&folder).map_err(RunError::file("find", &folder))?;
    let request = match wanted.cpu_hz {
        Some(hz) => ProfileRequest::Cpu { hz, folder: folder.clone() },
        None => ProfileRequest::Heap { file: folder.join("dhat.json") },
    };
    let search = middle(trial);
    let mut worker = match session.start_worker(trial, Some(request))? {
        Ok((worker, _)) => worker,
        Err(ended) => return Ok(Err(ended)),
    };
    let request = SearchRequest {
        filters: search.filter.and_then(|filter| session.data.filter_files(&filter)),
        ..search_request(search, &folder)
    };
    let display = session.display;
    if let Err(trouble) = worker.search(&request, &mut |step| display.step(&step.stage, step.done, step.total)) {
        return Ok(Err(trouble.into()));
    }
    // dhat writes its file when the worker leaves.
    if let Err(trouble) = worker.finish() {
        return Ok(Err(trouble.into()));
    }
    remove(&request.ids)?;
    let profiles = match wanted.cpu_hz {
        Some(_) => cpu_profiles(trial, search, &folder, &relative),
        None => heap_profile(trial, search, &folder, &relative).map(|profile| vec![profile]),
    };
    match profiles {
        Ok(profiles) => {
            for profile in profiles {
                session.state.note_profile(&profile.trial, &profile.kind);
                session.journal.record(&Event::Profile(profile))?;
            }
            Ok(Ok(()))
        }
        Err(message) => Ok(Err(Trouble::new(Outcome::Protocol, message).into())),
    }
}

/// The search point that stands for a trial.
fn middle(trial: &PlannedTrial) -> &PlannedSearch {
    let mut points: Vec<&PlannedSearch> = trial.searches.iter().collect();
    points.sort_by_key(|search| search.written);
    let first_k = points[0].k;
    points.retain(|search| search.k == first_k);
    points.dedup_by(|a, b| a.params == b.params);
    points[points.len() / 2]
}

/// One pass, query by query; where the answers go does not matter.
fn search_request(search: &PlannedSearch, folder: &Path) -> SearchRequest {
    SearchRequest {
        key: search.key.clone(),
        k: search.k,
        params: search.params.clone(),
        mode: if search.filter.is_some() { Mode::Filtered } else { Mode::Latency }.as_str().to_owned(),
        threads: 1,
        warmup: 0,
        ids: folder.join("ids.bin"),
        latencies: None,
        filters: None,
    }
}

fn remove(path: &Path) -> Result<(), RunError> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(RunError::file("remove", path)(error)),
        _ => Ok(()),
    }
}

fn cpu_profiles(
    trial: &PlannedTrial,
    search: &PlannedSearch,
    folder: &Path,
    relative: &str,
) -> Result<Vec<Profile>, String> {
    let path = folder.join(SAMPLES_FILE);
    let text = fs::read(&path).map_err(|error| format!("cannot read {}: {error}", path.display()))?;
    let samples: BTreeMap<String, u64> =
        serde_json::from_slice(&text).map_err(|error| format!("{}: {error}", path.display()))?;
    let profile = |(stage, samples): (String, u64)| Profile {
        stage: stage.clone(),
        files: [("flamegraph", "svg"), ("protobuf", "pb")]
            .into_iter()
            .filter(|(_, extension)| folder.join(format!("{stage}.{extension}")).is_file())
            .map(|(label, extension)| (label.to_owned(), format!("{relative}/{stage}.{extension}")))
            .collect(),
        samples: Some(samples),
        ..blank(trial, search, "cpu")
    };
    Ok(samples.into_iter().map(profile).collect())
}

fn heap_profile(
    trial: &PlannedTrial,
    search: &PlannedSearch,
    folder: &Path,
    relative: &str,
) -> Result<Profile, String> {
    let heap = heap::read(&folder.join("dhat.json")).map_err(|error| error.to_string())?;
    Ok(Profile {
        stage: "all".to_owned(),
        files: BTreeMap::from([("dhat".to_owned(), format!("{relative}/dhat.json"))]),
        heap: Some(heap),
        ..blank(trial, search, "heap")
    })
}

fn blank(trial: &PlannedTrial, search: &PlannedSearch, kind: &str) -> Profile {
    Profile {
        trial: trial.hash.clone(),
        index: trial.index.clone(),
        params: trial.build.clone(),
        search: search.params.clone(),
        kind: kind.to_owned(),
        stage: String::new(),
        files: BTreeMap::new(),
        samples: None,
        heap: None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{plan::Facts, spec::Surroundings};

    #[test]
    fn a_profile_tried_in_vain_is_wanted_again_by_whoever_asks_for_profiles() {
        let yaml = "question: Where does time go?\ndataset: {use: x.hdf5}\nk: [10]\n\
                    indexes:\n  - {name: graph, kind: hnsw}\n\
                    workloads:\n  - {name: single, mode: latency}\n\
                    profile: {cpu: {}, heap: true}\n";
        let spec = crate::spec::parse(Path::new("x.yaml"), yaml, &Surroundings::of_process()).unwrap();
        let plan = crate::plan::expand(&spec, &Facts::default()).unwrap();
        let kinds = |work: &Work, state: &State| -> Vec<&str> {
            wanted(&spec, &plan, work, state).iter().map(Wanted::kind).collect()
        };
        let (measure, profile) = (Work::Measure, Work::Profile { index: None });
        let mut state = State::default();
        assert_eq!(kinds(&measure, &state), ["cpu", "heap"]);
        let trouble = Trouble::new(Outcome::Crashed, "it left");
        state.note_failure(&trial_failure(&plan.trials[0], "cpu profile", trouble));
        assert_eq!(kinds(&measure, &state), ["heap"]);
        assert_eq!(kinds(&profile, &state), ["cpu", "heap"]);
        state.note_profile(&plan.trials[0].hash, "cpu");
        assert_eq!(kinds(&profile, &state), ["heap"]);
    }

    fn search(written: usize, k: usize, ef: u64) -> PlannedSearch {
        PlannedSearch {
            key: written.to_string(),
            params: [("ef_search".to_owned(), ef.into())].into(),
            k,
            workload: "single".into(),
            mode: Mode::Latency,
            filter: None,
            threads: 1,
            repeat: 0,
            order: 0,
            seconds: None,
            written,
        }
    }

    #[test]
    fn the_middle_point_is_the_middle_as_written_at_the_first_k() {
        let searches =
            vec![search(3, 10, 40), search(0, 10, 10), search(1, 10, 10), search(2, 10, 20), search(4, 100, 80)];
        let trial = PlannedTrial {
            hash: "t".into(),
            index: "hnsw".into(),
            kind: Kind::Hnsw,
            worker: None,
            worker_version: None,
            build: BTreeMap::new(),
            threads: 1,
            seed: 1,
            searches,
            cost: crate::plan::Cost::default(),
            written: 0,
        };
        assert_eq!(middle(&trial).params["ef_search"], 20);
    }

    #[test]
    fn a_sample_count_without_a_graph_has_no_files() {
        let folder = tempfile::tempdir().unwrap();
        let trial_search = search(0, 10, 10);
        let trial = PlannedTrial {
            hash: "t".into(),
            index: "hnsw".into(),
            kind: Kind::Hnsw,
            worker: None,
            worker_version: None,
            build: BTreeMap::new(),
            threads: 1,
            seed: 1,
            searches: vec![trial_search.clone()],
            cost: crate::plan::Cost::default(),
            written: 0,
        };
        assert!(cpu_profiles(&trial, &trial_search, folder.path(), "p").is_err());
        fs::write(folder.path().join(SAMPLES_FILE), r#"{"build": 0, "search": 9}"#).unwrap();
        fs::write(folder.path().join("search.svg"), "<svg/>").unwrap();
        let profiles = cpu_profiles(&trial, &trial_search, folder.path(), "p").unwrap();
        assert_eq!((profiles[0].stage.as_str(), profiles[0].files.len()), ("build", 0));
        assert_eq!(profiles[1].files["flamegraph"], "p/search.svg");
    }
}
