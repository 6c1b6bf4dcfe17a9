//! How long-running work here tells its caller where it stands.

/// Receives progress. Called from any thread, a few times a second at most per stage.
pub trait Progress: Sync {
    /// `done` of `total` units of `stage` are finished; `total` is 0 while it is not known.
    fn report(&self, stage: &str, done: u64, total: u64);
}

/// Reports to nobody.
impl Progress for () {
    fn report(&self, _stage: &str, _done: u64, _total: u64) {}
}
