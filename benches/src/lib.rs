//! Micro-benchmarks of nearlab's kernels and searches; the benches themselves are in `benches/benches`.
//!
//! | bench | measures | with |
//! |---|---|---|
//! | `kernels` | distance kernels of every instruction set, from cache and from memory | criterion |
//! | `metadata` | a metadata store of a million records: loading, filters, estimates, changes | criterion |
//! | `search` | flat, HNSW and IVF searches on seeded data | criterion |
//! | `kernel_instructions`, `search_instructions` | the same as instruction counts, repeatable | gungraun (valgrind) |
//!
//! A crate of its own, outside the default members, so that its tools do not change how the program is built
//! (docs/adr/0005).
