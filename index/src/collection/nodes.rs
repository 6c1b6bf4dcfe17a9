//! Which node of the index holds the vector of which slot.

use std::sync::Arc;

use nearlab_storage::metadata::RoaringBitmap;

use crate::IdSet;
use crate::memory::Capacity;

/// Stands where a slot or node would.
pub(super) const NONE: u32 = u32::MAX;

/// Nodes and slots. What a node held is known even after its vector is gone, until the node is given again: a search that met
/// it before may ask.
#[derive(Debug, Clone, Default)]
pub(super) struct Nodes {
    /// By node: the slot, and the change that the vector came with.
    by_node: Vec<(u32, u64)>,
    /// By slot.
    by_slot: Vec<u32>,
    /// Nodes whose vectors are there. Shared, so that a search can hold it.
    alive: Arc<IdSet>,
    /// Vectors that the index was built of, from which its codes have learnt.
    built_of: usize,
    /// Vectors that it has taken in since: those too that stand in place of others, or are gone again.
    taken_in: usize,
}

impl Nodes {
    /// Of an index that was built of these slots, each with the change that the vector came with, or [`NONE`].
    pub(super) fn of(slots: impl IntoIterator<Item = (u32, u64)>) -> Self {
        let mut nodes = Self::default();
        for (node, (slot, sequence)) in (0..).zip(slots) {
            nodes.by_node.push((NONE, 0));
            if slot != NONE {
                nodes.put(node, slot, sequence);
            }
        }
        (nodes.built_of, nodes.taken_in) = (nodes.alive.len(), 0);
        nodes
    }

    /// The same, of an index that was built of so many vectors, and has taken in so many since.
    pub(super) fn grown_from(self, built_of: usize, taken_in: usize) -> Self {
        Self { built_of, taken_in, ..self }
    }

    pub(super) fn built_of(&self) -> usize {
        self.built_of
    }

    pub(super) fn taken_in(&self) -> usize {
        self.taken_in
    }

    /// A node has taken the vector of a slot.
    pub(super) fn put(&mut self, node: u32, slot: u32, sequence: u64) {
        grown(&mut self.by_node, node, (NONE, 0))[node as usize] = (slot, sequence);
        grown(&mut self.by_slot, slot, NONE)[slot as usize] = node;
        Arc::make_mut(&mut self.alive).insert(node);
        self.taken_in = self.taken_in.saturating_add(1);
    }

    /// The vector of a slot is gone; the node that held it.
    pub(super) fn remove(&mut self, slot: u32) -> Option<u32> {
        let node = self.node(slot)?;
        self.by_slot[slot as usize] = NONE;
        Arc::make_mut(&mut self.alive).remove(node);
        Some(node)
    }

    pub(super) fn node(&self, slot: u32) -> Option<u32> {
        self.by_slot.get(slot as usize).copied().filter(|&node| node != NONE)
    }

    /// The slot that a node held last, and the change that the vector came with.
    pub(super) fn slot(&self, node: u32) -> Option<(u32, u64)> {
        self.by_node.get(node as usize).copied().filter(|&(slot, _)| slot != NONE)
    }

    pub(super) fn alive(&self) -> &Arc<IdSet> {
        &self.alive
    }

    /// Nodes, those without a vector too.
    pub(super) fn len(&self) -> usize {
        self.by_node.len()
    }

    /// Replaces `nodes` by those of some slots, as far as they have any.
    pub(super) fn of_slots(&self, slots: &RoaringBitmap, nodes: &mut IdSet) {
        nodes.clear();
        nodes.reserve(self.len());
        nodes.extend(slots.iter().filter_map(|slot| self.node(slot)));
    }

    /// Each node's slot and change, for a file: [`NONE`] where its vector is gone.
    pub(super) fn alive_slots(&self) -> impl Iterator<Item = (u32, u64)> + '_ {
        let of = |(node, &slot): (u32, &(u32, u64))| if self.alive.contains(node) { slot } else { (NONE, 0) };
        (0..).zip(&self.by_node).map(of)
    }

    pub(super) fn memory(&self) -> usize {
        self.by_node.capacity_bytes() + self.by_slot.capacity_bytes() + self.alive.capacity_bytes()
    }
}

fn grown<T: Clone>(array: &mut Vec<T>, at: u32, filling: T) -> &mut Vec<T> {
    if at as usize >= array.len() {
        array.resize(at as usize + 1, filling);
    }
    array
}
