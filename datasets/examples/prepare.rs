//! Prepares a data set and prints what it took: `prepare SOURCE CACHE_FOLDER [LIMIT]`.
//!
//! Peak memory is the largest resident set the kernel saw, mapped files included.
#![expect(clippy::print_stdout, reason = "an example reports on the terminal")]

use std::{error::Error, path::Path, time::Instant};

use nearlab_datasets::{Cache, PrepareOptions, Prepared, prepare};

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let (Some(source), Some(folder)) = (arguments.next(), arguments.next()) else {
        return Err("usage: prepare SOURCE CACHE_FOLDER [LIMIT]".into());
    };
    let limit = arguments.next().map(|limit| limit.parse()).transpose()?;
    let options = PrepareOptions { limit, ..PrepareOptions::default() };
    let start = Instant::now();
    let path = prepare(source.as_str(), Path::new(""), &options, &Cache::new(folder), &())?;
    let seconds = start.elapsed().as_secs_f64();
    let raw = std::fs::metadata(&path)?.len();
    let peak = peak_resident_kib().unwrap_or_default();
    println!("{}", path.display());
    println!("{:#?}", Prepared::open(&path)?.fingerprint());
    println!("{seconds:.2} s, peak resident {peak} KiB, {} KiB prepared", raw / 1024);
    Ok(())
}

fn peak_resident_kib() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?.trim().trim_end_matches(" kB").parse().ok()
}
