//! Following a store: what its changes did, told again from the logs.

use super::log::{Commit, Entry, key_of, log_name, replay};
use super::manifest::KeptLog;
use super::shape::Durability;
use super::write::Committed;
use super::{StoreError, VectorStore};

/// A change that was made before.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Past {
    /// What it did.
    pub committed: Committed,
    /// What was attached to it.
    pub attachment: Vec<u8>,
}

impl VectorStore {
    /// Keeps what was attached to changes after number `sequence` for [`since`](Self::since), whatever is checkpointed and
    /// compacted. Until this is called anew after each opening, nobody follows the store.
    pub fn keep_since(&self, sequence: u64) -> Result<(), StoreError> {
        self.lock_writer()?.followed = sequence;
        Ok(())
    }

    /// The changes after number `sequence`, in order, or none when they are not kept, or there is no such change yet: then whoever follows the store compares it
    /// as a whole ([`Snapshot::slots`](super::Snapshot::slots)).
    pub fn since(&self, sequence: u64) -> Result<Option<Vec<Past>>, StoreError> {
        let mut writer = self.lock_writer()?;
        writer.check(self)?;
        writer.settle(self, Durability::Flush)?;
        let current = KeptLog::new(writer.log.number(), writer.log.before(), self.sequence());
        let logs: Vec<KeptLog> = writer.kept.iter().copied().chain([current]).collect();
        if sequence > current.last || logs.iter().all(|log| log.before > sequence) {
            return Ok(None);
        }
        let mut past = Vec::new();
        for log in logs.iter().filter(|log| log.last > sequence) {
            past.extend(self.past(log, sequence)?);
        }
        Ok(Some(past))
    }

    /// The changes of a log after number `after`.
    fn past(&self, log: &KeptLog, after: u64) -> Result<impl Iterator<Item = Past>, StoreError> {
        let name = log_name(log.number);
        let path = self.disk.path(&name);
        let file = self.disk.read(&name).map_err(StoreError::io("read", &path))?;
        self.meta.log_stamp(log.number).check(&file, &path)?;
        let replayed = replay(&file, &path, key_of(&self.meta.store, log.number), log.before)?;
        let changes = replayed.entries.iter().filter(|(_, entry)| matches!(entry, Entry::Commit(_))).count() as u64;
        if log.before + changes != log.last {
            let (expected, found) = (format_args!("changes up to {}", log.last), log.before + changes);
            return Err(StoreError::corrupt(&path, replayed.end, expected, found));
        }
        Ok(replayed.entries.into_iter().filter_map(move |(_, entry)| match entry {
            Entry::Commit(commit) if commit.sequence > after => {
                let Commit { sequence, slots, freed, attachment, .. } = commit;
                Some(Past { committed: Committed { sequence, slots, freed }, attachment })
            }
            _ => None,
        }))
    }
}
