//! The experiment runner: a question in YAML becomes a plan, the plan becomes trials in child processes, every
//! measurement becomes a record, and the records become a report.
//!
//! The modules stand in the order in which an experiment passes through them:
//!
//! | module | what it does |
//! |---|---|
//! | [`spec`] | parses and validates the YAML |
//! | [`plan`] | expands the sweeps, applies `require`, hashes and orders every measurement |
//! | [`run`] | finds or makes the run's folder, prepares the data, walks the plan, resumes, renders the report |
//! | [`trial`] | starts one worker process, pins, times out and limits it, and names what went wrong |
//! | [`protocol`] | the messages between harness and worker |
//! | [`worker`] | the worker for nearlab's own indexes: the timed loops are here |
//! | [`storage`] | experiments about stores: plan, run, worker |
//! | [`recall`], [`latency`] | what the harness computes from the ids and nanoseconds that a worker hands in |
//! | [`environment`] | the machine and the program, as recorded |
//! | [`heap`] | the switchable allocator and dhat's output |
//! | [`export`], [`gate`] | ann-benchmarks result files; exact counters against the golden file |
//! | [`cli`] | the commands |
//!
//! Invariants: a worker never computes recall; timed and profiled runs are different processes; a line of
//! `records.jsonl` is written only after the sample files that it names.

pub mod cli;
pub mod environment;
pub mod export;
pub mod gate;
pub mod heap;
pub mod latency;
pub mod plan;
pub mod progress;
pub mod protocol;
pub mod recall;
pub mod run;
pub mod spec;
pub mod storage;
pub mod trial;
pub mod worker;
