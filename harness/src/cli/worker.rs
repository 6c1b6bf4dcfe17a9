//! `nearlab worker`.

use std::{io, path::PathBuf};

use anyhow::Result;
use clap::Args;
use rustix::process::{Signal, set_parent_process_death_signal};

use super::{NOT_HELD, OK};
use crate::{
    storage,
    worker::{WorkerError, serve},
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
    // Where the system cannot do this, a worker notices at the end of its input that the harness is gone.
    let _unsupported = set_parent_process_death_signal(Some(Signal::KILL));
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
