//! The program's allocator: the system's, or dhat's once switched on.
//!
//! Both hand out the system's blocks (dhat only counts them), so a block may be allocated before the switch and freed
//! after it.
#![expect(unsafe_code, reason = "a global allocator is an unsafe trait; every call is only passed on")]

use std::{
    alloc::{GlobalAlloc, Layout, System},
    sync::atomic::{AtomicBool, Ordering},
};

static COUNTING: AtomicBool = AtomicBool::new(false);

/// Sends every later allocation of the process through dhat. There is no way back.
pub fn switch_on() {
    COUNTING.store(true, Ordering::Relaxed);
}

/// The system's allocator with a switch to dhat's.
pub struct SwitchAlloc;

// SAFETY: every method passes its arguments on unchanged to `System`, or to `dhat::Alloc`, which itself calls `System`;
// so blocks of the two are interchangeable and the caller's obligations are exactly theirs.
unsafe impl GlobalAlloc for SwitchAlloc {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        if COUNTING.load(Ordering::Relaxed) {
            // SAFETY: the caller keeps `alloc`'s contract.
            unsafe { dhat::Alloc.alloc(layout) }
        } else {
            // SAFETY: the caller keeps `alloc`'s contract.
            unsafe { System.alloc(layout) }
        }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        if COUNTING.load(Ordering::Relaxed) {
            // SAFETY: the caller keeps `alloc_zeroed`'s contract.
            unsafe { dhat::Alloc.alloc_zeroed(layout) }
        } else {
            // SAFETY: the caller keeps `alloc_zeroed`'s contract.
            unsafe { System.alloc_zeroed(layout) }
        }
    }

    unsafe fn realloc(&self, block: *mut u8, layout: Layout, new_size: usize) -> *mut u8 {
        if COUNTING.load(Ordering::Relaxed) {
            // SAFETY: `block` came from `System` either way; the caller keeps `realloc`'s contract.
            unsafe { dhat::Alloc.realloc(block, layout, new_size) }
        } else {
            // SAFETY: `block` came from `System` either way; the caller keeps `realloc`'s contract.
            unsafe { System.realloc(block, layout, new_size) }
        }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        if COUNTING.load(Ordering::Relaxed) {
            // SAFETY: `block` came from `System` either way; the caller keeps `dealloc`'s contract.
            unsafe { dhat::Alloc.dealloc(block, layout) }
        } else {
            // SAFETY: `block` came from `System` either way; the caller keeps `dealloc`'s contract.
            unsafe { System.dealloc(block, layout) }
        }
    }
}
