//! What a search looks at: the moment, and which of its records may be found.

use std::sync::Arc;

use nearlab_storage::metadata::{Filter, MetadataSnapshot, RoaringBitmap};
use nearlab_storage::store::Snapshot;

use super::era::Era;
use super::graph::Graph;
use super::nodes::Nodes;
use super::search::SearchScratch;
use super::{CollectionError, State};
use crate::IdSet;

/// What one search looks at.
pub(super) struct Scene<'a> {
    pub(super) snapshot: Snapshot,
    pub(super) graph: Option<Arc<Graph>>,
    /// Of the snapshot that is searched; those of now where there is none.
    pub(super) nodes: Option<Arc<Nodes>>,
    pub(super) among: Among,
    /// Of the same change as the rest; none where nothing is asked of it, or a snapshot has its own.
    pub(super) metadata: Option<MetadataSnapshot<'a>>,
    pub(super) _era: Option<Arc<Era>>,
    /// Whether nodes fade that a search may have wanted which is over by now.
    pub(super) fading: bool,
}

/// The nodes that count.
pub(super) enum Among {
    All,
    /// Those whose vectors are there.
    Alive(Arc<IdSet>),
    /// Those that pass the filter.
    Matches,
}

/// Which slots a search may find.
pub(super) enum Passing {
    All,
    /// Those that pass its filter.
    These(RoaringBitmap),
    /// Those that passed the same one before, which are laid out still.
    AsBefore,
}

/// Whether what passed a filter before does so still.
pub(super) fn is_of(known: Option<&(Filter, u64)>, shown: Shown<'_>) -> bool {
    known.is_some_and(|&(_, epoch)| epoch == shown.epoch)
}

/// What passes a filter, which `filtered` finds out where it is not known.
pub(super) fn passing(
    filter: Option<&Filter>,
    is_known: bool,
    filtered: impl FnOnce(&Filter) -> Result<RoaringBitmap, CollectionError>,
) -> Result<Passing, CollectionError> {
    match filter {
        None => Ok(Passing::All),
        Some(_) if is_known => Ok(Passing::AsBefore),
        Some(filter) => filtered(filter).map(Passing::These),
    }
}

/// What is shown to a search: the parts of a state, or of a snapshot.
#[derive(Clone, Copy)]
pub(super) struct Shown<'s> {
    /// Of which state.
    pub(super) epoch: u64,
    pub(super) snapshot: &'s Snapshot,
    pub(super) graph: &'s Option<Arc<Graph>>,
    pub(super) nodes: &'s Nodes,
    pub(super) tail: &'s IdSet,
    /// To be held while it is searched, where somebody may wait for the searches.
    pub(super) era: Option<&'s Arc<Era>>,
    /// Whether the graph may hold other nodes than those that count, or not lead everywhere.
    pub(super) changing: bool,
    /// Whether nodes fade.
    pub(super) fading: bool,
}

/// Fixes what is shown, or those of it that pass.
pub(super) fn scene<'a>(shown: Shown<'_>, passing: Passing, scratch: &mut SearchScratch) -> Scene<'a> {
    let Shown { snapshot, graph, nodes, tail, era, changing, fading, .. } = shown;
    let SearchScratch { tail: one_by_one, matches, .. } = scratch;
    match &passing {
        Passing::All => {
            one_by_one.clear();
            one_by_one.extend(tail.iter());
        }
        Passing::These(slots) => {
            one_by_one.clear();
            one_by_one.extend(tail.iter().filter(|&slot| slots.contains(slot)));
            nodes.of_slots(slots, matches);
        }
        Passing::AsBefore => {}
    }
    let complete = nodes.alive().len() == nodes.len();
    let among = match (passing, graph.as_deref()) {
        (Passing::These(_) | Passing::AsBefore, _) => Among::Matches,
        // A live graph knows for itself what is gone.
        (Passing::All, Some(Graph::Live(_))) if !changing => Among::All,
        (Passing::All, _) if changing || !complete => Among::Alive(Arc::clone(nodes.alive())),
        (Passing::All, _) => Among::All,
    };
    let (snapshot, graph) = (snapshot.clone(), graph.clone());
    Scene { snapshot, graph, nodes: None, among, metadata: None, _era: era.map(Arc::clone), fading }
}

impl State {
    pub(super) fn shown(&self) -> Shown<'_> {
        let Self { snapshot, graph, nodes, tail, era, .. } = self;
        let fading = !self.fading.is_empty();
        let changing = self.changing || self.gaps || fading;
        Shown { epoch: self.epoch, snapshot, graph, nodes, tail, era: Some(era), changing, fading }
    }
}
