//! The worker of [`Walk`].

use std::process::ExitCode;

use nearlab_laboratory::walk::Walk;

fn main() -> ExitCode {
    nearlab_harness::worker::run::<Walk>(concat!("nearlab walk ", env!("CARGO_PKG_VERSION")))
}
