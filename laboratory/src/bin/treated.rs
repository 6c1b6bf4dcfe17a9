//! The worker of [`Treated`].

use std::process::ExitCode;

use nearlab_laboratory::treated::Treated;

fn main() -> ExitCode {
    nearlab_harness::worker::run::<Treated>(concat!("nearlab treated ", env!("CARGO_PKG_VERSION")))
}
