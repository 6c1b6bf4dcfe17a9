//! Any bytes as a container: an error or a sound one, never a panic.
#![no_main]

use std::fs;

use libfuzzer_sys::fuzz_target;
use nearlab_fuzz::{KINDS, scratch_file};
use nearlab_storage::{Container, Verify};

fuzz_target!(|bytes: &[u8]| {
    let path = scratch_file();
    fs::write(&path, bytes).expect("room for a file");
    for kind in KINDS {
        let Ok(container) = Container::open(&path, kind, 0..=255, Verify::Sections) else { continue };
        for section in container.sections() {
            let view = container.view::<u64>(section.id);
            assert!(view.is_err() || section.len % 8 == 0);
        }
    }
});
