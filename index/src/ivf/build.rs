//! Training and filling the lists.

use nearlab_simd::Metric;
use nearlab_storage::{Buffer, Resident, Vectors};
use rayon::prelude::*;

use super::{Ivf, IvfParams, places_of};
use crate::kmeans::{self, Groups, Kmeans};
use crate::random::{mix, sample};
use crate::scratch::Idle;
use crate::space::{base_of, check_base, step};
use crate::{BuildError, Counters, Progress, Stage};

/// Vectors assigned between two reports of progress.
const STEP_ROWS: usize = 1 << 16;

/// Builds the index on the rayon pool it is called in.
pub(super) fn build(
    vectors: Vectors<'_, f32>,
    metric: Metric,
    mut params: IvfParams,
    progress: &dyn Progress,
) -> Result<Ivf, BuildError> {
    check_base(vectors)?;
    let base = base_of(vectors, metric)?;
    let base = Vectors::new(&base, vectors.dim());
    params.nlist = params.nlist.min(base.len()).max(1);
    let mut counters = Counters::default();
    let centroids = train(base, metric, &params, progress, &mut counters)?;
    construct(base, metric, (params, centroids), progress, counters)
}

fn train(
    base: Vectors<'_, f32>,
    metric: Metric,
    params: &IvfParams,
    progress: &dyn Progress,
    counters: &mut Counters,
) -> Result<Vec<f32>, BuildError> {
    if base.is_empty() {
        return Ok(vec![0.0; base.dim()]);
    }
    let kmeans = Kmeans {
        k: params.nlist,
        iterations: params.iterations,
        spherical: kmeans::is_spherical(metric),
        seed: mix(params.seed),
    };
    let count = params.nlist.saturating_mul(params.sample_per_list);
    if count >= base.len() {
        return kmeans::train(base, &kmeans, progress, counters);
    }
    let chosen = sample(base.len(), count, params.seed);
    kmeans::train(Vectors::new(&gather(base, &chosen)?, base.dim()), &kmeans, progress, counters)
}

/// Puts every vector in the list of its centroid.
fn construct(
    base: Vectors<'_, f32>,
    metric: Metric,
    (params, centroids): (IvfParams, Vec<f32>),
    progress: &dyn Progress,
    mut counters: Counters,
) -> Result<Ivf, BuildError> {
    let spherical = kmeans::is_spherical(metric);
    let mut labels = vec![0; base.len()];
    for (i, labels) in labels.chunks_mut(STEP_ROWS).enumerate() {
        step(progress, Stage::Construct, i * STEP_ROWS, base.len())?;
        let rows = base.rows(i * STEP_ROWS..i * STEP_ROWS + labels.len());
        kmeans::assign(rows, &centroids, spherical, labels, &mut counters);
    }
    let groups = Groups::of(&labels, params.nlist);
    let vectors = gather(base, groups.all_members())?;
    step(progress, Stage::Construct, base.len(), base.len())?;
    Ok(Ivf {
        dim: base.dim(),
        metric,
        params,
        centroids: centroids.into(),
        offsets: groups.offsets().iter().map(|&offset| offset as u64).collect::<Vec<_>>().into(),
        places: places_of(groups.all_members()),
        ids: groups.all_members().to_vec().into(),
        vectors,
        build_counters: counters,
        idle: Idle::default(),
    })
}

/// The rows `ids`, one after the other.
fn gather(base: Vectors<'_, f32>, ids: &[u32]) -> Result<Buffer<f32>, BuildError> {
    let len = ids.len() * base.dim();
    let refused = |_| BuildError::Memory { bytes: len * size_of::<f32>() };
    let mut rows = Resident::zeroed(len).map_err(refused)?;
    rows.par_chunks_exact_mut(base.dim()).with_min_len(1024).zip(ids).for_each(|(row, &id)| {
        row.copy_from_slice(base.row(id as usize));
    });
    rows.freeze().map_err(refused)
}
