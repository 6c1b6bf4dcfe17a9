//! Parameters of HNSW.

use crate::ParamError;

/// What is fixed by the build.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HnswParams {
    /// Links that a new node makes per layer, 2 to 256; a node keeps up to `m` of them on the upper layers and `2 m` on
    /// the base layer. More raises the recall that `ef_search` can reach, the time of every hop, and memory: about
    /// `8 m` bytes per vector. 8 to 48, more for higher dimensions.
    pub m: usize,
    /// Candidates kept while a new node looks for its neighbours, 1 to 65536; at least `m` to be of use. Build time
    /// grows in proportion, recall with ever smaller gains. 100 to 500.
    pub ef_construction: usize,
    /// Seed of the levels and of the order of insertion.
    pub seed: u64,
    /// Fill up a new node's links with candidates that the selection heuristic had refused (the paper's
    /// `keepPrunedConnections`). More links, slower hops; off as in hnswlib.
    pub keep_pruned: bool,
}

impl Default for HnswParams {
    fn default() -> Self {
        Self { m: 16, ef_construction: 200, seed: 1, keep_pruned: false }
    }
}

impl HnswParams {
    /// Refuses values out of the ranges above.
    pub fn validate(&self) -> Result<(), ParamError> {
        ParamError::check("m", self.m, 2, 256)?;
        ParamError::check("ef_construction", self.ef_construction, 1, 1 << 16)
    }
}

/// What is chosen anew for each search point.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HnswSearchParams {
    /// Candidates kept during a search, 1 to 2^31 - 1; raised to `k` where it is smaller. Time grows a little less than
    /// in proportion, recall towards 1.
    pub ef_search: usize,
}

impl HnswSearchParams {
    /// Refuses values out of the range above.
    pub fn validate(&self) -> Result<(), ParamError> {
        ParamError::check("ef_search", self.ef_search, 1, crate::index::MAX_VECTORS)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_out_of_range_are_named() {
        let good = HnswParams::default();
        assert_eq!(good.validate(), Ok(()));
        let name = |params: HnswParams| params.validate().unwrap_err().name;
        assert_eq!(name(HnswParams { m: 1, ..good }), "m");
        assert_eq!(name(HnswParams { m: 257, ..good }), "m");
        assert_eq!(name(HnswParams { ef_construction: 0, ..good }), "ef_construction");
        assert_eq!(HnswSearchParams { ef_search: 0 }.validate().unwrap_err().name, "ef_search");
    }
}
