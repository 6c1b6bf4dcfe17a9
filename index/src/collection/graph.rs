//! The index of a collection, and its files.
//!
//! An index of generation g is the file `index-g`, which the index itself writes, and `nodes-g`, a container of kind `nodes`,
//! version 1, that says which node holds which slot; the latter is written last and makes the former count.
//!
//! | section of `nodes-g` | elements | content |
//! |---|---|---|
//! | `slots` | u32 | the slot of each node; 2^32 - 1 where its vector is gone |
//! | `seqs` | u64 | the change that the vector came with |
//! | `builtof` | u64 | vectors that the index was built of; without it, as many as nodes have a slot |
//! | `takenin` | u64 | vectors that it has taken in since; without it, by how many those that have a slot are more |

use std::fs;
use std::path::{Path, PathBuf};

use nearlab_simd::Metric;
use nearlab_storage::disk::Disk;
use nearlab_storage::store::Snapshot;
use nearlab_storage::{Container, ContainerWriter, FileKind, SectionId, Vectors, Verify};
use rayon::ThreadPool;

use super::nodes::{NONE, Nodes};
use super::open::io;
use super::{CollectionError, IndexConfig, SearchOptions};
use crate::hnsw::{self, Hnsw, HnswSearcher, LiveHnsw, LiveSaveError, LiveSearcher};
use crate::ivf::{self, Ivf, IvfSearcher};
use crate::memory::Capacity;
use crate::{
    Build, Clock, Counters, IdSet, Index, MAX_VECTORS, Memory, Neighbor, OpenError, Persist, Progress, Searcher,
};

/// The name of a file of the index before it has its own.
const UNFINISHED: &str = "index.new";
const KIND: FileKind = FileKind::new("nodes");
const VERSION: u32 = 1;
const SLOTS: SectionId = SectionId::new("slots");
const SEQUENCES: SectionId = SectionId::new("seqs");
const BUILT_OF: SectionId = SectionId::new("builtof");
const TAKEN_IN: SectionId = SectionId::new("takenin");

/// An index over the vectors of a collection.
#[derive(Debug)]
#[expect(clippy::large_enum_variant, reason = "a collection has one, and shares it")]
pub(super) enum Graph {
    /// Follows every change.
    Live(LiveHnsw),
    /// Of a collection that is open read-only.
    Frozen(Hnsw),
    /// Stays as it was built.
    Ivf(Ivf),
}

/// The memory that searches of an index need, whichever it is.
#[derive(Debug, Default)]
pub(super) struct IndexScratch {
    hnsw: hnsw::Scratch,
    ivf: ivf::Scratch,
}

impl Capacity for IndexScratch {
    fn capacity_bytes(&self) -> usize {
        self.hnsw.capacity_bytes() + self.ivf.capacity_bytes()
    }
}

impl Graph {
    /// Builds the index that the configuration asks for; none where it asks for none.
    pub(super) fn build(
        config: &IndexConfig,
        metric: Metric,
        vectors: Vectors<'_, f32>,
        pool: &ThreadPool,
        progress: &dyn Progress,
    ) -> Result<Option<Self>, CollectionError> {
        Ok(match config {
            IndexConfig::Flat => None,
            IndexConfig::Hnsw(params) => {
                Some(Self::Live(Hnsw::build(vectors, metric, params, pool, progress)?.into_live(pool)?))
            }
            IndexConfig::Ivf(params) => Some(Self::Ivf(Ivf::build(vectors, metric, params, pool, progress)?)),
        })
    }

    /// Tunes the index by some vectors.
    pub(super) fn tune(&self, vectors: Vectors<'_, f32>, clock: Clock<'_>) {
        match self {
            Self::Live(live) => live.tune(vectors, clock),
            Self::Frozen(hnsw) => hnsw.tune(vectors, clock),
            Self::Ivf(ivf) => ivf.tune(vectors, clock),
        }
    }

    /// Finds the nearest of all, or of those in `among`.
    pub(super) fn search(
        &self,
        scratch: &mut IndexScratch,
        (query, k): (&[f32], usize),
        (options, among): (&SearchOptions<'_>, Option<&IdSet>),
        out: &mut Vec<Neighbor>,
    ) -> Result<Counters, CollectionError> {
        let mut found = |searcher: &mut dyn Searcher| match among {
            Some(among) => searcher.search_among(query, k, among, out),
            None => searcher.search(query, k, out),
        };
        Ok(match self {
            Self::Live(live) => {
                options.hnsw.validate()?;
                let mut searcher = LiveSearcher::with_scratch(live, options.hnsw, std::mem::take(&mut scratch.hnsw));
                let counters = found(&mut searcher);
                scratch.hnsw = searcher.into_scratch();
                counters
            }
            Self::Frozen(hnsw) => {
                options.hnsw.validate()?;
                let mut searcher = HnswSearcher::with_scratch(hnsw, options.hnsw, std::mem::take(&mut scratch.hnsw));
                let counters = found(&mut searcher);
                scratch.hnsw = searcher.into_scratch();
                counters
            }
            Self::Ivf(ivf) => {
                options.ivf.validate()?;
                let mut searcher = IvfSearcher::with_scratch(ivf, options.ivf.nprobe, std::mem::take(&mut scratch.ivf));
                let counters = found(&mut searcher);
                scratch.ivf = searcher.into_scratch();
                counters
            }
        })
    }

    pub(super) fn scratch_bytes(&self) -> u64 {
        match self {
            Self::Live(live) => live.scratch_bytes(),
            Self::Frozen(hnsw) => hnsw.scratch_bytes(),
            Self::Ivf(ivf) => ivf.scratch_bytes(),
        }
    }

    pub(super) fn memory(&self) -> Memory {
        match self {
            Self::Live(live) => live.memory(),
            Self::Frozen(hnsw) => hnsw.memory(),
            Self::Ivf(ivf) => ivf.memory(),
        }
    }

    /// Writes the files of generation `generation`. A live index is optimised first.
    pub(super) fn save(
        &self,
        disk: &dyn Disk,
        (generation, nodes): (u64, &Nodes),
        pool: &ThreadPool,
        progress: &dyn Progress,
    ) -> Result<(), CollectionError> {
        let path = disk.path(UNFINISHED);
        match self {
            Self::Live(live) => live.save(&path, pool, progress).map_err(|error| match error {
                LiveSaveError::Optimize(error) => CollectionError::from(error),
                LiveSaveError::Save(error) => error.into(),
            })?,
            Self::Frozen(hnsw) => hnsw.save(&path)?,
            Self::Ivf(ivf) => ivf.save(&path)?,
        }
        publish(disk, &index_path(disk.folder(), generation))?;
        let (slots, sequences): (Vec<u32>, Vec<u64>) = nodes.alive_slots().unzip();
        let mut writer = ContainerWriter::create(&path, KIND, VERSION)?;
        writer.section(SLOTS, &slots)?;
        writer.section(SEQUENCES, &sequences)?;
        writer.section(BUILT_OF, &[nodes.built_of() as u64])?;
        writer.section(TAKEN_IN, &[nodes.taken_in() as u64])?;
        writer.finish()?;
        publish(disk, &nodes_path(disk.folder(), generation))
    }

    /// Opens the newest index that there is, with its nodes; to be changed, where it can be and `writable`
    /// says so. One that is damaged or of another shape is passed over: the vectors are in the store, of which `snapshot` is.
    pub(super) fn open(
        folder: &Path,
        (config, metric, dim): (&IndexConfig, Metric, usize),
        (writable, snapshot): (Option<&ThreadPool>, &Snapshot),
    ) -> Option<(Self, Nodes)> {
        let slots = slots_of(snapshot);
        generations(folder).into_iter().rev().find_map(|generation| {
            let nodes = open_nodes(&nodes_path(folder, generation), slots).ok()?;
            let path = index_path(folder, generation);
            let graph = match config {
                IndexConfig::Flat => return None,
                IndexConfig::Hnsw(params) => {
                    let hnsw = Hnsw::open(&path).ok().filter(|hnsw| hnsw.params() == params)?;
                    let fits = (hnsw.metric(), hnsw.dim()) == (metric, dim) && hnsw.nodes() == nodes.len();
                    match (fits, writable) {
                        (false, _) => return None,
                        (true, Some(pool)) => Self::Live(hnsw.into_live(pool).ok()?),
                        (true, None) => Self::Frozen(hnsw),
                    }
                }
                IndexConfig::Ivf(_) => {
                    let ivf = Ivf::open(&path).ok()?;
                    let fits = (ivf.metric(), ivf.dim(), ivf.len()) == (metric, dim, nodes.len());
                    fits.then_some(Self::Ivf(ivf))?
                }
            };
            Some((graph, nodes))
        })
    }
}

/// What is wrong with the files of the newest index, if anything is; one that was not written to its end is none.
pub(super) fn damage(folder: &Path, config: &IndexConfig, snapshot: &Snapshot) -> Option<String> {
    let mut generations = generations(folder).into_iter().rev();
    let generation = generations.find(|&generation| nodes_path(folder, generation).exists())?;
    let path = index_path(folder, generation);
    let opened = match config {
        IndexConfig::Flat => return None,
        IndexConfig::Hnsw(_) => Hnsw::open(&path).map(drop),
        IndexConfig::Ivf(_) => Ivf::open(&path).map(drop),
    };
    let nodes = || open_nodes(&nodes_path(folder, generation), slots_of(snapshot)).map(drop);
    let opened = opened.map_err(CollectionError::from).and_then(|()| nodes());
    opened.err().map(|error| error.to_string())
}

/// The highest generation of which there is a file, whole or damaged: what is written next must not stand beside the other half of an
/// older one.
pub(super) fn newest(folder: &Path) -> u64 {
    generations(folder).last().copied().unwrap_or(0)
}

/// Removes what processes left that were killed while they wrote an index. What can not be removed is tried again next time.
pub(super) fn remove_unfinished(disk: &dyn Disk) {
    let unfinished = format!(".{UNFINISHED}.");
    for name in disk.names().unwrap_or_default() {
        if name == UNFINISHED || name.starts_with(&unfinished) {
            let _ = disk.remove(&name);
        }
    }
}

/// Removes what an attempt to write a generation left. What can not be removed is tried again next time.
pub(super) fn take_back(disk: &dyn Disk, failed: u64) {
    remove_unfinished(disk);
    remove(disk, |generation| generation == failed);
}

/// Removes the files of all generations but one, or of all. What can not be removed is tried again next time.
pub(super) fn remove_others(disk: &dyn Disk, kept: Option<u64>) {
    remove(disk, |generation| Some(generation) != kept);
}

/// The nodes go first: without them an index does not count.
fn remove(disk: &dyn Disk, is_over: impl Fn(u64) -> bool) {
    for generation in generations(disk.folder()).into_iter().filter(|&generation| is_over(generation)) {
        for path in [nodes_path(disk.folder(), generation), index_path(disk.folder(), generation)] {
            if path.exists() {
                let _ = disk.remove(name_of(&path));
            }
        }
    }
}

/// Gives the file that was written last its name, durably.
fn publish(disk: &dyn Disk, path: &Path) -> Result<(), CollectionError> {
    let publish = || {
        disk.adopt(UNFINISHED)?;
        disk.rename(UNFINISHED, name_of(path))?;
        disk.sync_folder()
    };
    publish().map_err(io("write", path))
}

fn name_of(path: &Path) -> &str {
    path.file_name().and_then(|name| name.to_str()).expect("the files of an index have names in ASCII")
}

fn generations(folder: &Path) -> Vec<u64> {
    let names =
        fs::read_dir(folder).into_iter().flatten().flatten().filter_map(|entry| entry.file_name().into_string().ok());
    let mut generations: Vec<u64> =
        names.filter_map(|name| name.strip_prefix("nodes-").or(name.strip_prefix("index-"))?.parse().ok()).collect();
    generations.sort_unstable();
    generations.dedup();
    generations
}

pub(super) fn index_path(folder: &Path, generation: u64) -> PathBuf {
    folder.join(format!("index-{generation:08}"))
}

pub(super) fn nodes_path(folder: &Path, generation: u64) -> PathBuf {
    folder.join(format!("nodes-{generation:08}"))
}

/// One more than the highest slot that holds a vector.
fn slots_of(snapshot: &Snapshot) -> u32 {
    snapshot.slots().last().map_or(0, |(slot, _)| slot + 1)
}

/// The nodes of an index. Of slots from `end` on, which the store does not have, nothing is known: what a file says is not to say how much
/// memory it takes.
fn open_nodes(path: &Path, end: u32) -> Result<Nodes, CollectionError> {
    let file = Container::open(path, KIND, VERSION..=VERSION, Verify::Sections)?;
    let slots = file.view::<u32>(SLOTS)?;
    let sequences = file.buffer_of::<u64>(SEQUENCES, slots.len())?;
    let mut known = IdSet::new();
    for &slot in slots.iter().filter(|&&slot| slot != NONE) {
        if slot as usize >= MAX_VECTORS {
            return Err(file.corrupt(SLOTS, &format!("slots below {MAX_VECTORS}"), &slot).into());
        }
        if slot < end && !known.insert(slot) {
            return Err(file.corrupt(SLOTS, "each slot once", &format!("{slot} twice")).into());
        }
    }
    let known = slots.iter().map(|&slot| if slot < end { slot } else { NONE });
    let nodes = Nodes::of(known.zip(sequences.iter().copied()));
    let count = |section| -> Result<Option<usize>, OpenError> {
        if !file.contains(section) {
            return Ok(None);
        }
        let count = file.buffer_of::<u64>(section, 1)?[0];
        Ok(Some(usize::try_from(count).unwrap_or(usize::MAX)))
    };
    let Some(built_of) = count(BUILT_OF)? else { return Ok(nodes) };
    let taken_in = count(TAKEN_IN)?.unwrap_or(nodes.alive().len().saturating_sub(built_of));
    Ok(nodes.grown_from(built_of, taken_in))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is known of nodes of these slots and counts.
    fn opened(slots: &[u32], counts: &[(SectionId, u64)]) -> Result<Nodes, String> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("nodes");
        let mut writer = ContainerWriter::create(&path, KIND, VERSION).unwrap();
        writer.section(SLOTS, slots).unwrap();
        writer.section(SEQUENCES, &vec![7_u64; slots.len()]).unwrap();
        for &(section, count) in counts {
            writer.section(section, &[count]).unwrap();
        }
        writer.finish().unwrap();
        open_nodes(&path, 100).map_err(|error| error.to_string())
    }

    #[test]
    fn slots_that_no_store_has_and_slots_of_two_nodes_are_refused() {
        let error = opened(&[3, NONE - 1], &[]).unwrap_err();
        assert!(error.ends_with("section `slots` should have slots below 2147483647, found 4294967294"), "{error}");
        let error = opened(&[3, NONE, 5, NONE, 3], &[]).unwrap_err();
        assert!(error.ends_with("section `slots` should have each slot once, found 3 twice"), "{error}");
        assert_eq!(opened(&[3, NONE, 5, NONE], &[]).unwrap().alive().len(), 2);
        let far = opened(&[3, NONE - 2 - (1 << 31), 99, 100], &[]).unwrap();
        assert!(
            far.alive().len() == 2 && far.memory() < 10_000,
            "of slots that the store does not have nothing is kept"
        );
    }

    #[test]
    fn files_that_do_not_say_what_was_taken_in_say_how_many_are_more() {
        let counted = |counts: &[(SectionId, u64)]| {
            let nodes = opened(&[4, 5, NONE, 6], counts).unwrap();
            (nodes.built_of(), nodes.taken_in())
        };
        assert_eq!(counted(&[]), (3, 0));
        assert_eq!(counted(&[(BUILT_OF, 2)]), (2, 1));
        assert_eq!(counted(&[(BUILT_OF, 9)]), (9, 0));
        assert_eq!(counted(&[(BUILT_OF, 2), (TAKEN_IN, 5)]), (2, 5));
    }
}
