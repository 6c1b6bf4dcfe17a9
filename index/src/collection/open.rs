//! Making and opening a collection: what the store's log tells is caught up by metadata and index.

use std::path::Path;
use std::sync::Arc;

use nearlab_storage::Vectors;
use nearlab_storage::disk::{Disk, Folder};
use nearlab_storage::metadata::MetadataStore;
use nearlab_storage::store::{StoreError, StoreOptions, VectorStore};
use rayon::{ThreadPool, ThreadPoolBuilder};

use super::begin::{Beginning, remove_mark};
use super::graph::{self, Graph};
use super::measure::with_row;
use super::nodes::{NONE, Nodes};
use super::sync::atomic::AtomicU64;
use super::sync::{Mutex, RwLock};
use super::write::Writer;
use super::{Collection, CollectionConfig, CollectionError, State};
use crate::scratch::Idle;
use crate::{IdSet, Mutable, ParamError};

pub(super) const METADATA: &str = "metadata.redb";
pub(super) const VECTORS: &str = "vectors";
/// Vectors that are put into a graph at once while it catches up.
const AT_ONCE: usize = 4096;

impl Collection {
    /// Makes an empty collection in a folder that is empty or missing, and opens it for changes, which are computed on
    /// `threads` threads, at least 1. What an attempt left that did not come to an end is replaced.
    pub fn create(folder: impl AsRef<Path>, config: CollectionConfig, threads: usize) -> Result<Self, CollectionError> {
        let folder = folder.as_ref();
        config.check()?;
        let disk = Folder::make(folder).map_err(io("create", folder))?;
        let options = StoreOptions::new(config.shape());
        Self::create_on(disk, (config, &options), threads)
    }

    /// As [`create`](Self::create), on any disk whose folder exists, with a vector store of these options; their shape is the
    /// configuration's.
    pub fn create_on(
        disk: impl Disk + 'static,
        (config, options): (CollectionConfig, &StoreOptions),
        threads: usize,
    ) -> Result<Self, CollectionError> {
        config.check()?;
        let pool = pool(threads)?;
        let beginning = Beginning::on(&disk)?;
        let vectors = disk.within(VECTORS).map_err(io("create", &disk.path(VECTORS)))?;
        let store = VectorStore::create_on(vectors, &StoreOptions { shape: config.shape(), ..*options })?;
        let schema = config.schema.clone();
        let metadata = schema.map(|schema| MetadataStore::create_on(&disk, METADATA, schema)).transpose()?;
        // Last: with it there is a collection.
        config.save(&disk)?;
        beginning.end(&disk);
        let state = State::new(store.snapshot(), None, Nodes::default(), IdSet::new());
        let writer = Some(Writer::default());
        let collection = Self::over(Box::new(disk), config, (store, metadata), (state, pool), writer);
        if collection.metadata.is_some() {
            collection.store.keep_since(0)?;
        }
        Ok(collection)
    }

    /// Opens a collection for changes, which are computed on `threads` threads, at least 1.
    pub fn open(folder: impl AsRef<Path>, threads: usize) -> Result<Self, CollectionError> {
        Self::open_on(Folder::at(folder.as_ref()), threads)
    }

    /// As [`open`](Self::open), on any disk.
    pub fn open_on(disk: impl Disk + 'static, threads: usize) -> Result<Self, CollectionError> {
        let folder = disk.folder().to_owned();
        let config = CollectionConfig::load(&folder)?;
        // A process that was killed may have given it its name, and not made that durable.
        disk.sync_folder().map_err(io("sync", &folder))?;
        let pool = pool(threads)?;
        let vectors = folder.join(VECTORS);
        if !vectors.is_dir() {
            return Err(StoreError::NoStore(vectors).into());
        }
        let store = VectorStore::open_on(disk.within(VECTORS).map_err(io("open", &vectors))?)?;
        config.check_store(&store, &folder)?;
        let schema = config.schema.as_ref();
        let metadata = schema.map(|schema| MetadataStore::open_on(&disk, METADATA, schema)).transpose()?;
        remove_mark(&disk);
        graph::remove_unfinished(&disk);
        let state = opened_state(&folder, &config, &store, Some(&pool));
        let durable = metadata.as_ref().map_or(Ok(0), MetadataStore::sequence)?;
        let writer = Writer::at(graph::newest(&folder), durable);
        let collection = Self::over(Box::new(disk), config, (store, metadata), (state, pool), Some(writer));
        collection.catch_up()?;
        Ok(collection)
    }

    /// Opens a collection for searches only: nothing is changed. One without fields may be open for changes in another process,
    /// whose later changes are not seen; one with fields may not, and if a process that was killed left its metadata behind the
    /// vectors it must be opened for changes once before.
    pub fn open_read_only(folder: impl AsRef<Path>) -> Result<Self, CollectionError> {
        let folder = folder.as_ref();
        let config = CollectionConfig::load(folder)?;
        let pool = pool(1)?;
        let store = VectorStore::open_read_only(folder.join(VECTORS))?;
        config.check_store(&store, folder)?;
        let metadata = config.schema.as_ref().map(|_| MetadataStore::open_read_only(folder.join(METADATA)));
        let metadata = metadata.transpose()?;
        if let Some(metadata) = &metadata {
            config.check_schema(metadata, folder)?;
            let (expected, found) = (store.sequence(), metadata.sequence()?);
            if found != expected {
                return Err(CollectionError::Stale { path: folder.join(METADATA), expected, found });
            }
        }
        let state = opened_state(folder, &config, &store, None);
        Ok(Self::over(Box::new(Folder::at(folder)), config, (store, metadata), (state, pool), None))
    }

    fn over(
        disk: Box<dyn Disk>,
        config: CollectionConfig,
        (store, metadata): (VectorStore, Option<MetadataStore>),
        (state, pool): (State, ThreadPool),
        writer: Option<Writer>,
    ) -> Self {
        Self {
            folder: disk.folder().to_owned(),
            disk,
            config,
            store,
            metadata,
            state: RwLock::new(state),
            writer: writer.map(Mutex::new),
            pool,
            turns: AtomicU64::new(0),
            packing: Mutex::new(()),
            idle: Idle::default(),
        }
    }

    /// Lets metadata and index follow the changes that they missed.
    fn catch_up(&self) -> Result<(), CollectionError> {
        if let Some(metadata) = &self.metadata {
            let found = metadata.sequence()?;
            let missed = self.store.since(found)?;
            let missed = missed.ok_or_else(|| CollectionError::Gap { path: self.folder.join(METADATA), found })?;
            for past in &missed {
                self.apply_past(past)?;
            }
            self.store.keep_since(found)?;
            let mut writer = self.lock_writer()?;
            self.keep_metadata(&mut writer)?;
        }
        self.grow_graph()?;
        // Afterwards: what is gone leads to what has come. Those too that a search still wanted when the index was saved.
        let state = self.read();
        if let Some(Graph::Live(live)) = state.graph.as_deref() {
            let gone: Vec<u32> =
                (0..state.nodes.len() as u32).filter(|&node| !state.nodes.alive().contains(node)).collect();
            live.delete(&gone);
        }
        Ok(())
    }

    /// Lets a live graph take in the vectors that it does not hold, if it may.
    pub(super) fn grow_graph(&self) -> Result<(), CollectionError> {
        let (graph, snapshot, tail) = {
            let state = self.read();
            if !state.takes(&self.config.index, state.tail.len()) {
                return Ok(());
            }
            (state.graph.clone(), state.snapshot.clone(), state.tail.iter().collect::<Vec<u32>>())
        };
        let Some(Graph::Live(live)) = graph.as_deref() else { return Ok(()) };
        self.write().changing = true;
        for slots in tail.chunks(AT_ONCE) {
            let (mut rows, mut buffer) = (Vec::with_capacity(slots.len() * self.config.dim), Vec::new());
            for &slot in slots {
                with_row(&snapshot, slot, &mut buffer, |row| rows.extend_from_slice(row))?;
            }
            let nodes = live.insert(Vectors::new(&rows, self.config.dim), &self.pool)?;
            self.part_nodes();
            let mut state = self.write();
            state.epoch += 1;
            for (&slot, node) in slots.iter().zip(nodes) {
                state.tail.remove(slot);
                let sequence = snapshot.written_by(slot).expect("only what is there is missing from the index");
                Arc::make_mut(&mut state.nodes).put(node, slot, sequence);
            }
        }
        self.write().changing = false;
        Ok(())
    }
}

impl Drop for Collection {
    /// Makes everything durable, so that the next opening has nothing to catch up. Errors have nobody to go to: call
    /// [`Collection::sync`] first.
    fn drop(&mut self) {
        // What the store does not keep, metadata must not keep either: closing it would.
        if self.writer.is_some()
            && self.sync().is_err()
            && let Some(metadata) = self.metadata.take()
        {
            metadata.abandon();
        }
    }
}

/// What can be searched at once: the newest index, without what is gone; the rest one by one.
fn opened_state(folder: &Path, config: &CollectionConfig, store: &VectorStore, writable: Option<&ThreadPool>) -> State {
    let snapshot = store.snapshot();
    let opened = Graph::open(folder, (&config.index, config.metric, config.dim), (writable, &snapshot));
    let (graph, mut nodes) = opened.map_or_else(|| (None, Nodes::default()), |(graph, nodes)| (Some(graph), nodes));
    let held = nodes.alive_slots().filter(|&(slot, _)| slot != NONE);
    let stale = held.filter(|&(slot, sequence)| snapshot.written_by(slot) != Some(sequence));
    let stale: Vec<u32> = stale.map(|(slot, _)| slot).collect();
    for slot in stale {
        nodes.remove(slot);
    }
    let tail = snapshot.slots().map(|(slot, _)| slot).filter(|&slot| nodes.node(slot).is_none()).collect();
    State::new(snapshot, graph.map(Into::into), nodes, tail)
}

fn pool(threads: usize) -> Result<ThreadPool, CollectionError> {
    ParamError::check("threads", threads, 1, 1024)?;
    let pool = ThreadPoolBuilder::new().num_threads(threads).build().map_err(|error| {
        let expected = "few enough to start".to_owned();
        ParamError { name: "threads", expected, found: error.to_string() }
    })?;
    // Whatever a thread takes to start is taken when a collection opens, not beside its first searches.
    pool.broadcast(|_| ());
    Ok(pool)
}

pub(super) fn io<'p>(doing: &'static str, path: &'p Path) -> impl FnOnce(std::io::Error) -> CollectionError + use<'p> {
    move |cause| CollectionError::Io { doing, path: path.to_owned(), cause }
}
