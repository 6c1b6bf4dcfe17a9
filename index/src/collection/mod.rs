//! A collection: vectors, what records say about themselves, and an index, in one folder and in one step.
//!
//! | file | holds |
//! |---|---|
//! | `collection.json` | what is fixed: components, metric, index, fields |
//! | `unfinished` | nothing; it stands there while the collection is made |
//! | `vectors/` | the vector store, whose log tells what was changed |
//! | `metadata.redb` | documents and their indexes; what is behind the log is caught up when the collection is opened |
//! | `index-G`, `nodes-G` | the index of generation G, and which node holds which slot; caught up likewise, or built anew |
//!
//! A change is one record of the store's log, in which the documents ride along: it is there as a whole or not at all. One thread
//! changes a collection at a time; searches go on meanwhile, and each sees the records between two changes. Vectors that the index
//! does not hold yet are compared one by one, so that nothing is missed: all of them in a flat collection, or until there
//! are [`GRAPH_FROM`] under a graph, or those that came after the lists were made, or after a graph over codes was built of fewer and has
//! taken in as many again.
//!
//! ```
//! use nearlab_index::collection::{Collection, CollectionConfig, IndexConfig, Records, SearchOptions};
//! use nearlab_simd::Metric;
//! use nearlab_storage::Vectors;
//! use nearlab_storage::metadata::{Document, Field, FieldKind, Filter, Schema, Value};
//! use nearlab_storage::store::{Durability, ElementKind, Id, IdKind};
//!
//! # let folder = tempfile::tempdir()?;
//! let schema = Schema::new([Field::new("price", FieldKind::Float)])?;
//! let config = CollectionConfig {
//!     dim: 2, metric: Metric::L2, element: ElementKind::F32, ids: IdKind::Names, index: IndexConfig::Flat, schema: Some(schema.clone()),
//! };
//! let collection = Collection::create(folder.path().join("shop"), config, 1)?;
//! let priced = |price| Document::new().with("price", Value::Float(price));
//! let records = Records {
//!     ids: (&["hat", "cap"]).into(), vectors: Vectors::new(&[0.0, 1.0, 0.0, 2.0], 2), documents: &[priced(30.0), priced(9.5)],
//! };
//! collection.upsert(&records, Durability::Sync)?;
//! let cheap = Filter::parse(&schema, "price < 20")?;
//! let options = SearchOptions { filter: Some(&cheap), ..SearchOptions::default() };
//! let hits = collection.searcher().search(&[0.0, 0.0], 10, &options)?;
//! assert_eq!((hits.len(), hits[0].id.to_string(), hits[0].distance), (1, "cap".to_owned(), 4.0));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod backup;
mod begin;
mod config;
mod era;
mod error;
mod graph;
mod maintain;
mod measure;
mod nodes;
mod open;
mod scene;
mod search;
mod snapshot;
mod sync;
mod write;

use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError};

use nearlab_storage::disk::Disk;
use nearlab_storage::metadata::{Document, MetadataSnapshot, MetadataStore};
use nearlab_storage::store::{Ids, Snapshot, VectorStore};
use rayon::ThreadPool;

pub use config::{CollectionConfig, IndexConfig};
pub use error::CollectionError;
pub use maintain::{CollectionStats, Damage};
pub use search::{CollectionSearcher, Hit, SearchOptions};
pub use snapshot::CollectionSnapshot;
pub use write::Records;

use crate::IdSet;
use crate::scratch::Idle;
use era::{Era, Fading};
use graph::Graph;
use nodes::Nodes;
use search::SearchScratch;
use sync::atomic::AtomicU64;
use sync::{Mutex, MutexGuard, RwLock, RwLockReadGuard, RwLockWriteGuard};
use write::Writer;

/// Vectors from which on a collection with a graph has one; under shuttle a few, so that schedules reach it.
pub const GRAPH_FROM: usize = if cfg!(shuttle) { 8 } else { 10_000 };

/// Vectors that codes must have learnt from before a graph takes in others, under [`GRAPH_FROM`].
const LEARNT_FROM: usize = 256;

/// Records that are found by their vectors and by what they say; see the [module](self).
#[derive(Debug)]
pub struct Collection {
    folder: PathBuf,
    disk: Box<dyn Disk>,
    config: CollectionConfig,
    store: VectorStore,
    metadata: Option<MetadataStore>,
    state: RwLock<State>,
    /// None where the collection is open read-only.
    writer: Option<Mutex<Writer>>,
    pool: ThreadPool,
    /// Odd while documents and nodes are of different changes.
    turns: AtomicU64,
    /// Held while vectors are packed, or copied with the files they lie in. Before the writer's, where both are.
    packing: Mutex<()>,
    /// Memory for searchers.
    idle: Idle<SearchScratch>,
}

/// What searches see.
#[derive(Debug)]
struct State {
    snapshot: Snapshot,
    graph: Option<Arc<Graph>>,
    /// Shared with snapshots.
    nodes: Arc<Nodes>,
    /// Slots of vectors that the graph does not hold.
    tail: IdSet,
    /// Another one whenever documents, nodes or these slots are others.
    epoch: u64,
    /// Whether the graph may hold vectors that no node is known of yet.
    changing: bool,
    /// Whether the graph may not lead everywhere: from when it is mended until it is.
    gaps: bool,
    /// Held by searches and snapshots that see this state.
    era: Arc<Era>,
    fading: Fading,
}

impl State {
    fn new(snapshot: Snapshot, graph: Option<Arc<Graph>>, nodes: Nodes, tail: IdSet) -> Self {
        let nodes = Arc::new(nodes);
        Self {
            snapshot,
            graph,
            nodes,
            tail,
            epoch: 0,
            changing: false,
            gaps: false,
            era: Arc::default(),
            fading: Fading::default(),
        }
    }

    /// Whether a graph may take in `more` vectors, as its codes see them: what a few have taught may suit no others, nor may what others than
    /// these have. They can be compared one by one instead, until the graph is built anew. What replaces others counts as what is
    /// added does: of those that the codes have learnt from it leaves no more.
    fn takes(&self, config: &IndexConfig, more: usize) -> bool {
        let IndexConfig::Hnsw(params) = config else { return false };
        let built_of = self.nodes.built_of();
        let few = built_of >= LEARNT_FROM && self.nodes.taken_in().saturating_add(more) <= built_of;
        let outgrown = matches!(self.graph.as_deref(), Some(Graph::Live(live)) if live.is_outgrown());
        !outgrown && (!params.learns() || built_of >= GRAPH_FROM || few)
    }
}

/// A record as it was put.
#[derive(Debug, Clone, PartialEq)]
pub struct Record {
    /// Its vector.
    pub vector: Vec<f32>,
    /// What it says; none in a collection without fields.
    pub document: Option<Document>,
}

impl Collection {
    /// What was fixed when it was made.
    pub fn config(&self) -> &CollectionConfig {
        &self.config
    }

    /// Its folder.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// How many records there are.
    pub fn len(&self) -> usize {
        self.read().snapshot.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The number of the last change.
    pub fn sequence(&self) -> u64 {
        self.read().snapshot.sequence()
    }

    /// Prepares one thread's searches, in memory that an earlier searcher left where there is some.
    pub fn searcher(&self) -> CollectionSearcher<'_> {
        CollectionSearcher::new(self, None)
    }

    /// The records with these ids, in order, as far as there are any.
    pub fn get<'a>(&self, ids: impl Into<Ids<'a>>) -> Result<Vec<Option<Record>>, CollectionError> {
        let (snapshot, metadata) = self.settled(|state| {
            let metadata = self.metadata.as_ref().map(MetadataStore::snapshot).transpose()?;
            Ok((state.snapshot.clone(), metadata))
        })?;
        records(&snapshot, ids.into(), |slots| documents(metadata.as_ref(), slots))
    }

    fn read(&self) -> RwLockReadGuard<'_, State> {
        self.state.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, State> {
        self.state.write().unwrap_or_else(PoisonError::into_inner)
    }

    fn lock_writer(&self) -> Result<MutexGuard<'_, Writer>, CollectionError> {
        let writer = self.writer.as_ref().ok_or_else(|| CollectionError::ReadOnly(self.folder.clone()))?;
        Ok(writer.lock().unwrap_or_else(|poisoned| {
            let mut writer = poisoned.into_inner();
            writer.was_left();
            writer
        }))
    }
}

/// What slots say; none for each where there are no fields.
fn documents(metadata: Option<&MetadataSnapshot<'_>>, slots: &[u32]) -> Result<Vec<Option<Document>>, CollectionError> {
    match metadata {
        Some(metadata) => Ok(metadata.get(slots)?),
        None => Ok(vec![None; slots.len()]),
    }
}

/// The records with these ids, as far as there are any; what slots say is asked of `documents`.
fn records(
    snapshot: &Snapshot,
    ids: Ids<'_>,
    documents: impl FnOnce(&[u32]) -> Result<Vec<Option<Document>>, CollectionError>,
) -> Result<Vec<Option<Record>>, CollectionError> {
    let slots = snapshot.slots_of(ids)?;
    let mut documents = documents(&slots.iter().flatten().copied().collect::<Vec<_>>())?.into_iter();
    let mut buffer = Vec::new();
    let record = |slot: Option<u32>| {
        let Some(slot) = slot else { return Ok(None) };
        let vector = measure::with_row(snapshot, slot, &mut buffer, <[f32]>::to_vec)?;
        let document = documents.next().flatten();
        Ok(vector.map(|vector| Record { vector, document }))
    };
    slots.into_iter().map(record).collect()
}
