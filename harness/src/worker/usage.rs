//! What this process has used: CPU time and page faults, from the kernel.

use std::{fs, ops::Sub};

use rustix::time::{ClockId, clock_gettime};

/// A reading, or the difference of two.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Usage {
    /// User and system seconds of all threads.
    pub cpu_seconds: f64,
    /// Page faults that read from disk.
    pub faults_major: u64,
    /// Page faults served from memory.
    pub faults_minor: u64,
}

impl Usage {
    /// What the process has used since it started. Page faults are 0 where `/proc` is not mounted.
    pub fn now() -> Self {
        let (faults_minor, faults_major) =
            fs::read_to_string("/proc/self/stat").ok().and_then(|stat| parse_faults(&stat)).unwrap_or_default();
        let time = clock_gettime(ClockId::ProcessCPUTime);
        let cpu_seconds = time.tv_sec as f64 + time.tv_nsec as f64 * 1e-9;
        Self { cpu_seconds, faults_major, faults_minor }
    }
}

impl Sub for Usage {
    type Output = Self;

    fn sub(self, before: Self) -> Self {
        Self {
            cpu_seconds: self.cpu_seconds - before.cpu_seconds,
            faults_major: self.faults_major.saturating_sub(before.faults_major),
            faults_minor: self.faults_minor.saturating_sub(before.faults_minor),
        }
    }
}

/// Fields 10 (`minflt`) and 12 (`majflt`) of `proc_pid_stat(5)`; the name in field 2 may hold spaces and parentheses.
fn parse_faults(stat: &str) -> Option<(u64, u64)> {
    let after_name = &stat[stat.rfind(')')? + 1..];
    let mut fields = after_name.split_whitespace().skip(7);
    let minor = fields.next()?.parse().ok()?;
    let major = fields.nth(1)?.parse().ok()?;
    Some((minor, major))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn faults_are_found_behind_a_name_with_parentheses() {
        let stat = "12 (a (b) c) S 1 12 12 0 -1 4194560 1234 5 67 8 9 10";
        assert_eq!(parse_faults(stat), Some((1234, 67)));
        assert_eq!(parse_faults("12 (a) S 1"), None);
        assert_eq!(parse_faults(""), None);
    }

    #[test]
    fn work_uses_cpu_time() {
        let before = Usage::now();
        let sum: u64 = std::hint::black_box((0..1_000_000u64).map(|x| x * x % 7).sum());
        let used = Usage::now() - before;
        assert!(sum > 0 && used.cpu_seconds > 0.0);
    }
}
