//! Which program a trial's worker is.

use std::{
    env,
    ffi::OsString,
    os::unix::process::CommandExt,
    path::{Path, PathBuf},
    process::Command,
};

use nearlab_reports::record::Outcome;

use super::{Trouble, version::is_python};
use crate::environment;

/// Where `just peers` puts the foreign libraries.
const PEERS: &str = ".venv-peers/bin/python";

/// A worker program.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Program {
    /// This program itself: `nearlab worker`.
    Own,
    /// Another program; a `.py` file is run by [`python`].
    External(PathBuf),
}

impl Program {
    /// The command that runs `trial`.
    pub(super) fn command(&self, trial: &Path) -> Result<Command, Trouble> {
        let mut command = match self {
            Self::Own => {
                let program = environment::program()
                    .map_err(|error| Trouble::new(Outcome::Missing, format!("cannot find this program: {error}")))?;
                let mut command = Command::new(program);
                // In a list of processes the name of a link would say nothing.
                command.arg0("nearlab").arg("worker");
                command
            }
            Self::External(path) if !path.is_file() => {
                return Err(Trouble::new(Outcome::Missing, format!("there is no worker {}", path.display())));
            }
            Self::External(path) if is_python(path) => {
                let folder = env::current_dir().unwrap_or_default();
                let mut command = Command::new(python(env::var_os("NEARLAB_PYTHON"), &folder));
                command.arg(path);
                command
            }
            // A bare name would be looked up in PATH.
            Self::External(path) => Command::new(std::path::absolute(path).unwrap_or_else(|_| path.clone())),
        };
        command.arg(trial);
        Ok(command)
    }

    /// The program's name for messages.
    pub fn name(&self) -> String {
        match self {
            Self::Own => "nearlab worker".to_owned(),
            Self::External(path) => path.display().to_string(),
        }
    }
}

/// The Python that runs workers: `chosen` (`NEARLAB_PYTHON`), else the peers' environment in `folder` or above it, else
/// whatever `python3` is.
pub fn python(chosen: Option<OsString>, folder: &Path) -> OsString {
    chosen
        .filter(|python| !python.is_empty())
        .or_else(|| folder.ancestors().map(|folder| folder.join(PEERS)).find(|path| path.is_file()).map(OsString::from))
        .unwrap_or_else(|| "python3".into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_peers_environment_is_found_above_the_current_folder() {
        let root = tempfile::tempdir().unwrap();
        let deep = root.path().join("a/b");
        std::fs::create_dir_all(root.path().join(".venv-peers/bin")).unwrap();
        std::fs::create_dir_all(&deep).unwrap();
        let python_path = root.path().join(PEERS);
        std::fs::write(&python_path, "").unwrap();
        assert_eq!(python(None, &deep), python_path.into_os_string());
        assert_eq!(python(Some("mine".into()), &deep), "mine");
        assert_eq!(python(Some("".into()), Path::new("/")), "python3");
    }

    #[test]
    fn a_worker_file_that_is_not_there_is_missing() {
        let trouble = Program::External("/nowhere/worker.py".into()).command(Path::new("t.json")).unwrap_err();
        assert_eq!(
            (trouble.outcome, trouble.message.as_str()),
            (Outcome::Missing, "there is no worker /nowhere/worker.py")
        );
    }

    #[test]
    fn the_trial_is_the_last_argument() {
        let command = Program::Own.command(Path::new("t.json")).unwrap();
        assert_eq!(command.get_args().collect::<Vec<_>>(), ["worker", "t.json"]);
        assert_eq!(Program::Own.name(), "nearlab worker");
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn our_worker_is_what_runs_whatever_became_of_its_file() {
        let command = Program::Own.command(Path::new("t.json")).unwrap();
        assert_eq!(command.get_program(), "/proc/self/exe");
    }
}
