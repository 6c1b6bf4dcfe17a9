//! Heap profiles: an allocator that can hand over to dhat, and the reader of what dhat writes.
//!
//! dhat takes a lock and a backtrace for every allocation, so it must never be in the way of a timed run. The program's
//! allocator therefore is the system's until [`switch_on`] is called, which only a worker whose trial asks for a heap
//! profile does.

mod allocator;
mod dhat_file;

pub use allocator::{SwitchAlloc, switch_on};
pub use dhat_file::{HeapFileError, read};
