//! Which builder grows the graph, over which codes.

use super::HnswParams;
use super::batch::Batches;
use super::build::Builder;
use super::codes::Traversal;
use super::forms::Construction;
use super::graph::Graph;
use super::seek::Scorers;
use crate::quant::{Heights, Lifted, SelfQuery, Sq7, Sq7Rows, Symmetric};
use crate::space::step;
use crate::{BuildError, Counters, Progress, Stage};

/// The graph over the vectors of `source`, whose codes for searches are `traversal`, and the work it took.
///
/// Vectors that searches walk over as they are also choose each other's neighbours. For all others, and in bulk, neighbours
/// are chosen by 7-bit codes, made here where they are not yet, and dropped after the build.
pub(super) fn grow(
    source: &Lifted<'_>,
    (traversal, sq7): (&Traversal, Option<Sq7>),
    params: &HnswParams,
    batches: Batches,
    progress: &dyn Progress,
) -> Result<(Graph, Counters), BuildError> {
    if let (Traversal::F32(f32), Construction::Incremental) = (traversal, params.construction) {
        let space = f32.rows();
        let mut builder =
            Builder::new(Scorers { traversal: space, selection: space, rescore: false, heights: &[] }, *params)?;
        builder.insert_all(batches, progress)?;
        return frozen(builder, progress);
    }
    let euclid = source.euclid();
    let sq7 = sq7.map_or_else(|| Sq7::encode(source, None), Ok)?;
    let (selection, heights) = (sq7.rows(), Heights::of(source, euclid).unless_level(euclid));
    let heights = heights.as_slice();
    match traversal {
        Traversal::F32(f32) => {
            grow_over(Scorers { traversal: f32.rows(), selection, rescore: true, heights }, params, batches, progress)
        }
        Traversal::Half(_) | Traversal::Sq8(_) => {
            grow_over(Scorers { traversal: selection, selection, rescore: false, heights }, params, batches, progress)
        }
        Traversal::Sq4(sq4) => {
            grow_over(Scorers { traversal: sq4.rows(), selection, rescore: true, heights }, params, batches, progress)
        }
        Traversal::Affine(affine) => grow_over(
            Scorers { traversal: affine.rows(), selection, rescore: true, heights },
            params,
            batches,
            progress,
        ),
        Traversal::Pq(pq) => {
            grow_over(Scorers { traversal: pq.rows(), selection, rescore: true, heights }, params, batches, progress)
        }
    }
}

fn grow_over<T: SelfQuery>(
    scorers: Scorers<'_, T, Sq7Rows<'_>>,
    params: &HnswParams,
    batches: Batches,
    progress: &dyn Progress,
) -> Result<(Graph, Counters), BuildError> {
    let mut builder = Builder::new(scorers, *params)?;
    match params.construction {
        Construction::Incremental => builder.insert_all(batches, progress)?,
        Construction::Bulk => builder.link_all(batches, progress)?,
    }
    frozen(builder, progress)
}

fn frozen<T: SelfQuery, S: Symmetric>(
    builder: Builder<'_, T, S>,
    progress: &dyn Progress,
) -> Result<(Graph, Counters), BuildError> {
    step(progress, Stage::Optimise, 0, 1)?;
    let (mut graph, counters) = builder.freeze();
    let bytes = size_of_val(&*graph.base);
    graph.base = graph.base.into_resident().map_err(|_| BuildError::Memory { bytes })?;
    step(progress, Stage::Optimise, 1, 1)?;
    Ok((graph, counters))
}
