//! IVF-Flat: vectors in lists by their nearest centroid; a search scans the lists of the centroids nearest to the query.
//!
//! Sivic and Zisserman, "Video Google", ICCV 2003; the parameters' names are those of faiss.
//!
//! | step | function | file |
//! |---|---|---|
//! | centroids by k-means on a sample | `Kmeans`, `train` | `kmeans/` |
//! | every vector to its centroid's list | `construct` | `build.rs` |
//! | the `nprobe` nearest centroids, then their lists | [`IvfSearcher`] | `search.rs` |
//! | the matches in the lists of the nearest centroids, or all of them | `IvfSearcher::search_among` | `among.rs` |
//! | save, open | [`Persist`](crate::Persist) | `file.rs` |
//!
//! Centroids are chosen by the metric: L2 with plain k-means; inner product and cosine with spherical k-means, whose
//! centroids are directions, and the largest inner product.
//!
//! Invariants: vectors lie list after list, in the order of their ids within a list, so that a list is one contiguous
//! scan. With `nprobe = nlist` the result is that of [`Flat`](crate::flat::Flat), ids and distances bit for bit.
//! Not here: compression, residuals, lists that balance themselves.
//!
//! ```
//! use nearlab_index::{Build, Index, Searcher, ivf::{Ivf, IvfParams, IvfSearchParams}};
//! use nearlab_simd::Metric;
//! use nearlab_storage::Vectors;
//!
//! let pool = rayon::ThreadPoolBuilder::new().num_threads(1).build()?;
//! let vectors: Vec<f32> = (0..200).map(|i| i as f32).collect();
//! let params = IvfParams { nlist: 10, ..IvfParams::default() };
//! let ivf = Ivf::build(Vectors::new(&vectors, 2), Metric::L2, &params, &pool, &())?;
//! let mut found = Vec::new();
//! let counters = ivf.searcher(&IvfSearchParams { nprobe: 2 })?.search(&[4.1, 5.1], 1, &mut found);
//! assert_eq!((found[0].id, counters.lists_probed), (2, 2));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod among;
mod build;
mod file;
mod params;
mod search;

use std::collections::BTreeMap;

use nearlab_simd::Metric;
use nearlab_storage::{Buffer, Vectors};
use rayon::ThreadPool;
use xxhash_rust::xxh3::Xxh3;

pub use params::{IvfParams, IvfSearchParams};
pub use search::IvfSearcher;
pub(crate) use search::Scratch;

use crate::memory::Capacity;
use crate::scratch::Idle;
use crate::space::Space;
use crate::{Build, BuildError, Counters, Index, Memory, ParamError, Progress};

/// The place of each of the ids `0..ids.len()`, each of which is at one place.
fn places_of(ids: &[u32]) -> Vec<u32> {
    let mut places = vec![0; ids.len()];
    for (&id, place) in ids.iter().zip(0..) {
        places[id as usize] = place;
    }
    places
}

/// An inverted file over `n x d` vectors; see the [module](self).
#[derive(Debug)]
pub struct Ivf {
    dim: usize,
    metric: Metric,
    params: IvfParams,
    /// nlist x d.
    centroids: Buffer<f32>,
    /// nlist + 1: list `i` holds the places `offsets[i]..offsets[i + 1]`.
    offsets: Buffer<u64>,
    /// The id of the vector at each place.
    ids: Buffer<u32>,
    /// The place of the vector of each id; not kept in the file.
    places: Vec<u32>,
    /// n x d, by place.
    vectors: Buffer<f32>,
    build_counters: Counters,
    /// Memory for searchers.
    idle: Idle<Scratch>,
}

impl Ivf {
    /// The parameters of the build; `nlist` as it was lowered to the number of vectors.
    pub fn params(&self) -> &IvfParams {
        &self.params
    }

    fn space(&self) -> Space<'_> {
        Space::new(&self.vectors, self.dim, self.metric)
    }

    fn centroid_space(&self) -> Space<'_> {
        Space::new(&self.centroids, self.dim, self.metric)
    }
}

impl Build for Ivf {
    type Params = IvfParams;

    fn build(
        vectors: Vectors<'_, f32>,
        metric: Metric,
        params: &IvfParams,
        pool: &ThreadPool,
        progress: &dyn Progress,
    ) -> Result<Self, BuildError> {
        params.validate()?;
        pool.install(|| build::build(vectors, metric, *params, progress))
    }
}

impl Index for Ivf {
    type SearchParams = IvfSearchParams;
    type Searcher<'a> = IvfSearcher<'a>;

    fn len(&self) -> usize {
        self.ids.len()
    }

    fn dim(&self) -> usize {
        self.dim
    }

    fn metric(&self) -> Metric {
        self.metric
    }

    /// `vectors`, `centroids`, `ids`, `places`, `offsets`.
    fn memory(&self) -> Memory {
        Memory::of([
            ("vectors", size_of_val(&*self.vectors)),
            ("centroids", size_of_val(&*self.centroids)),
            ("ids", size_of_val(&*self.ids)),
            ("places", size_of_val(&*self.places)),
            ("offsets", size_of_val(&*self.offsets)),
        ])
    }

    /// `nlist`; `list_len_{min,mean,max}`, vectors per list; `imbalance`, the mean over vectors of their list's length
    /// divided by the mean length: 1 when all lists are equally long.
    fn stats(&self) -> BTreeMap<String, f64> {
        let lengths: Vec<f64> = self.offsets.windows(2).map(|pair| (pair[1] - pair[0]) as f64).collect();
        let (nlist, n) = (lengths.len() as f64, self.len() as f64);
        let mut stats = BTreeMap::from([("nlist".to_owned(), nlist)]);
        if n > 0.0 {
            let squares: f64 = lengths.iter().map(|length| length * length).sum();
            stats.insert("list_len_min".to_owned(), lengths.iter().copied().fold(f64::INFINITY, f64::min));
            stats.insert("list_len_mean".to_owned(), n / nlist);
            stats.insert("list_len_max".to_owned(), lengths.iter().copied().fold(0.0, f64::max));
            stats.insert("imbalance".to_owned(), nlist * squares / (n * n));
        }
        stats
    }

    /// Over centroids, offsets and ids.
    fn digest(&self) -> u64 {
        let mut hash = Xxh3::new();
        hash.update(bytemuck::cast_slice(&self.centroids));
        hash.update(bytemuck::cast_slice(&self.offsets));
        hash.update(bytemuck::cast_slice(&self.ids));
        hash.digest()
    }

    fn build_counters(&self) -> Counters {
        self.build_counters
    }

    fn scratch_bytes(&self) -> u64 {
        self.idle.capacity_bytes() as u64
    }

    fn searcher(&self, params: &IvfSearchParams) -> Result<IvfSearcher<'_>, ParamError> {
        params.validate()?;
        Ok(IvfSearcher::new(self, params.nprobe))
    }
}
