//! Keeping a collection in shape: a new index, figures and checks.

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufWriter, Write};
use std::mem::replace;
use std::path::Path;
use std::sync::{Arc, PoisonError};

use nearlab_storage::Vectors;
use nearlab_storage::metadata::MetadataStore;
use nearlab_storage::mmap::Window;
use nearlab_storage::store::{CompactOptions, ElementKind, PackOptions, Packed, SegmentView, Snapshot};

use super::graph::{self, Graph};
use super::measure::with_row;
use super::nodes::{NONE, Nodes};
use super::open::{METADATA, io};
use super::sync::yield_now;
use super::write::Writer;
use super::{Collection, CollectionError, IndexConfig, State};
use crate::hnsw::{Construction, HnswParams, LiveHnsw};
use crate::memory::Capacity;
use crate::{Clock, IdSet, Mutable, Progress};

/// Vectors that an index is tuned by, about.
const TUNED_BY: usize = 2048;
/// Bytes of vectors that are written at once.
const GATHERED: usize = 1 << 20;

/// Figures about a collection.
#[derive(Debug, Clone, PartialEq)]
pub struct CollectionStats {
    /// Records.
    pub records: usize,
    /// Of these, vectors that the index does not hold, which are compared one by one.
    pub unindexed: usize,
    /// Rows on the disk that do not count any more.
    pub dead_rows: u64,
    /// Segments of rows.
    pub segments: usize,
    /// The number of the last change.
    pub sequence: u64,
    /// Bytes on the disk, all files together.
    pub disk_bytes: u64,
    /// Bytes of memory by component: those of the index, see [`Index::memory`](crate::Index::memory); `ids`, which vector an id names
    /// and where it lies; `nodes`, which node of the index holds it; `metadata`, pages of documents that are kept; `scratch`, what
    /// searches and changes are worked out in. Rows of vectors and an index that was opened read-only are mapped, the system's to keep or
    /// to drop; a frozen index counts all the same.
    pub memory: BTreeMap<&'static str, u64>,
}

/// Something that is not as it should be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Damage(
    /// One sentence that names the file.
    pub String,
);

impl Collection {
    /// Settles how searches of the index go about waiting for memory, with some of the vectors as queries, by the time as `clock` has
    /// it; see [`Index::tune`](crate::Index::tune). For whoever will search for long: it takes up to 0.2 s where the index is larger than
    /// caches, nothing elsewhere. A new index, which [`optimize`](Self::optimize) may build, is to be tuned anew.
    pub fn tune(&self, clock: Clock<'_>) -> Result<(), CollectionError> {
        let (graph, snapshot, nodes) = {
            let state = self.read();
            (state.graph.clone(), state.snapshot.clone(), state.nodes.clone())
        };
        let Some(graph) = graph else { return Ok(()) };
        let (mut rows, mut buffer) = (Vec::new(), Vec::new());
        let alive = nodes.alive_slots().filter(|&(slot, _)| slot != NONE);
        for (slot, _) in alive.step_by(nodes.len().div_ceil(TUNED_BY).max(1)) {
            with_row(&snapshot, slot, &mut buffer, |row| rows.extend_from_slice(row))?;
        }
        graph.tune(Vectors::new(&rows, self.config.dim), clock);
        Ok(())
    }

    /// Brings the index up to date, frees what deleted records take up, in the index and on the disk, and saves the index. Changes
    /// wait until it is done, searches do not. Where it fails or is cancelled the collection holds what it held, and can be changed, unless
    /// [`CollectionError::Behind`] says otherwise.
    pub fn optimize(&self, progress: &dyn Progress) -> Result<(), CollectionError> {
        let mut writer = self.lock_writer()?;
        self.check(&writer)?;
        self.store.sync()?;
        self.renew(&mut writer, progress)?;
        self.save_index(&mut writer, progress)?;
        self.keep_metadata(&mut writer)?;
        self.store.checkpoint()?;
        self.store.compact(&CompactOptions::default())?;
        self.show_rows();
        Ok(())
    }

    /// Writes the index's files in place of those of older generations. Where there is none these go all the same: nothing is left of what
    /// they hold.
    fn save_index(&self, writer: &mut Writer, progress: &dyn Progress) -> Result<(), CollectionError> {
        let (graph, nodes) = {
            let state = self.read();
            (state.graph.clone(), Arc::clone(&state.nodes))
        };
        if let Some(graph) = &graph {
            // A number of its own for each attempt: of one that failed a file may be whole, and would be taken for the half of the next.
            writer.generation += 1;
            let saved = graph.save(&*self.disk, (writer.generation, &nodes), &self.pool, progress);
            saved.inspect_err(|_| graph::take_back(&*self.disk, writer.generation))?;
        }
        graph::remove_others(&*self.disk, graph.is_some().then_some(writer.generation));
        Ok(())
    }

    /// Shows searches rows where they lie now. What they saw before may be the last to map a file, and is let go when nobody waits.
    fn show_rows(&self) {
        let now = self.store.snapshot();
        let before = replace(&mut self.write().snapshot, now);
        drop(before);
    }

    fn renew(&self, writer: &mut Writer, progress: &dyn Progress) -> Result<(), CollectionError> {
        let graph = self.read().graph.clone();
        match (&self.config.index, graph.as_deref()) {
            (IndexConfig::Hnsw(params), Some(Graph::Live(live))) if !self.is_worth_a_build(params) => {
                self.mend(live, writer, progress)
            }
            (IndexConfig::Flat, _) => Ok(()),
            (_, Some(_)) if self.is_indexed() => Ok(()),
            _ => {
                self.build(progress)?;
                writer.graph_from = 0;
                Ok(())
            }
        }
    }

    /// Lets a graph take in what it does not hold, and forget what is gone.
    fn mend(&self, live: &LiveHnsw, writer: &mut Writer, progress: &dyn Progress) -> Result<(), CollectionError> {
        self.grow_graph().map_err(|cause| self.behind(writer, &cause))?;
        // While its rows are mended a graph may not lead everywhere: who searches it looks for the nodes that count, and scans for
        // them where they are few. So it is until it was mended to the end.
        {
            let mut state = self.write();
            state.gaps = true;
            let State { fading, era, .. } = &mut *state;
            fading.end(era, std::iter::empty());
        }
        while self.read().fading.is_searched() {
            // Searches of an earlier moment are still under way. Those of snapshots look for the nodes that count too.
            yield_now();
        }
        self.fade();
        live.optimize(&self.pool, progress)?;
        self.write().gaps = false;
        Ok(())
    }

    /// Whether a graph is to be built anew: sooner than it is grown, all at once, where more is missing than there is; or for what its codes
    /// would learn, where it could not take in what is missing, or one vector more.
    fn is_worth_a_build(&self, params: &HnswParams) -> bool {
        let state = self.read();
        let sooner = params.construction == Construction::Bulk && state.tail.len() > state.nodes.alive().len();
        sooner || !state.takes(&self.config.index, state.tail.len().max(1))
    }

    /// Whether the index holds what is there, and nothing else.
    fn is_indexed(&self) -> bool {
        let state = self.read();
        state.tail.is_empty() && state.nodes.alive().len() == state.nodes.len() && state.nodes.taken_in() == 0
    }

    /// Builds the index anew over all vectors; where there are none, neither is there an index.
    pub(super) fn build(&self, progress: &dyn Progress) -> Result<(), CollectionError> {
        let snapshot = self.store.snapshot();
        let (graph, slots) = if snapshot.is_empty() { (None, Vec::new()) } else { self.built(&snapshot, progress)? };
        let written = slots.iter().map(|&slot| (slot, snapshot.written_by(slot).unwrap_or_default()));
        let (graph, nodes) = (graph.map(Arc::new), Arc::new(Nodes::of(written)));
        let tail = if graph.is_some() { IdSet::new() } else { slots.into_iter().collect() };
        let mut state = self.write();
        let State { graph: shown, nodes: known, tail: unindexed, fading, era, .. } = &mut *state;
        let before = (replace(shown, graph), replace(known, nodes), replace(unindexed, tail));
        fading.begin_anew(era);
        state.gaps = false;
        state.epoch += 1;
        drop(state);
        // Gigabytes, for which nobody is to wait.
        drop(before);
        Ok(())
    }

    /// An index over the vectors of a snapshot, of which there is at least one, and the slot of each.
    fn built(
        &self,
        snapshot: &Snapshot,
        progress: &dyn Progress,
    ) -> Result<(Option<Graph>, Vec<u32>), CollectionError> {
        let dim = self.config.dim;
        let segments = match snapshot.shape().element {
            ElementKind::F32 => snapshot.segments::<f32>()?,
            _ => Vec::new(),
        };
        let build = |vectors| Graph::build(&self.config.index, self.config.metric, vectors, &self.pool, progress);
        let built = match &segments[..] {
            // The rows lie as the index wants them.
            [SegmentView { vectors, slots, .. }] if slots.len() == snapshot.len() => (build(*vectors)?, slots.clone()),
            _ => {
                let (rows, slots) = gathered(snapshot, &self.folder)?;
                (build(Vectors::new(bytemuck::cast_slice(rows.bytes(0..rows.len())), dim))?, slots)
            }
        };
        Ok(built)
    }

    /// Figures about the collection.
    pub fn stats(&self) -> CollectionStats {
        let store = self.store.stats();
        let graph = self.read().graph.clone();
        let metadata = self.metadata.as_ref().map(MetadataStore::cache_bytes);
        // Not that of a change that is being made.
        let writer = self.writer.as_ref().and_then(|writer| writer.try_lock().ok());
        let changes = writer.map_or(0, |writer| writer.scratch_bytes());
        let searches = graph.as_ref().map_or(0, |graph| graph.scratch_bytes());
        let scratch = (self.idle.capacity_bytes() + changes) as u64 + searches;
        let state = self.read();
        let mut memory = BTreeMap::from([
            ("ids", store.memory_bytes),
            ("nodes", (state.nodes.memory() + state.tail.capacity_bytes()) as u64),
            ("scratch", scratch),
        ]);
        memory.extend(metadata.map(|bytes| ("metadata", bytes)));
        memory.extend(graph.iter().flat_map(|graph| graph.memory().0));
        CollectionStats {
            records: state.snapshot.len(),
            unindexed: state.tail.len(),
            // The one may be of a later change than the other.
            dead_rows: store.rows.saturating_sub(state.snapshot.len() as u64),
            segments: store.segments,
            sequence: store.sequence,
            disk_bytes: used(&self.folder),
            memory,
        }
    }

    /// Compresses vectors as [`VectorStore::pack`](nearlab_storage::store::VectorStore::pack) does: worth it for those that are
    /// seldom read, as the index's codes answer without them. Changes and searches go on meanwhile; after an
    /// [`optimize`](Self::optimize) nothing is packed that does not count.
    pub fn pack(&self, options: &PackOptions) -> Result<Packed, CollectionError> {
        let _packing = self.packing.lock().unwrap_or_else(PoisonError::into_inner);
        let packed = self.store.pack(options)?;
        self.look_anew();
        Ok(packed)
    }

    /// Gives back the memory that packed vectors were unpacked into; how many bytes.
    pub fn cool(&self) -> Result<u64, CollectionError> {
        let given_back = self.store.cool()?;
        self.look_anew();
        Ok(given_back)
    }

    /// As [`show_rows`](Self::show_rows), between two changes.
    fn look_anew(&self) {
        // Between two changes the store is of the same one as the rest, unless that could not follow.
        let writer = self.lock_writer().ok();
        if writer.as_ref().is_none_or(|writer| self.check(writer).is_ok()) {
            self.show_rows();
        }
    }

    /// Checks everything: each row, each page of metadata and the index's files against their checksums, and that store, metadata
    /// and index hold the same records. What is not as it should be; changes wait meanwhile.
    pub fn verify(&self) -> Result<Vec<Damage>, CollectionError> {
        let _writer = self.writer.as_ref().map(|writer| writer.lock());
        let mut damage: Vec<Damage> = self.store.verify().iter().map(|error| Damage(error.to_string())).collect();
        let state = self.read();
        let live: IdSet = state.snapshot.slots().map(|(slot, _)| slot).collect();
        if let Some(metadata) = &self.metadata {
            let found = metadata.verify()?;
            if !found.is_empty() {
                damage.extend(found.iter().map(|error| Damage(error.to_string())));
                return Ok(damage);
            }
            let slots: IdSet = metadata.slots()?.iter().collect();
            if slots != live {
                let (records, documents) = (live.len(), slots.len());
                let path = self.folder.join(METADATA);
                damage.push(Damage(format!(
                    "{} holds documents of {documents} records, expected those of {records}",
                    path.display()
                )));
            }
        }
        damage.extend(graph::damage(&self.folder, &self.config.index, &state.snapshot).map(Damage));
        let indexed = state.nodes.alive_slots().filter(|&(slot, _)| slot != NONE);
        let stale = indexed.filter(|&(slot, sequence)| state.snapshot.written_by(slot) != Some(sequence)).count();
        let held = state.nodes.alive().len() + state.tail.len();
        if stale > 0 || held != live.len() {
            damage.push(Damage(format!(
                "the index in {} holds {held} vectors, {stale} of them gone, expected {}",
                self.folder.display(),
                live.len()
            )));
        }
        Ok(damage)
    }
}

/// All vectors of a snapshot, in the order of their slots, in a file without a name that goes with the process: they may be more than
/// memory holds. There is at least one.
fn gathered(snapshot: &Snapshot, folder: &Path) -> Result<(Window, Vec<u32>), CollectionError> {
    let mut slots = Vec::with_capacity(snapshot.len());
    let file = tempfile::tempfile_in(folder).map_err(io("write into", folder))?;
    let mut writer = BufWriter::with_capacity(GATHERED, file);
    let mut buffer = Vec::new();
    for (slot, _) in snapshot.slots() {
        let written = with_row(snapshot, slot, &mut buffer, |row| writer.write_all(bytemuck::cast_slice(row)))?;
        written.unwrap_or(Ok(())).map_err(io("write into", folder))?;
        slots.push(slot);
    }
    let file = writer.into_inner().map_err(|error| io("write into", folder)(error.into_error()))?;
    let bytes = slots.len() * snapshot.shape().dim * size_of::<f32>();
    let rows = Window::open(&file, bytes, bytes).map_err(io("map a file in", folder))?;
    Ok((rows, slots))
}

fn used(folder: &Path) -> u64 {
    use std::os::unix::fs::MetadataExt;
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let bytes = |entry: fs::DirEntry| match entry.metadata() {
        Ok(metadata) if metadata.is_dir() => used(&entry.path()),
        Ok(metadata) => metadata.blocks() * 512,
        Err(_) => 0,
    };
    entries.map(bytes).sum()
}
