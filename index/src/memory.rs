//! How large an index is, by component.

use std::collections::BTreeMap;

/// Logical bytes by component (`vectors`, `base_graph`, ...): what the arrays hold, whether they lie on the heap or in
/// a mapped file. Allocator slack and page rounding are not counted, and neither is the memory of searchers, which
/// [`Index::scratch_bytes`](crate::Index::scratch_bytes) tells.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Memory(pub BTreeMap<&'static str, u64>);

impl Memory {
    pub(crate) fn of<const N: usize>(components: [(&'static str, usize); N]) -> Self {
        Self(components.into_iter().map(|(name, bytes)| (name, bytes as u64)).collect())
    }

    /// Adds a component, unless there is nothing of it.
    pub(crate) fn add(&mut self, name: &'static str, bytes: usize) {
        if bytes > 0 {
            *self.0.entry(name).or_default() += bytes as u64;
        }
    }

    /// All components together, in bytes.
    pub fn total(&self) -> u64 {
        self.0.values().sum()
    }
}

/// Scratch, whose memory stays for the next use.
pub(crate) trait Capacity {
    /// Bytes on the heap that it keeps, used or not.
    fn capacity_bytes(&self) -> usize;
}

impl<T: Copy> Capacity for Vec<T> {
    fn capacity_bytes(&self) -> usize {
        self.capacity() * size_of::<T>()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_total_is_the_sum_of_the_components() {
        let mut memory = Memory::of([("vectors", 40), ("base_graph", 2)]);
        memory.add("quantizers", 3);
        memory.add("quantizers", 5);
        memory.add("deleted", 0);
        assert_eq!((memory.total(), memory.0.len()), (50, 3));
        assert_eq!(Memory::default().total(), 0);
    }

    #[test]
    fn scratch_counts_what_it_keeps_and_not_what_it_uses() {
        let mut scratch = Vec::<u32>::with_capacity(10);
        assert_eq!(scratch.capacity_bytes(), 40);
        scratch.push(1);
        assert_eq!(scratch.capacity_bytes(), 40);
    }
}
