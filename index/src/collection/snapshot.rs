//! A collection as it was at one moment, for as long as it is wanted.
//!
//! Rows, documents and the index's nodes are those of the moment: the store and the metadata keep what was replaced since, and a live
//! graph goes on to find nodes whose vectors are gone, until no snapshot or search of their era is left.

use std::sync::Arc;

use nearlab_storage::metadata::{Document, Filter, MetadataSnapshot, MetadataStore, RoaringBitmap};
use nearlab_storage::store::{Id, Ids, Snapshot};

use super::era::Era;
use super::graph::Graph;
use super::nodes::Nodes;
use super::scene::Shown;
use super::search::ids;
use super::{Collection, CollectionError, CollectionSearcher, Record, records};
use crate::IdSet;

/// A collection as it was when this was taken, whatever changes since: any number of threads may read and search it. Taking one costs
/// a copy of the set of records that the index does not hold; the first change afterwards copies which node holds which record, some 20
/// bytes for each. While it is kept, what it needs is kept: rows that were compacted away stay on the disk, the metadata grow as
/// records change, and vectors that were deleted stay in a graph, through which searches of the collection then find their way less quickly.
#[derive(Debug)]
pub struct CollectionSnapshot<'a> {
    collection: &'a Collection,
    metadata: Option<MetadataSnapshot<'a>>,
    pub(super) moment: Moment,
}

/// What was at that moment.
#[derive(Debug)]
pub(super) struct Moment {
    epoch: u64,
    snapshot: Snapshot,
    graph: Option<Arc<Graph>>,
    pub(super) nodes: Arc<Nodes>,
    tail: IdSet,
    era: Arc<Era>,
}

impl Moment {
    pub(super) fn shown(&self) -> Shown<'_> {
        let Self { epoch, snapshot, graph, nodes, tail, .. } = self;
        // Its searches hold no era: the snapshot does, and nobody waits for them.
        Shown { epoch: *epoch, snapshot, graph, nodes, tail, era: None, changing: true, fading: false }
    }
}

impl Collection {
    /// The collection as it is now, to be read and searched however it changes.
    pub fn snapshot(&self) -> Result<CollectionSnapshot<'_>, CollectionError> {
        self.settled(|state| {
            let metadata = self.metadata.as_ref().map(MetadataStore::snapshot).transpose()?;
            let era = Arc::clone(&state.era);
            era.begin_snapshot();
            let (snapshot, graph, nodes) = (state.snapshot.clone(), state.graph.clone(), Arc::clone(&state.nodes));
            let moment = Moment { epoch: state.epoch, snapshot, graph, nodes, tail: state.tail.clone(), era };
            Ok(CollectionSnapshot { collection: self, metadata, moment })
        })
    }
}

impl Drop for CollectionSnapshot<'_> {
    /// Lets the graph forget what only this wanted, unless somebody is changing the collection, who will, or the next search.
    fn drop(&mut self) {
        let era = std::mem::take(&mut self.moment.era);
        era.end_snapshot();
        drop(era);
        self.collection.try_to_fade();
    }
}

impl CollectionSnapshot<'_> {
    /// How many records there are.
    pub fn len(&self) -> usize {
        self.moment.snapshot.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The number of the last change that it sees.
    pub fn sequence(&self) -> u64 {
        self.moment.snapshot.sequence()
    }

    /// As [`Collection::get`].
    pub fn get<'a>(&self, ids: impl Into<Ids<'a>>) -> Result<Vec<Option<Record>>, CollectionError> {
        records(&self.moment.snapshot, ids.into(), |slots| self.documents(slots))
    }

    /// As [`Collection::matching`].
    pub fn matching(&self, filter: &Filter) -> Result<Vec<Id>, CollectionError> {
        Ok(ids(&self.moment.snapshot, &self.slots(filter)?))
    }

    /// Prepares one thread's searches.
    pub fn searcher(&self) -> CollectionSearcher<'_> {
        CollectionSearcher::new(self.collection, Some(self))
    }

    pub(super) fn slots(&self, filter: &Filter) -> Result<RoaringBitmap, CollectionError> {
        let metadata = self.metadata.as_ref().ok_or(CollectionError::NoSchema)?;
        Ok(metadata.filter(filter)?)
    }

    pub(super) fn documents(&self, slots: &[u32]) -> Result<Vec<Option<Document>>, CollectionError> {
        super::documents(self.metadata.as_ref(), slots)
    }
}
