//! Profiles of a worker: pprof's CPU samples, dhat's heap counts. Never part of a timed run.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use pprof::{ProfilerGuard, ProfilerGuardBuilder, protos::Message};

use super::{
    Pass,
    engine::{Engine, EngineError, Job},
};
use crate::{heap, protocol::ProfileRequest};

/// Shortest time that searches are sampled for.
const SEARCH_SECONDS: Duration = Duration::from_secs(2);
/// Libraries whose frames are not unwound: a signal inside of them may hold locks that the unwinder needs.
const BLOCKED: [&str; 4] = ["libc", "libgcc", "pthread", "vdso"];
/// How many samples each stage gave: `{"build": 120, "search": 400}`.
pub(crate) const SAMPLES_FILE: &str = "samples.json";

/// Why a profile cannot be taken.
#[derive(Debug, thiserror::Error)]
pub(super) enum ProfileError {
    /// pprof refused.
    #[error("cannot sample the CPU: {0}")]
    Sampler(#[from] pprof::Error),
    /// A file cannot be written.
    #[error("cannot write {}: {source}", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
}

/// The profile of one worker process.
pub(super) enum Profile {
    /// A timed run: none.
    None,
    /// CPU samples, stage by stage.
    Cpu(CpuProfile),
    /// Heap counts from here to the end; written when dropped.
    Heap(dhat::Profiler),
}

/// CPU samples, stage by stage.
pub(super) struct CpuProfile {
    hz: i32,
    folder: PathBuf,
    samples: BTreeMap<&'static str, u64>,
}

impl Profile {
    /// Starts what is asked for. Heap counting begins now.
    pub(super) fn start(request: Option<&ProfileRequest>) -> Result<Self, ProfileError> {
        match request {
            None => Ok(Self::None),
            Some(ProfileRequest::Cpu { hz, folder }) => {
                fs::create_dir_all(folder).map_err(|source| ProfileError::Write { path: folder.clone(), source })?;
                Ok(Self::Cpu(CpuProfile { hz: *hz, folder: folder.clone(), samples: BTreeMap::new() }))
            }
            Some(ProfileRequest::Heap { file }) => {
                heap::switch_on();
                Ok(Self::Heap(dhat::Profiler::builder().file_name(file).build()))
            }
        }
    }

    /// Runs a build, sampled if that was asked for.
    pub(super) fn build<T>(&mut self, build: impl FnOnce() -> T) -> Result<T, ProfileError> {
        match self {
            Self::None | Self::Heap(_) => Ok(build()),
            Self::Cpu(cpu) => cpu.sample("build", build),
        }
    }

    /// Runs a search; under CPU sampling again and again until there is something to see.
    pub(super) fn search(
        &mut self,
        engine: &dyn Engine,
        job: &Job<'_>,
    ) -> Result<Result<Pass, EngineError>, ProfileError> {
        match self {
            Self::None | Self::Heap(_) => Ok(engine.measure(job)),
            Self::Cpu(cpu) => cpu.sample("search", || {
                let start = Instant::now();
                loop {
                    let pass = engine.measure(job);
                    if pass.is_err() || start.elapsed() >= SEARCH_SECONDS {
                        return pass;
                    }
                }
            }),
        }
    }
}

impl CpuProfile {
    fn sample<T>(&mut self, stage: &'static str, work: impl FnOnce() -> T) -> Result<T, ProfileError> {
        let guard = ProfilerGuardBuilder::default().frequency(self.hz).blocklist(&BLOCKED).build()?;
        let result = work();
        let samples = self.write(stage, &guard)?;
        self.samples.insert(stage, samples);
        let counts = serde_json::to_vec(&self.samples).expect("names and numbers are JSON");
        self.write_file(SAMPLES_FILE, &counts)?;
        Ok(result)
    }

    /// Writes the flame graph and the protobuf; nothing when there was no sample.
    fn write(&self, stage: &str, guard: &ProfilerGuard<'_>) -> Result<u64, ProfileError> {
        let report = guard.report().build()?;
        let samples: u64 = report.data.values().map(|&count| count.max(0) as u64).sum();
        if samples > 0 {
            let mut svg = Vec::new();
            report.flamegraph(&mut svg)?;
            self.write_file(&format!("{stage}.svg"), &svg)?;
            let mut profile = report.pprof()?;
            for text in &mut profile.string_table {
                *text = without_machine(text).to_owned();
            }
            self.write_file(&format!("{stage}.pb"), &profile.encode_to_vec())?;
        }
        Ok(samples)
    }

    fn write_file(&self, name: &str, bytes: &[u8]) -> Result<(), ProfileError> {
        let path = self.folder.join(name);
        write_whole(&path, bytes).map_err(|source| ProfileError::Write { path, source })
    }
}

/// A source path as it is on every machine: below a crate's folder or the workspace. Profiles are published.
fn without_machine(text: &str) -> &str {
    if let Some((_, below)) = text.split_once("/registry/src/") {
        return below.split_once('/').map_or(below, |(_, path)| path);
    }
    let workspace = env!("CARGO_MANIFEST_DIR").trim_end_matches("harness");
    text.strip_prefix(workspace).unwrap_or(text)
}

/// Writes under another name and renames.
pub(super) fn write_whole(path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    let mut name = path.as_os_str().to_owned();
    name.push(".tmp");
    let temporary = PathBuf::from(name);
    fs::write(&temporary, bytes).and_then(|()| fs::rename(&temporary, path)).inspect_err(|_| {
        // The disk may be full: leave nothing behind.
        let _absent = fs::remove_file(&temporary);
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn source_paths_lose_what_belongs_to_one_machine() {
        let dependency = "/home/a/.cargo/registry/src/index-0123/rayon-1.12.0/src/iter/map.rs";
        assert_eq!(without_machine(dependency), "rayon-1.12.0/src/iter/map.rs");
        let ours = concat!(env!("CARGO_MANIFEST_DIR"), "/src/worker/profile.rs");
        assert_eq!(without_machine(ours), "harness/src/worker/profile.rs");
        assert_eq!(without_machine("nearlab_index::hnsw::search"), "nearlab_index::hnsw::search");
    }
}
