//! Searching a collection: the index for what it holds, one by one for the rest, and both together for the answer.

use std::sync::{Arc, TryLockError};

use nearlab_storage::metadata::{Document, Filter, MetadataSnapshot, MetadataStore, RoaringBitmap};
use nearlab_storage::store::{Id, Snapshot};

use super::graph::IndexScratch;
use super::measure::Measure;
use super::nodes::Nodes;
use super::scene::{Among, Passing, Scene, is_of, passing, scene};
use super::snapshot::CollectionSnapshot;
use super::sync::atomic::Ordering;
use super::sync::{pause, yield_now};
use super::{Collection, CollectionError, State};
use crate::hnsw::HnswSearchParams;
use crate::ivf::IvfSearchParams;
use crate::memory::Capacity;
use crate::top_k::TopK;
use crate::{IdSet, Neighbor};

/// How often a search begins anew because it met what was put in after it had begun.
const ATTEMPTS: usize = 16;
/// Candidates that the index is asked for beyond `5 k / 4`, where distances are computed anew: codes may rank the last ones wrongly.
const SPARE: usize = 8;
/// How often it looks for a moment between two changes at once, then with pauses, before it waits for the one who makes them.
const LOOKS: usize = 1000;
const PAUSES: usize = 10_000;
/// How often what passes a filter is found out beside changes, all of which made it out of date, before one of them waits.
const BESIDE: usize = 3;

/// What is chosen anew for each search.
#[derive(Debug, Clone, Copy)]
pub struct SearchOptions<'a> {
    /// Which records can be found; all where there is none. Of the collection's own schema.
    pub filter: Option<&'a Filter>,
    /// How a graph is searched.
    pub hnsw: HnswSearchParams,
    /// How lists are searched.
    pub ivf: IvfSearchParams,
    /// Whether the distances of what the index found are computed anew from the vectors as they are kept, and what is returned is
    /// sorted by these; otherwise they are those of the index's codes, and no vector is read.
    pub exact: bool,
    /// Whether documents are returned too.
    pub documents: bool,
}

impl Default for SearchOptions<'_> {
    /// Candidates and lists enough for a recall of some .95 on most sets; exact distances, without documents.
    fn default() -> Self {
        Self {
            filter: None,
            hnsw: HnswSearchParams::new(100),
            ivf: IvfSearchParams { nprobe: 32 },
            exact: true,
            documents: false,
        }
    }
}

/// A record that was found.
#[derive(Debug, Clone, PartialEq)]
pub struct Hit {
    /// Its id.
    pub id: Id,
    /// The distance of its vector; see the [crate](crate#distances).
    pub distance: f32,
    /// What it says, if that was asked for.
    pub document: Option<Document>,
}

/// One thread's searches of a [`Collection`]. Its memory comes from those that were dropped, and goes to those to come.
#[derive(Debug)]
pub struct CollectionSearcher<'a> {
    collection: &'a Collection,
    /// What is searched instead of the collection as it is.
    at: Option<&'a CollectionSnapshot<'a>>,
    scratch: SearchScratch,
}

/// The memory of one thread's searches.
#[derive(Debug, Default)]
pub(super) struct SearchScratch {
    index: IndexScratch,
    measure: Measure,
    top: TopK,
    found: Vec<Neighbor>,
    /// The slots to compare one by one.
    pub(super) tail: Vec<u32>,
    /// Nodes that pass the filter.
    pub(super) matches: IdSet,
    /// Of which filter these two are, and as of when; none where they are of none.
    matched: Option<(Filter, u64)>,
}

impl Capacity for SearchScratch {
    fn capacity_bytes(&self) -> usize {
        let Self { index, measure, top, found, tail, matches, matched: _ } = self;
        let one_by_one = measure.capacity_bytes() + tail.capacity_bytes();
        index.capacity_bytes() + one_by_one + top.capacity_bytes() + found.capacity_bytes() + matches.capacity_bytes()
    }
}

impl Drop for CollectionSearcher<'_> {
    fn drop(&mut self) {
        self.collection.idle.put(std::mem::take(&mut self.scratch));
    }
}

impl<'a> CollectionSearcher<'a> {
    pub(super) fn new(collection: &'a Collection, at: Option<&'a CollectionSnapshot<'a>>) -> Self {
        Self { collection, at, scratch: collection.idle.take() }
    }

    /// Finds the `k` records nearest to `query`, nearest first; fewer where fewer pass the filter.
    ///
    /// Panics when the query has another dimension than the collection, or the filter another schema.
    pub fn search(
        &mut self,
        query: &[f32],
        k: usize,
        options: &SearchOptions<'_>,
    ) -> Result<Vec<Hit>, CollectionError> {
        let mut hits = Vec::new();
        self.search_into(query, k, options, &mut hits)?;
        Ok(hits)
    }

    /// As [`search`](Self::search), in place of what `hits` held. Without documents, and without a filter or with the one that the search
    /// before had, it allocates only while `hits` or the searcher still grows; what passes a filter is found out once between two changes.
    pub fn search_into(
        &mut self,
        query: &[f32],
        k: usize,
        options: &SearchOptions<'_>,
        hits: &mut Vec<Hit>,
    ) -> Result<(), CollectionError> {
        crate::index::assert_query(query, self.collection.config.dim);
        self.scratch.measure.prepare(self.collection.config.metric, query);
        let mut attempt = 1;
        loop {
            let scene = self.look(options)?;
            let unknown = self.find(&scene, (query, k), options)?;
            if unknown == 0 || attempt == ATTEMPTS {
                let (put, fading) = (self.put_hits(&scene, options.documents, hits), scene.fading);
                drop(scene);
                if fading {
                    self.collection.try_to_fade();
                }
                return put;
            }
            attempt += 1;
        }
    }

    /// Fixes what is looked at: the slots to compare one by one are put into `tail`, the nodes that pass a filter into `matches`.
    fn look(&mut self, options: &SearchOptions<'_>) -> Result<Scene<'a>, CollectionError> {
        let (collection, scratch) = (self.collection, &mut self.scratch);
        let known = scratch.matched.take().filter(|(filter, _)| Some(filter) == options.filter);
        let (scene, epoch) = if let Some(at) = self.at {
            let shown = at.moment.shown();
            let passing = passing(options.filter, is_of(known.as_ref(), shown), |filter| at.slots(filter))?;
            let scene = scene(shown, passing, scratch);
            (Scene { nodes: Some(Arc::clone(&at.moment.nodes)), ..scene }, shown.epoch)
        } else if options.filter.is_none() && !options.documents {
            let state = collection.read();
            (scene(state.shown(), Passing::All, scratch), state.epoch)
        } else {
            collection.look_settled(options, known.as_ref(), scratch)?
        };
        let filter = known.map(|(filter, _)| filter).or_else(|| options.filter.cloned());
        self.scratch.matched = filter.map(|filter| (filter, epoch));
        Ok(scene)
    }

    /// Puts the nearest into `found`, by slot. How many the index found that are not of the moment that is looked at.
    fn find(
        &mut self,
        scene: &Scene<'_>,
        (query, k): (&[f32], usize),
        options: &SearchOptions<'_>,
    ) -> Result<usize, CollectionError> {
        let Self { collection, scratch: SearchScratch { index, measure, top, found, tail, matches, .. }, .. } = self;
        found.clear();
        let metric = collection.config.metric;
        if let Some(graph) = &scene.graph {
            let asked = if options.exact { k.saturating_add(k / 4 + SPARE) } else { k };
            let among = match &scene.among {
                Among::All => None,
                Among::Alive(alive) => Some(&**alive),
                Among::Matches => Some(&*matches),
            };
            graph.search(index, (query, asked), (options, among), found)?;
        }
        let met = found.len();
        let mut keep = |nodes: &Nodes| {
            found.retain_mut(|neighbor| {
                let known = nodes.slot(neighbor.id);
                let seen = known.filter(|&(slot, sequence)| {
                    // What the graph took in meanwhile is compared one by one all the same.
                    scene.snapshot.written_by(slot) == Some(sequence) && tail.binary_search(&slot).is_err()
                });
                neighbor.id = seen.map_or(neighbor.id, |(slot, _)| slot);
                seen.is_some()
            });
        };
        if let Some(nodes) = &scene.nodes {
            keep(nodes);
        } else {
            let state = collection.read();
            // The nodes of a graph that was built anew are others.
            let same = match (&scene.graph, &state.graph) {
                (Some(searched), Some(now)) => Arc::ptr_eq(searched, now),
                (searched, _) => searched.is_none(),
            };
            if !same {
                found.clear();
                return Ok(met.max(1));
            }
            keep(&state.nodes);
        }
        let unknown = met - found.len();
        if options.exact {
            for neighbor in found.iter_mut() {
                if let Some(distance) = measure.distance(metric, &scene.snapshot, neighbor.id)? {
                    neighbor.distance = distance;
                }
            }
        }
        top.begin(k);
        top.extend(found.iter().map(|neighbor| (neighbor.id, neighbor.distance)));
        measure.scan(metric, &scene.snapshot, tail.iter().copied(), top)?;
        top.finish(found);
        Ok(unknown)
    }

    fn put_hits(&self, scene: &Scene<'_>, documents: bool, hits: &mut Vec<Hit>) -> Result<(), CollectionError> {
        let found = &self.scratch.found;
        hits.clear();
        hits.reserve(found.len());
        let mut documents = if documents {
            let slots: Vec<u32> = found.iter().map(|neighbor| neighbor.id).collect();
            match self.at {
                Some(at) => at.documents(&slots)?,
                None => super::documents(scene.metadata.as_ref(), &slots)?,
            }
        } else {
            Vec::new()
        }
        .into_iter();
        hits.extend(found.iter().filter_map(|neighbor| {
            let document = documents.next().flatten();
            scene.snapshot.id(neighbor.id).map(|id| Hit { id, distance: neighbor.distance, document })
        }));
        Ok(())
    }
}

/// How a look at a collection went.
enum Looked<'a, 'f> {
    /// What was seen, and as of which state.
    Seen(Scene<'a>, u64),
    /// What passes this filter in these documents is not known yet, as of that state.
    Asks(&'f Filter, MetadataSnapshot<'a>, u64),
}

impl Collection {
    /// The ids of the records that pass a filter, in the order of their slots.
    ///
    /// Panics when the filter is of another schema.
    pub fn matching(&self, filter: &Filter) -> Result<Vec<Id>, CollectionError> {
        let metadata = self.metadata.as_ref().ok_or(CollectionError::NoSchema)?;
        let (snapshot, metadata) = self.settled(|state| Ok((state.snapshot.clone(), metadata.snapshot()?)))?;
        Ok(ids(&snapshot, &metadata.filter(filter)?))
    }

    /// What a search looks at with a filter or for documents, and as of which state. What passes the filter is found out beside changes,
    /// from a snapshot.
    fn look_settled(
        &self,
        options: &SearchOptions<'_>,
        known: Option<&(Filter, u64)>,
        scratch: &mut SearchScratch,
    ) -> Result<(Scene<'_>, u64), CollectionError> {
        let mut found: Option<(RoaringBitmap, u64)> = None;
        for attempt in 0.. {
            let looked = self.settled(|state| {
                let shown = state.shown();
                let is_known = is_of(known, shown);
                let now = found.take().filter(|&(_, epoch)| epoch == shown.epoch).map(|(slots, _)| slots);
                let asks = options.filter.filter(|_| !is_known && now.is_none());
                let metadata = self.metadata.as_ref().filter(|_| options.documents || asks.is_some());
                let metadata = metadata.map(MetadataStore::snapshot).transpose()?;
                if let Some(filter) = asks.filter(|_| attempt < BESIDE) {
                    return Ok(Looked::Asks(filter, metadata.ok_or(CollectionError::NoSchema)?, shown.epoch));
                }
                let passing = passing(options.filter, is_known, |filter| match now {
                    Some(slots) => Ok(slots),
                    None => Ok(metadata.as_ref().ok_or(CollectionError::NoSchema)?.filter(filter)?),
                })?;
                Ok(Looked::Seen(Scene { metadata, ..scene(shown, passing, scratch) }, shown.epoch))
            })?;
            match looked {
                Looked::Seen(scene, epoch) => return Ok((scene, epoch)),
                Looked::Asks(filter, metadata, epoch) => found = Some((metadata.filter(filter)?, epoch)),
            }
        }
        unreachable!("the last attempt looks whatever passes")
    }

    /// Does something while documents and nodes are of the same change.
    pub(super) fn settled<T>(
        &self,
        mut look: impl FnMut(&State) -> Result<T, CollectionError>,
    ) -> Result<T, CollectionError> {
        if self.metadata.is_none() {
            return look(&self.read());
        }
        for looks in 0..LOOKS + PAUSES {
            let turn = self.turns.load(Ordering::Acquire);
            if turn.is_multiple_of(2) {
                let seen = look(&self.read())?;
                if self.turns.load(Ordering::Acquire) == turn {
                    return Ok(seen);
                }
            }
            if looks < LOOKS {
                yield_now();
                continue;
            }
            // Who holds this may be building a graph: that is not waited for.
            let writer = self.writer.as_ref().map(|writer| writer.try_lock());
            if !matches!(writer, Some(Err(TryLockError::WouldBlock))) {
                return look(&self.read());
            }
            pause();
        }
        let writer = self.writer.as_ref().map(|writer| writer.lock());
        let seen = look(&self.read());
        drop(writer);
        seen
    }
}

/// The ids of slots, in their order.
pub(super) fn ids(snapshot: &Snapshot, slots: &RoaringBitmap) -> Vec<Id> {
    slots.iter().filter_map(|slot| snapshot.id(slot)).collect()
}
