//! Indexes that only experiments ask for: what they measure explains why the library's own are as they are.
//!
//! | worker | index | experiments |
//! |---|---|---|
//! | `walk` | [`walk::Walk`]: a graph searched by loops that take over one idea after another | `experiments/hnsw/walk.yaml` |
//! | `treated` | [`treated::Treated`]: an HNSW to which something was done: another order of vectors, other pages, rounds of deletes and inserts | `experiments/hnsw/layout.yaml`, `churn.yaml` |
//!
//! Each is an [`Index`](nearlab_index::Index) that can be [configured](nearlab_harness::worker::Configure), and its worker is one call of
//! [`nearlab_harness::worker::run`]: an index of one's own is measured the same way.

pub mod treated;
pub mod walk;
