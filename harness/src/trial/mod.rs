//! One trial is one worker process: started pinned and in a process group of its own, spoken to by the protocol, held to
//! a time and a memory limit, and when it ends badly, given a name for how.
//!
//! Nothing a worker does can take the harness down: a crash, a hang, rubbish on its output, a flood of lines or too much
//! memory each end in a [`Trouble`] with the worker's last words, and the next trial goes on.

mod library;
mod memory;
mod patience;
mod pin;
mod process;
mod program;
mod speech;
mod trouble;
mod version;

pub use library::Library;
pub use memory::Peaks;
pub use pin::{PinError, choose_cores};
pub use process::{BuiltWorker, Launch, Limits, Step, Worker, kill_all};
pub use program::{Program, python};
pub use trouble::{Ended, Trouble};
pub use version::worker_version;
