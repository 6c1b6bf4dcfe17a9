//! Paths of an experiment: variables, and where relative ones are looked up.

use std::path::{Path, PathBuf};

use super::{
    error::{Diagnostic, Place, SpecError},
    model::{DatasetSource, Spec},
    suggest::nearest,
};

/// Extensions of the data files that nearlab reads: a `use` with one of them is a path, not a catalogue name.
const DATA_FILES: [&str; 12] =
    ["hdf5", "h5", "fvecs", "ivecs", "bvecs", "fbin", "u8bin", "i8bin", "f16bin", "ibin", "npy", "parquet"];

/// What an experiment may depend on beside its own text.
pub struct Surroundings<'a> {
    /// Where relative paths are looked up when the experiment's folder has no such file.
    pub current_folder: PathBuf,
    /// The value of an environment variable.
    pub variable: &'a dyn Fn(&str) -> Option<String>,
    /// Data sets that `use` can name without being a path; `None` leaves unknown names to whoever prepares the data.
    pub catalogue: Option<Vec<String>>,
}

impl Surroundings<'static> {
    /// This process's current folder and variables; no catalogue.
    pub fn of_process() -> Self {
        Self {
            current_folder: std::env::current_dir().unwrap_or_default(),
            variable: &|name| std::env::var(name).ok(),
            catalogue: None,
        }
    }
}

impl Surroundings<'_> {
    /// Replaces every `${VAR}`.
    pub(super) fn expand(&self, text: &str, place: Place) -> Result<String, Diagnostic> {
        let mut expanded = String::new();
        let mut rest = text;
        while let Some((before, after)) = rest.split_once("${") {
            let Some((name, after)) = after.split_once('}') else {
                return Err(Diagnostic::new(place, "a variable has no closing brace").expected("${NAME}"));
            };
            let Some(value) = (self.variable)(name) else {
                return Err(Diagnostic::new(place, format!("the environment variable {name} is not set"))
                    .help(format!("run with {name}=... in front of the command")));
            };
            expanded.push_str(before);
            expanded.push_str(&value);
            rest = after;
        }
        expanded.push_str(rest);
        Ok(expanded)
    }

    /// The path that a text of the experiment means: as it stands if absolute, else in the experiment's folder, else
    /// in the current folder, else as written.
    pub(super) fn locate(&self, folder: &Path, text: &str) -> PathBuf {
        let written = Path::new(text);
        [folder.join(written), self.current_folder.join(written)]
            .into_iter()
            .find(|path| path.exists())
            .unwrap_or_else(|| written.to_owned())
    }
}

/// Whether a `use` is a path rather than a catalogue name.
pub(super) fn is_path(text: &str) -> bool {
    let extension = Path::new(text).extension().and_then(|extension| extension.to_str());
    text.contains(['/', '\\']) || extension.is_some_and(|extension| DATA_FILES.contains(&extension))
}

impl Spec {
    /// Checks that the data set is there: its files exist, or the catalogue knows its name. A worker that is not there
    /// is no error here: a missing peer is reported by the run, which goes on without it.
    pub fn check_files(&self, surroundings: &Surroundings<'_>) -> Result<(), SpecError> {
        let missing = |path: &Path| {
            Diagnostic::new(self.dataset.place, format!("there is no data set {}", path.display()))
                .expected("an existing file, or a name from `nearlab datasets list`")
                .found(self.looked_in(path, surroundings))
        };
        let wrong: Vec<Diagnostic> = match &self.dataset.source {
            DatasetSource::Use(text) if Path::new(text).exists() => Vec::new(),
            DatasetSource::Use(text) if is_path(text) => vec![missing(Path::new(text))],
            DatasetSource::Use(name) => match &surroundings.catalogue {
                Some(names) if !names.contains(name) => vec![
                    Diagnostic::new(self.dataset.place, format!("there is no data set named `{name}`"))
                        .expected("a name from `nearlab datasets list`, or the path of a file")
                        .near_miss(nearest(name, names.iter().map(String::as_str))),
                ],
                _ => Vec::new(),
            },
            DatasetSource::Files { train, test, neighbors } => [Some(train), Some(test), neighbors.as_ref()]
                .into_iter()
                .flatten()
                .filter(|path| !path.exists())
                .map(|path| missing(path))
                .collect(),
        };
        if wrong.is_empty() { Ok(()) } else { Err(SpecError::invalid(&self.path, &self.yaml, wrong)) }
    }

    fn looked_in(&self, path: &Path, surroundings: &Surroundings<'_>) -> String {
        if path.is_absolute() {
            return "no such file".to_owned();
        }
        let current = &surroundings.current_folder;
        let folder = self.folder();
        if current.join(folder) == current.join(".") {
            return format!("no such file in {}", current.display());
        }
        format!("no such file in {} or in {}", folder.display(), current.display())
    }
}
