//! `nearlab worker`.

use std::{io, path::PathBuf};

use anyhow::Result;
use clap::Args;

use super::{NOT_HELD, OK};
use crate::{
    storage,
    worker::{WorkerError, die_with_the_harness, serve},
};

/// Build one index and measure searches on it, as the harness asks on standard input (docs/worker-protocol.md).
///
/// The harness starts this itself. By hand: `nearlab worker RUN/trials/TRIAL.json`, then one request per line.
#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// What to build, on which data: a trial, JSON.
    trial: PathBuf,
}

pub(super) fn run(arguments: &Arguments) -> Result<u8> {
    die_with_the_harness();
    let served = match storage::worker::store_trial(&arguments.trial) {
        Some(trial) => storage::worker::serve(&trial, io::stdin().lock(), io::stdout()),
        None => serve(&arguments.trial, io::stdin().lock(), io::stdout()),
    };
    match served {
        Ok(()) => Ok(OK),
        // The harness has been told already.
        Err(WorkerError::Build(_)) => Ok(NOT_HELD),
        Err(error) => Err(error.into()),
    }
}
