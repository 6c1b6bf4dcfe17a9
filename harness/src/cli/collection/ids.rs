//! Ids as a command line or a file gives them.

use std::{
    collections::HashSet,
    fmt::Display,
    fs::File,
    hash::Hash,
    io::{BufRead as _, BufReader},
    ops::Range,
    path::Path,
    sync::Arc,
};

use anyhow::{Context as _, Result, anyhow};
use nearlab_storage::store::{Id, IdKind, Ids};

/// Ids of one kind.
#[derive(Debug)]
pub(super) enum OwnedIds {
    Numbers(Vec<u64>),
    Names(Vec<Arc<str>>),
}

impl OwnedIds {
    fn new(kind: IdKind) -> Self {
        match kind {
            IdKind::Numbers => Self::Numbers(Vec::new()),
            IdKind::Names => Self::Names(Vec::new()),
        }
    }

    /// So many numbers from one on, or their names.
    pub(super) fn counted(kind: IdKind, first: u64, count: usize) -> Result<Self> {
        let end = first.checked_add(count as u64).with_context(|| format!("--first-id: too large for {count} ids"))?;
        Ok(match kind {
            IdKind::Numbers => Self::Numbers((first..end).collect()),
            IdKind::Names => Self::Names((first..end).map(|id| id.to_string().into()).collect()),
        })
    }

    /// Those of a command line.
    pub(super) fn read(kind: IdKind, texts: &[String]) -> Result<Self> {
        let mut ids = Self::new(kind);
        for text in texts {
            ids.push(text).map_err(|error| anyhow!("--id: {error}"))?;
        }
        ids.sort();
        Ok(ids)
    }

    /// Those of a file, one a line, each once.
    pub(super) fn load(kind: IdKind, path: &Path) -> Result<Self> {
        let file = File::open(path).with_context(|| format!("cannot open {}", path.display()))?;
        let mut ids = Self::new(kind);
        for (line, text) in (1..).zip(BufReader::new(file).lines()) {
            let text = text.with_context(|| format!("{}:{line}: cannot read an id", path.display()))?;
            ids.push(&text).map_err(|error| anyhow!("{}:{line}: {error}", path.display()))?;
        }
        let again = match &ids {
            Self::Numbers(ids) => first_again(ids),
            Self::Names(ids) => first_again(ids),
        };
        match again {
            Some((at, id)) => {
                Err(anyhow!("{}:{}: expected an id that is not in an earlier line, found {id}", path.display(), at + 1))
            }
            None => Ok(ids),
        }
    }

    /// Takes an id, or says what it is not.
    fn push(&mut self, text: &str) -> Result<(), String> {
        match self {
            Self::Numbers(ids) => {
                let id = text.trim().parse();
                ids.push(id.map_err(|_| format!("expected an id from 0 to {}, found {text:?}", u64::MAX))?);
            }
            Self::Names(_) if text.is_empty() => return Err("expected an id, found nothing".to_owned()),
            Self::Names(ids) => ids.push(text.into()),
        }
        Ok(())
    }

    /// In order, each once.
    fn sort(&mut self) {
        match self {
            Self::Numbers(ids) => {
                ids.sort_unstable();
                ids.dedup();
            }
            Self::Names(ids) => {
                ids.sort_unstable();
                ids.dedup();
            }
        }
    }

    pub(super) fn len(&self) -> usize {
        match self {
            Self::Numbers(ids) => ids.len(),
            Self::Names(ids) => ids.len(),
        }
    }

    /// Does something with some of them.
    pub(super) fn lend<T>(&self, some: Range<usize>, then: impl FnOnce(Ids<'_>) -> T) -> T {
        match self {
            Self::Numbers(ids) => then(Ids::Numbers(&ids[some])),
            Self::Names(ids) => {
                let names: Vec<&str> = ids[some].iter().map(AsRef::as_ref).collect();
                then(Ids::Names(&names))
            }
        }
    }
}

impl FromIterator<Id> for OwnedIds {
    /// Of ids that are of one kind, as those of a collection are.
    fn from_iter<I: IntoIterator<Item = Id>>(ids: I) -> Self {
        let (mut numbers, mut names) = (Vec::new(), Vec::new());
        for id in ids {
            match id {
                Id::Number(id) => numbers.push(id),
                Id::Name(id) => names.push(id),
            }
        }
        if names.is_empty() { Self::Numbers(numbers) } else { Self::Names(names) }
    }
}

/// The first that equals an earlier one, and where it stands.
fn first_again<K: Eq + Hash + Display>(ids: &[K]) -> Option<(usize, String)> {
    let mut seen = HashSet::with_capacity(ids.len());
    ids.iter().enumerate().find(|(_, id)| !seen.insert(*id)).map(|(at, id)| (at, id.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_of_a_command_line_are_sorted_and_stand_once() {
        let ids = OwnedIds::read(IdKind::Numbers, &["7".into(), "3".into(), "7".into()]).unwrap();
        assert!(matches!(&ids, OwnedIds::Numbers(ids) if ids == &[3, 7]), "{ids:?}");
        let error = OwnedIds::read(IdKind::Numbers, &["-1".into()]).unwrap_err().to_string();
        assert_eq!(error, "--id: expected an id from 0 to 18446744073709551615, found \"-1\"");
        assert_eq!(OwnedIds::read(IdKind::Names, &["b".into(), "a".into()]).unwrap().len(), 2);
    }

    #[test]
    fn counted_ids_do_not_overflow() {
        assert_eq!(OwnedIds::counted(IdKind::Names, 5, 3).unwrap().len(), 3);
        assert!(OwnedIds::counted(IdKind::Numbers, u64::MAX, 2).unwrap_err().to_string().contains("--first-id"));
    }

    #[test]
    fn the_second_of_two_equal_ids_is_found() {
        assert_eq!(first_again(&["a", "b", "a", "b"]), Some((2, "a".to_owned())));
        assert_eq!(first_again(&[1, 2, 3]), None);
    }
}
