//! Parameters of IVF-Flat.

use serde::{Deserialize, Serialize};

use crate::ParamError;

/// What is fixed by the build.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct IvfParams {
    /// Inverted lists, 1 to 2^24; lowered to the number of vectors. More lists are shorter: each probe costs and finds
    /// less, and choosing the lists costs more. About `sqrt(n)` to `4 sqrt(n)` serves most sets.
    pub nlist: usize,
    /// Vectors per list that k-means learns from, 1 to 2^20. Training time grows in proportion; above some hundreds the
    /// lists get no better.
    pub sample_per_list: usize,
    /// Lloyd's iterations, 0 to 1000. Training time grows in proportion; after 10 the lists change little.
    pub iterations: usize,
    /// Seed of the sample and of the first centroids.
    pub seed: u64,
}

impl Default for IvfParams {
    fn default() -> Self {
        Self { nlist: 1024, sample_per_list: 256, iterations: 10, seed: 1 }
    }
}

impl IvfParams {
    /// Refuses values out of the ranges above.
    pub fn validate(&self) -> Result<(), ParamError> {
        ParamError::check("nlist", self.nlist, 1, 1 << 24)?;
        ParamError::check("sample_per_list", self.sample_per_list, 1, 1 << 20)?;
        ParamError::check("iterations", self.iterations, 0, 1000)
    }
}

/// What is chosen anew for each search point.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct IvfSearchParams {
    /// Lists scanned, at least 1; lowered to the number of lists. Time grows in proportion, recall towards 1, which it
    /// reaches exactly when all lists are scanned.
    pub nprobe: usize,
}

impl IvfSearchParams {
    /// Refuses an `nprobe` of 0.
    pub fn validate(&self) -> Result<(), ParamError> {
        ParamError::check("nprobe", self.nprobe, 1, usize::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_out_of_range_are_named() {
        let good = IvfParams::default();
        assert_eq!(good.validate(), Ok(()));
        let name = |params: IvfParams| params.validate().unwrap_err().name;
        assert_eq!(name(IvfParams { nlist: 0, ..good }), "nlist");
        assert_eq!(name(IvfParams { sample_per_list: 0, ..good }), "sample_per_list");
        assert_eq!(name(IvfParams { iterations: 1001, ..good }), "iterations");
        assert_eq!(IvfSearchParams { nprobe: 0 }.validate().unwrap_err().name, "nprobe");
    }
}
