//! The `nearlab` program; see [`nearlab_harness`].

use std::process::ExitCode;

use nearlab_harness::{cli, heap::SwitchAlloc};

#[global_allocator]
static ALLOCATOR: SwitchAlloc = SwitchAlloc;

fn main() -> ExitCode {
    cli::main()
}
