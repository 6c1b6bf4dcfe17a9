//! Nearest neighbour indexes behind one set of traits: exact ([`flat`]), graph ([`hnsw`]), inverted file ([`ivf`]).
//!
//! ```
//! use nearlab_index::{Build, Index, Searcher, hnsw::{Hnsw, HnswParams, HnswSearchParams}};
//! use nearlab_simd::Metric;
//! use nearlab_storage::Vectors;
//!
//! let pool = rayon::ThreadPoolBuilder::new().num_threads(2).build()?;
//! let vectors: Vec<f32> = (0..4000_u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 16) as f32).collect();
//! let vectors = Vectors::new(&vectors, 8); // 500 x 8
//! let index = Hnsw::build(vectors, Metric::L2, &HnswParams::default(), &pool, &())?;
//! let mut searcher = index.searcher(&HnswSearchParams::new(40))?; // one per thread
//! let mut neighbors = Vec::new();
//! let counters = searcher.search(vectors.row(42), 10, &mut neighbors);
//! assert_eq!((neighbors.len(), neighbors[0].id, neighbors[0].distance), (10, 42, 0.0));
//! assert!(counters.distance_computations > 0);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # Distances
//!
//! Smaller is nearer. L2 is the **squared** Euclidean distance, inner product is `-<a, b>`, cosine is `1 - cos`: base
//! vectors are normalised (in the index's own copy) by the build, queries by the search; a zero vector has cosine distance
//! 1 to everything. Equal distances are ordered by id. A pair of vectors has the same distance in every index over `f32`, bit
//! for bit, on one instruction set. HNSW over codes gives the distance by its rerank codes, or by the codes where there are none; but
//! vectors that codes have no place for, zeros under cosine and under inner product those many times as long as the rest, are compared
//! as they are.
//!
//! # Which index
//!
//! [`flat`] up to some ten thousand vectors, or for the truth. [`hnsw`] for the best recall at a given latency, at the price
//! of `8 m` bytes of links per vector; built in bulk it is also ready before [`ivf`], which needs no links and scans a few percent of
//! the vectors per query. docs/choosing.md says how to choose parameters, with measured figures.
//!
//! # Searching among some
//!
//! [`Searcher::search_among`] finds the nearest of those vectors whose ids are in an [`IdSet`], the matches:
//!
//! ```
//! # use nearlab_index::{Build, IdSet, Index, Searcher, hnsw::{Hnsw, HnswParams, HnswSearchParams}};
//! # let pool = rayon::ThreadPoolBuilder::new().num_threads(2).build()?;
//! # let vectors: Vec<f32> = (0..4000_u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 16) as f32).collect();
//! # let vectors = nearlab_storage::Vectors::new(&vectors, 8); // 500 x 8
//! # let index = Hnsw::build(vectors, nearlab_simd::Metric::L2, &HnswParams::default(), &pool, &())?;
//! let odd: IdSet = (0..500).filter(|id| id % 2 == 1).collect();
//! let mut neighbors = Vec::new();
//! index.searcher(&HnswSearchParams::new(40))?.search_among(vectors.row(42), 10, &odd, &mut neighbors);
//! assert!(neighbors.len() == 10 && neighbors.iter().all(|neighbor| neighbor.id % 2 == 1));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! The parameters mean what they mean without a set; recall is about the same or better. Each index chooses how, for every query:
//! few matches are scored, all of them; among many, or where those near the query match, the index is used. [`flat`] always scores
//! the matches. [`ivf`] scores those in the nearest lists, of which it scans more the fewer match. [`hnsw`] walks through nodes
//! that do not match, or over them by two hops, and scores all matches where neither would take half the time, as among those
//! that are all far away. Docs/adr/0011 has the reasons and the figures.
//!
//! # Memory
//!
//! [`Index::memory`] tells the bytes of an index by component, [`Index::scratch_bytes`] those of what searches and changes are worked out in,
//! [`CollectionStats::memory`](collection::CollectionStats::memory) both and the rest of a collection. A searcher takes its scratch from its
//! index and leaves it there; once it is warm, a search allocates nothing, whatever the index and however it is asked; that of a collection with a filter where the search
//! before had the same, and nothing was changed between them.
//! Inserting into a [`LiveHnsw`](hnsw::LiveHnsw), but under inner product, allocates nothing but what doubles when it is full: links and codes in maps that the
//! kernel lengthens, on the heap three arrays of a bit or two for each node; and a block of the thread pool's queue for 63 inserts of five
//! vectors and more. A change of a [`Collection`](collection::Collection) also writes a record, copies what a snapshot shares and, where there
//! are fields, changes a database, all of which allocate. Docs/adr/0017 has the counts.
//!
//! # Architecture invariants
//!
//! No YAML, no HDF5, no clock, no global counters and no global thread pool: work runs on the pool that is passed in.
//! `hnsw` and `ivf` never import each other; what they share stands beside them. There is no `dyn` call, no allocation and
//! no lock in a search loop; an index that changes while it is searched is locked for reading once a query.

pub mod collection;
pub mod flat;
pub mod hnsw;
pub mod ivf;

mod counters;
mod errors;
mod id_set;
mod index;
mod kmeans;
mod memory;
mod neighbor;
mod quant;
mod random;
mod scatter;
mod scratch;
mod sections;
mod space;
mod top_k;

pub use counters::Counters;
pub use errors::{BuildError, OpenError, ParamError, SaveError};
pub use id_set::IdSet;
pub use index::{Build, Clock, Index, MAX_VECTORS, Mutable, Persist, Progress, Searcher, Stage};
pub use memory::Memory;
pub use neighbor::Neighbor;
