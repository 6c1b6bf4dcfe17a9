//! `nearlab schema`.

use anyhow::Result;
use clap::Args;

use super::{OK, say};
use crate::spec;

/// Print the JSON Schema of an experiment file, for editors that complete and check YAML.
#[derive(Debug, Args)]
pub(super) struct Arguments {}

pub(super) fn run(_: &Arguments) -> Result<u8> {
    say(spec::schema_json())?;
    Ok(OK)
}
