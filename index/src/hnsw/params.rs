//! Parameters of HNSW.

use serde::{Deserialize, Serialize};

use super::forms::{Construction, RerankCodes, TraversalCodes};
use super::pace::{Ahead, MOST_INTERLEAVED};
use crate::ParamError;
use crate::quant::{MOST_GROUPED_SPACES, PqShape};

/// What is fixed by the build.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
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
    /// A candidate is refused where it is farther from the node than this many percent of its distance to a neighbour already chosen, 100 to 200:
    /// 100 is the paper's heuristic, 120 the α of 1.2 of Vamana. More keeps more links, and longer ones: 110 saves a search of word vectors a tenth of its
    /// distances, and costs one of 1536-d embeddings as many. Vectors under inner product, as f32, are chosen as by 100.
    pub alpha: usize,
    /// What searches score on their way.
    pub codes: TraversalCodes,
    /// Principal components that `sq4` codes keep, 1 to the dimension, of vectors of up to 16384; 0 keeps the vectors as they are. From some 300
    /// dimensions on a sixth of them, in multiples of 128, find the same candidates for a fraction of the memory traffic.
    pub components: usize,
    /// Components per sub-space of `pq4`, `pq4-blocks` and `pq8` codes, 1 to 64; 0 chooses 2 for the former two, 4 for `pq8`. Twice as many halve the
    /// codes, and take about twice as many candidates to rank anew.
    pub sub_dim: usize,
    /// What the best candidates are scored by in the end.
    pub rerank_codes: RerankCodes,
    /// How neighbours on the base layer are found. Those on the upper layers always come from insertion.
    pub construction: Construction,
    /// Times that bulk construction puts all points into groups anew, each point into three a time; 1 to 16. More finds more
    /// of the true neighbours, in proportion to the time: 2 suits most sets, 3 or 4 those of high intrinsic dimension. A third of 2^32,
    /// divided by it, is the most vectors that can be built in bulk.
    pub replicas: usize,
    /// Points in the largest group of bulk construction, 64 to 65536. Time and recall grow with it: 1000 to 3000 up to some
    /// hundred thousand points, 4000 for a million.
    pub leaf: usize,
}

/// The `alpha` of the paper's heuristic.
pub(super) const USUAL_ALPHA: usize = 100;
/// Components that a sub-space can have.
pub(super) const MOST_SUB_DIM: usize = 64;
/// Components that codes can have, lifted: their distances are summed up in 31 bits.
const MOST_CODED: usize = 1 << 16;
/// Components that vectors can have, lifted, whose principal ones are sought: their covariances take up 1 GiB.
const MOST_PROJECTED: usize = 1 << 14;

impl Default for HnswParams {
    fn default() -> Self {
        Self {
            m: 16,
            ef_construction: 200,
            seed: 1,
            keep_pruned: false,
            alpha: USUAL_ALPHA,
            codes: TraversalCodes::F32,
            components: 0,
            sub_dim: 0,
            rerank_codes: RerankCodes::None,
            construction: Construction::Incremental,
            replicas: 2,
            leaf: 2000,
        }
    }
}

impl HnswParams {
    /// Refuses values out of the ranges above.
    pub fn validate(&self) -> Result<(), ParamError> {
        ParamError::check("m", self.m, 2, 256)?;
        ParamError::check("ef_construction", self.ef_construction, 1, 1 << 16)?;
        ParamError::check("replicas", self.replicas, 1, 16)?;
        ParamError::check("leaf", self.leaf, 64, 1 << 16)?;
        ParamError::check("alpha", self.alpha, USUAL_ALPHA, 2 * USUAL_ALPHA)?;
        self.validate_codes()
    }

    /// Links that a new node chooses on a layer. A graph built in bulk leaves a quarter of a row on the base layer for links back; one that is
    /// inserted into stays like it.
    pub(super) fn chosen_on(&self, layer: u8) -> usize {
        if layer == 0 && self.construction == Construction::Bulk { self.m * 3 / 2 } else { self.m }
    }

    /// How many times as near, as squares of distances say, a refused candidate is to a neighbour already chosen.
    pub(super) fn refused_times(&self) -> f32 {
        let alpha = self.alpha as f32 / USUAL_ALPHA as f32;
        alpha * alpha
    }

    /// Refuses codes that a live index can not have.
    pub(crate) fn validate_live(&self) -> Result<(), ParamError> {
        let fine = matches!(
            self.codes,
            TraversalCodes::F32 | TraversalCodes::F16 | TraversalCodes::Bf16 | TraversalCodes::Sq8
        );
        if fine || self.rerank_codes != RerankCodes::None {
            return Ok(());
        }
        let expected = "f32, f16, bf16 or sq8, or have rerank codes, to be inserted into".to_owned();
        Err(ParamError { name: "codes", expected, found: self.codes.name().to_owned() })
    }

    /// Refuses vectors, of `width` components when lifted, that are too long for codes.
    pub(super) fn validate_width(&self, width: usize) -> Result<(), ParamError> {
        if let Some(shape) = self.pq_shape(width).filter(|_| self.codes == TraversalCodes::Pq4Blocks)
            && width.div_ceil(shape.sub_dim) > MOST_GROUPED_SPACES
        {
            let expected = format!("enough for {MOST_GROUPED_SPACES} sub-spaces at most, with pq4-blocks");
            return Err(ParamError { name: "sub_dim", expected, found: format!("{} for {width}", shape.sub_dim) });
        }
        if self.components > 0 && width > MOST_PROJECTED {
            let expected = format!("0 beyond {MOST_PROJECTED} components");
            return Err(ParamError { name: "components", expected, found: format!("{} for {width}", self.components) });
        }
        if !self.needs_codes() || width <= MOST_CODED {
            return Ok(());
        }
        let expected = format!("f32, and the construction incremental, beyond {MOST_CODED} components");
        let found = format!("{}, {} for {width}", self.codes.name(), self.construction.name());
        Err(ParamError { name: "codes", expected, found })
    }

    /// Whether a build makes codes, if only to choose neighbours by.
    pub(crate) fn needs_codes(&self) -> bool {
        self.codes != TraversalCodes::F32 || self.construction == Construction::Bulk
    }

    /// Whether candidates are scored by codes that learn from the vectors of the build.
    pub(crate) fn learns(&self) -> bool {
        let plain = matches!(self.codes, TraversalCodes::F32 | TraversalCodes::F16 | TraversalCodes::Bf16);
        !plain || self.rerank_codes == RerankCodes::Sq8
    }

    /// The shape of the codes of vectors of `width` components when lifted, where they are of product quantisation.
    pub(super) fn pq_shape(&self, width: usize) -> Option<PqShape> {
        let bits = self.codes.bits();
        let sub_dim = if self.sub_dim == 0 { bits as usize / 2 } else { self.sub_dim };
        self.codes.is_pq().then(|| PqShape { width, sub_dim: sub_dim.min(width), bits })
    }

    /// Bits per component of the codes.
    fn bits(&self) -> u32 {
        let shape = self.pq_shape(MOST_CODED);
        shape.map_or(self.codes.bits(), |shape| shape.bits.div_ceil(shape.sub_dim as u32))
    }

    /// Refuses codes that do not go together.
    fn validate_codes(&self) -> Result<(), ParamError> {
        let refuse =
            |name, expected: &str, found: String| Err(ParamError { name, expected: expected.to_owned(), found });
        if self.codes == TraversalCodes::Sq4 {
            ParamError::check("components", self.components, 0, MOST_CODED)?;
        } else if self.components != 0 {
            return refuse("components", "0 for codes other than sq4", self.components.to_string());
        }
        if self.codes.is_pq() {
            ParamError::check("sub_dim", self.sub_dim, 0, MOST_SUB_DIM)?;
        } else if self.sub_dim != 0 {
            return refuse("sub_dim", "0 for codes other than pq4, pq4-blocks and pq8", self.sub_dim.to_string());
        }
        if self.rerank_codes != RerankCodes::None && self.rerank_codes.bits() <= self.bits() {
            let found = format!("{} after {}", self.rerank_codes.name(), self.codes.name());
            return refuse("rerank_codes", "none, or finer than the codes", found);
        }
        Ok(())
    }
}

/// Where a search begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Layers {
    /// At the top, as the paper has it: the upper layers lead near the query.
    #[default]
    All,
    /// At the entry point on the base layer, as if the graph were flat.
    Base,
}

impl Layers {
    /// All of them.
    pub const ALL: [Self; 2] = [Self::All, Self::Base];

    /// The name in experiments: `all` or `base`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::All => "all",
            Self::Base => "base",
        }
    }
}

/// What is chosen anew for each search point.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HnswSearchParams {
    /// Candidates kept during a search, 1 to 2^31 - 1; raised to `k` where it is smaller. Time grows a little less than
    /// in proportion, recall towards 1.
    pub ef_search: usize,
    /// Candidates that may be scored anew where the index has rerank codes; less than `k` counts as `k`, more than `ef_search` as all of
    /// them. 0 chooses `2 k + 10`, which suits 4-bit codes of all components; over 256 of 1536 it ends at a recall of .989: give 50 to 200
    /// there. Those that are surely too far are left out, by the bound of `rabitq` codes or by the error that others have on the
    /// first `2 k`: so more than need be cost little.
    pub rerank: usize,
    /// Nodes expanded since one of the candidates that count last changed, at which a search without a filter ends; those that count are
    /// the `k` nearest, or those that are scored anew. 0 goes on until all `ef_search` are expanded.
    pub patience: usize,
    /// Queries of a batch that walk in turns, so that one computes while the memory of others comes, 1 to 8; 0 leaves it to the index.
    /// No result depends on it, nor on the next.
    pub interleave: usize,
    /// What a search of one query asks the memory for ahead.
    pub ahead: Ahead,
    /// Where a search begins.
    pub layers: Layers,
}

impl HnswSearchParams {
    /// Searches that keep `ef_search` candidates, expand them all, and rerank as many as suits.
    pub const fn new(ef_search: usize) -> Self {
        Self { ef_search, rerank: 0, patience: 0, interleave: 0, ahead: Ahead::Auto, layers: Layers::All }
    }

    /// Refuses values out of the ranges above.
    pub fn validate(&self) -> Result<(), ParamError> {
        ParamError::check("ef_search", self.ef_search, 1, crate::index::MAX_VECTORS)?;
        ParamError::check("rerank", self.rerank, 0, crate::index::MAX_VECTORS)?;
        ParamError::check("patience", self.patience, 0, crate::index::MAX_VECTORS)?;
        ParamError::check("interleave", self.interleave, 0, MOST_INTERLEAVED)
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
        assert_eq!(name(HnswParams { components: 8, ..good }), "components");
        assert_eq!(name(HnswParams { rerank_codes: RerankCodes::F32, ..good }), "rerank_codes");
        assert_eq!(
            name(HnswParams { codes: TraversalCodes::F16, rerank_codes: RerankCodes::Sq8, ..good }),
            "rerank_codes"
        );
        let quantised =
            HnswParams { codes: TraversalCodes::Sq4, components: 8, rerank_codes: RerankCodes::Sq8, ..good };
        assert_eq!(quantised.validate(), Ok(()));
        assert_eq!(name(HnswParams { sub_dim: 2, ..good }), "sub_dim");
        let product = HnswParams { codes: TraversalCodes::Pq8, rerank_codes: RerankCodes::Sq8, ..good };
        assert_eq!(product.validate(), Ok(()));
        assert_eq!(name(HnswParams { sub_dim: 65, ..product }), "sub_dim");
        assert_eq!(name(HnswParams { sub_dim: 1, ..product }), "rerank_codes");
        assert_eq!(product.validate_live(), Ok(()));
        let alone = HnswParams { rerank_codes: RerankCodes::None, ..product };
        assert_eq!(alone.validate_live().unwrap_err().name, "codes");
        let blocks = HnswParams { codes: TraversalCodes::Pq4Blocks, sub_dim: 2, ..product };
        assert_eq!((blocks.validate(), blocks.validate_width(1024)), (Ok(()), Ok(())));
        assert_eq!(
            blocks.validate_width(1025).unwrap_err().to_string(),
            "parameter `sub_dim` must be enough for 512 sub-spaces at most, with pq4-blocks, found 2 for 1025"
        );
        assert_eq!(good.validate_width(100_000), Ok(()));
        assert_eq!(quantised.validate_width(1 << 14), Ok(()));
        let error = quantised.validate_width((1 << 14) + 1).unwrap_err();
        let message = "parameter `components` must be 0 beyond 16384 components, found 8 for 16385";
        assert_eq!(error.to_string(), message);
        let quantised = HnswParams { components: 0, ..quantised };
        assert_eq!(quantised.validate_width(1 << 16), Ok(()));
        let error = quantised.validate_width((1 << 16) + 1).unwrap_err();
        assert_eq!(
            error.to_string(),
            "parameter `codes` must be f32, and the construction incremental, beyond 65536 components, found sq4, \
             incremental for 65537"
        );
        assert_eq!(HnswSearchParams::new(0).validate().unwrap_err().name, "ef_search");
        let crowd = HnswSearchParams { interleave: 9, ..HnswSearchParams::new(1) };
        assert_eq!(crowd.validate().unwrap_err().name, "interleave");
    }
}
