//! `nearlab worker TRIAL`, where the trial is one of a store: does what it says and hands in figures.
//!
//! This is the program whose time is the result. Everything that is not what a user of the store would wait for (mapping and
//! converting the rows, making ids and records, warming the cache, writing samples) happens outside of the clock.
//!
//! | file | what |
//! |---|---|
//! | `contestant` | what is asked of a store of vectors, and nearlab's |
//! | `plain` | the plain file |
//! | `rows` | the modes that keep vectors |
//! | `records` | mode `filter` |

mod contestant;
mod plain;
mod records;
mod rows;

use std::{
    fs, io,
    io::{BufRead, Write},
    path::{Path, PathBuf},
};

use half::f16;
use nearlab_storage::{
    metadata::{ApplyError, DocumentError, FilterError, ReadError, StoreOpenError},
    store::{StoreError, VectorStore},
};

use self::plain::PlainFile;
use super::protocol::{Phase, StoreTrial, StoredReply};
use crate::{
    protocol::{PROTOCOL, Reply},
    worker::{MapError, WorkerError},
};

/// Why a trial could not be done.
#[derive(Debug, thiserror::Error)]
enum Failed {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    OpenMetadata(#[from] StoreOpenError),
    #[error(transparent)]
    Apply(#[from] ApplyError),
    #[error(transparent)]
    Read(#[from] ReadError),
    #[error(transparent)]
    Document(#[from] DocumentError),
    #[error(transparent)]
    Filter(#[from] FilterError),
    #[error(transparent)]
    Map(#[from] MapError),
    #[error("cannot {action} {}: {source}", path.display())]
    File { action: &'static str, path: PathBuf, source: io::Error },
    #[error("the trial has no {0}")]
    Missing(&'static str),
    #[error("id {0} is not there")]
    NotFound(u64),
}

impl Failed {
    fn file<'a>(action: &'static str, path: &'a Path) -> impl FnOnce(io::Error) -> Self + 'a {
        move |source| Self::File { action, path: path.to_owned(), source }
    }
}

/// The trial in a file, if it is one of a store.
pub fn store_trial(path: &Path) -> Option<StoreTrial> {
    serde_json::from_slice(&fs::read(path).ok()?).ok()
}

/// Does a trial, answers, and waits for the end of `input`.
pub fn serve<R: BufRead, W: Write>(trial: &StoreTrial, mut input: R, mut output: W) -> Result<(), WorkerError> {
    if trial.protocol != PROTOCOL {
        return Err(WorkerError::Protocol { found: trial.protocol });
    }
    let mut reply = |reply: &Reply| -> io::Result<()> {
        let mut line = serde_json::to_vec(reply)?;
        line.push(b'\n');
        output.write_all(&line)?;
        output.flush()
    };
    let library = match trial.store.as_str() {
        "plain_file" => "the system's files".to_owned(),
        _ => format!("nearlab-storage {}", env!("CARGO_PKG_VERSION")),
    };
    reply(&Reply::Hello { protocol: PROTOCOL, library, simd_tier: None })?;
    // What `load` leaves open stays so until the process is told to leave, or killed.
    let done = match run(trial) {
        Ok(done) => done,
        Err(failed) => {
            reply(&Reply::Failed { stage: "store".into(), message: failed.to_string() })?;
            return Err(WorkerError::Build(failed.to_string()));
        }
    };
    reply(&Reply::Stored(done.reply))?;
    let mut line = String::new();
    input.read_line(&mut line)?;
    drop(done.open);
    Ok(())
}

/// What came of a trial, and what is to stay open until the end.
struct Done {
    reply: StoredReply,
    open: Option<Box<dyn std::any::Any>>,
}

fn run(trial: &StoreTrial) -> Result<Done, Failed> {
    let plain = trial.store == "plain_file";
    if trial.mode == "filter" {
        let points = if plain { records::scanned(trial)? } else { records::filtered(trial)? };
        return Ok(Done { reply: StoredReply { points }, open: None });
    }
    match (plain, trial.element.as_str()) {
        (false, "f16") => rows::run::<f16, VectorStore>(trial),
        (false, _) => rows::run::<f32, VectorStore>(trial),
        (true, "f16") => rows::run::<f16, PlainFile>(trial),
        (true, _) => rows::run::<f32, PlainFile>(trial),
    }
}

fn waits_to_be_killed(trial: &StoreTrial) -> bool {
    trial.phase == Phase::Load && trial.params.get("after").and_then(serde_json::Value::as_str) == Some("kill")
}
