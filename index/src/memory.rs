//! How large an index is, by component.

use std::collections::BTreeMap;

/// Logical bytes by component (`vectors`, `base_graph`, ...): what the arrays hold, whether they lie on the heap or in
/// a mapped file. Allocator slack and page rounding are not counted.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Memory(pub BTreeMap<&'static str, u64>);

impl Memory {
    pub(crate) fn of<const N: usize>(components: [(&'static str, usize); N]) -> Self {
        Self(components.into_iter().map(|(name, bytes)| (name, bytes as u64)).collect())
    }

    /// All components together, in bytes.
    pub fn total(&self) -> u64 {
        self.0.values().sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_total_is_the_sum_of_the_components() {
        assert_eq!(Memory::of([("vectors", 40), ("base_graph", 2)]).total(), 42);
        assert_eq!(Memory::default().total(), 0);
    }
}
