//! The times between changes, and the nodes that stay in a graph for those who look at one that is over.

use std::collections::VecDeque;
use std::sync::{Arc, PoisonError, TryLockError};

use super::Collection;
use super::graph::Graph;
use super::sync::atomic::{AtomicUsize, Ordering, fence};
use crate::Mutable;

/// The time between two changes, as those who look at it hold it.
#[derive(Debug, Default)]
pub(super) struct Era {
    /// Of those who hold it.
    snapshots: AtomicUsize,
}

impl Era {
    /// A snapshot begins to hold it.
    pub(super) fn begin_snapshot(&self) {
        self.snapshots.fetch_add(1, Ordering::AcqRel);
    }

    /// A snapshot is about to let it go.
    pub(super) fn end_snapshot(&self) {
        self.snapshots.fetch_sub(1, Ordering::AcqRel);
    }

    /// Whether searches of this era, which has ended and somebody else keeps, are under way, other than those of snapshots.
    fn is_searched(era: &Arc<Self>) -> bool {
        // In this order: a snapshot is counted out before it lets go.
        let holders = holders(era);
        holders > 1 + era.snapshots.load(Ordering::Acquire)
    }
}

/// How many hold an era. What those did before who hold it no more is seen by what follows.
fn holders(era: &Arc<Era>) -> usize {
    let holders = Arc::strong_count(era);
    fence(Ordering::Acquire);
    holders
}

/// Nodes whose vectors are gone, but which the graph still finds, because searches of their era may want them.
#[derive(Debug, Default)]
pub(super) struct Fading {
    /// From the oldest era to the youngest.
    eras: VecDeque<(Arc<Era>, Vec<u32>)>,
    /// Of one that is over: memory for the next.
    spare: Option<(Arc<Era>, Vec<u32>)>,
}

impl Fading {
    /// Whether there are none.
    pub(super) fn is_empty(&self) -> bool {
        self.eras.is_empty()
    }

    /// Whether searches of an era that has ended are under way, other than those of snapshots.
    pub(super) fn is_searched(&self) -> bool {
        self.eras.iter().any(|(era, _)| Era::is_searched(era))
    }

    /// Ends an era if these nodes, which are gone after it, are any.
    pub(super) fn end_with(&mut self, era: &mut Arc<Era>, gone: impl Iterator<Item = u32>) {
        let mut gone = gone.peekable();
        if gone.peek().is_some() {
            self.end(era, gone);
        }
    }

    /// Ends an era, after which these nodes are gone.
    pub(super) fn end(&mut self, era: &mut Arc<Era>, gone: impl Iterator<Item = u32>) {
        let (next, mut nodes) = self.spare.take().unwrap_or_default();
        nodes.extend(gone);
        self.eras.push_back((std::mem::replace(era, next), nodes));
    }

    /// Whether no search can want the nodes of the oldest era any more. Those of younger ones, which may be over too, wait for it: their
    /// nodes would stand before these.
    pub(super) fn is_due(&self) -> bool {
        self.eras.front().is_some_and(|(era, _)| holders(era) == 1)
    }

    /// Takes the nodes of the oldest era, which [is due](Self::is_due) and goes on to fade until they are [`done`](Self::done).
    pub(super) fn due(&mut self) -> Vec<u32> {
        std::mem::take(&mut self.eras.front_mut().expect("an era that is due is there").1)
    }

    /// The graph has forgotten what was due.
    pub(super) fn done(&mut self, mut nodes: Vec<u32>) {
        nodes.clear();
        self.spare = self.eras.pop_front().map(|(era, _)| (era, nodes));
    }

    /// Begins anew under another graph, which has none of these nodes, with an era of its own: who holds the one before wants none of its nodes.
    pub(super) fn begin_anew(&mut self, era: &mut Arc<Era>) {
        self.eras.clear();
        *era = Arc::default();
    }
}

impl Collection {
    /// Lets the graph forget nodes that no search can want any more. For whoever has the writer's lock.
    pub(super) fn fade(&self) {
        while self.read().fading.is_due() {
            let (graph, gone) = {
                let mut state = self.write();
                (state.graph.clone(), state.fading.due())
            };
            if let Some(Graph::Live(live)) = graph.as_deref() {
                live.delete(&gone);
            }
            self.write().fading.done(gone);
        }
    }

    /// As [`fade`](Self::fade), for a search or snapshot that has let go of its era: the change that ended it found it held, and there may
    /// be no other. Waits for nobody. Who has the writer's lock may have looked before, so whoever searches what still fades tries again.
    pub(super) fn try_to_fade(&self) {
        loop {
            // Of one who lets go and then fails to lock, and one who unlocks and then looks at eras, at least one sees what the other did.
            fence(Ordering::SeqCst);
            if !self.read().fading.is_due() {
                return;
            }
            let Some(writer) = &self.writer else { return };
            let writer = match writer.try_lock() {
                Ok(writer) => writer,
                Err(TryLockError::Poisoned(poisoned)) => PoisonError::into_inner(poisoned),
                Err(TryLockError::WouldBlock) => return,
            };
            self.fade();
            drop(writer);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::panic::{AssertUnwindSafe, catch_unwind};
    use std::path::Path;

    use nearlab_simd::Metric;
    use nearlab_storage::Vectors;
    use nearlab_storage::store::{Durability, ElementKind, IdKind};

    use super::*;
    use crate::collection::{CollectionConfig, IndexConfig, Records, SearchOptions};
    use crate::hnsw::HnswParams;

    /// A hundred records in a graph.
    fn collection(folder: &Path) -> Collection {
        let config = CollectionConfig {
            dim: 2,
            metric: Metric::L2,
            element: ElementKind::F32,
            ids: IdKind::Numbers,
            index: IndexConfig::Hnsw(HnswParams::default()),
            schema: None,
        };
        let collection = Collection::create(folder.join("c"), config, 1).unwrap();
        let ids: Vec<u64> = (0..100).collect();
        let rows: Vec<f32> = (0..200_u8).map(f32::from).collect();
        let records = Records { ids: (&ids[..]).into(), vectors: Vectors::new(&rows, 2), documents: &[] };
        collection.upsert(&records, Durability::None).unwrap();
        collection.optimize(&()).unwrap();
        collection
    }

    fn delete(collection: &Collection, id: u64) {
        collection.delete(&[id], Durability::None).unwrap();
    }

    fn search(collection: &Collection) {
        let hits = collection.searcher().search(&[0.0, 1.0], 3, &SearchOptions::default()).unwrap();
        assert_eq!(hits.len(), 3);
    }

    fn fades(collection: &Collection) -> bool {
        !collection.read().fading.is_empty()
    }

    #[test]
    fn what_the_last_search_of_an_era_wanted_is_forgotten_by_the_next_one() {
        let folder = tempfile::tempdir().unwrap();
        let collection = collection(folder.path());
        // As a search does that is under way.
        let era = Arc::clone(&collection.read().era);
        delete(&collection, 50);
        search(&collection);
        assert!(fades(&collection));
        drop(era);
        search(&collection);
        assert!(!fades(&collection));
    }

    #[test]
    fn what_a_snapshot_wanted_is_forgotten_whoever_had_the_writers_lock_when_it_was_dropped() {
        let folder = tempfile::tempdir().unwrap();
        let collection = collection(folder.path());
        let snapshot = collection.snapshot().unwrap();
        delete(&collection, 50);
        let writer = collection.lock_writer().unwrap();
        drop(snapshot);
        assert!(fades(&collection));
        drop(writer);
        search(&collection);
        assert!(!fades(&collection));
        // A change that panicked.
        let snapshot = collection.snapshot().unwrap();
        delete(&collection, 51);
        let panicked = catch_unwind(AssertUnwindSafe(|| {
            let _writer = collection.lock_writer().unwrap();
            panic!("a change that ends so poisons the lock");
        }));
        assert!(panicked.is_err() && fades(&collection));
        drop(snapshot);
        assert!(!fades(&collection));
    }

    #[test]
    fn a_snapshot_keeps_no_nodes_of_a_graph_that_was_built_after_it() {
        let folder = tempfile::tempdir().unwrap();
        let collection = collection(folder.path());
        let snapshot = collection.snapshot().unwrap();
        collection.build(&()).unwrap();
        delete(&collection, 50);
        assert!(!fades(&collection));
        assert_eq!(snapshot.len(), 100);
    }

    #[test]
    fn searches_of_an_era_are_told_from_its_snapshots() {
        let (mut era, mut fading) = (Arc::<Era>::default(), Fading::default());
        let (snapshot, search) = (Arc::clone(&era), Arc::clone(&era));
        snapshot.begin_snapshot();
        fading.end(&mut era, [7].into_iter());
        assert!(fading.is_searched() && !fading.is_due());
        drop(search);
        assert!(!fading.is_searched() && !fading.is_due());
        snapshot.end_snapshot();
        drop(snapshot);
        assert!(fading.is_due());
        assert_eq!(fading.due(), [7]);
    }
}
