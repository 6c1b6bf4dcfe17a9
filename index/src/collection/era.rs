//! The times between changes, and the nodes that stay in a graph for those who look at one that is over.

use std::collections::VecDeque;
use std::sync::Arc;

use super::sync::atomic::{AtomicUsize, Ordering};

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

    /// Whether searches of this era, which somebody else keeps, are under way, other than those of snapshots.
    fn is_searched(era: &Arc<Self>) -> bool {
        Arc::strong_count(era) > 1 + era.snapshots.load(Ordering::Acquire)
    }
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
        self.eras.front().is_some_and(|(era, _)| Arc::strong_count(era) == 1)
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

    /// Nothing fades any more: the graph has none of these nodes.
    pub(super) fn clear(&mut self) {
        self.eras.clear();
    }
}
