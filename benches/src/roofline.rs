//! Kernels beside the machine's ceilings and beside a rival: what was timed, and a table of it.

#![expect(clippy::print_stdout, reason = "the table is what a bench is run for")]

use std::time::Duration;

use crate::ceilings::{Access, Term, bytes_per_second, terms_per_second};
use crate::processor_time;

/// Fewer samples than this are a test of the bench, not a measurement.
const SAMPLES: usize = 20;

/// A kernel at work.
#[derive(Clone, Debug, PartialEq)]
pub struct Case {
    /// What it computes and from where, as in the names of the benches.
    pub name: String,
    /// Components of a vector.
    pub d: usize,
    /// Vectors scored in a call.
    pub vectors: usize,
    /// Bytes that must be read for a vector.
    pub bytes: usize,
    /// How they are reached.
    pub access: Access,
    /// Terms that are summed for a vector.
    pub terms: usize,
    /// What kind of terms.
    pub term: Term,
}

/// What was timed.
pub struct Roofline {
    ours: &'static str,
    rows: Vec<Row>,
}

struct Row {
    case: Case,
    /// Nanoseconds per vector, a sample each.
    ours: Vec<f64>,
    rival: Vec<f64>,
}

impl Roofline {
    /// Nothing yet. `ours` names those kernels that the table is about.
    pub fn new(ours: &'static str) -> Self {
        Self { ours, rows: vec![] }
    }

    /// Calls `work` `count` times and keeps how much processor time that took, where `who` is ours or the rival.
    pub fn time(&mut self, case: &Case, who: &str, count: u64, mut work: impl FnMut()) -> Duration {
        let taken = processor_time(|| (0..count).for_each(|_| work()));
        let place = self.rows.iter().position(|row| row.case == *case).unwrap_or_else(|| {
            self.rows.push(Row { case: case.clone(), ours: vec![], rival: vec![] });
            self.rows.len() - 1
        });
        let sample = taken.as_secs_f64() * 1e9 / count as f64 / case.vectors as f64;
        if who == self.ours {
            self.rows[place].ours.push(sample);
        } else if who == RIVAL {
            self.rows[place].rival.push(sample);
        }
        taken
    }

    /// Measures the ceilings and prints the table, as Markdown: of what was timed in this run.
    pub fn print(mut self) {
        self.rows.retain(|row| row.ours.len() >= SAMPLES);
        if self.rows.is_empty() {
            return;
        }
        let mut ceilings = Ceilings::default();
        println!(
            "\n| kernel, {} | d | ns a vector | quartiles | GB/s | bound by | share | {RIVAL} ns | times |",
            self.ours
        );
        println!("|---|---|---|---|---|---|---|---|---|");
        for Row { case, ours, rival } in &mut self.rows {
            let [low, ns, high] = quartiles(ours);
            let (bound, least) = ceilings.least_ns(case);
            let beside = if rival.is_empty() {
                "| | |".to_owned()
            } else {
                let [_, rival, _] = quartiles(rival);
                format!("| {rival:.1} | {:.2} |", rival / ns)
            };
            println!(
                "| {} | {} | {ns:.2} | {low:.2} to {high:.2} | {:.1} | {bound} | {:.2} {beside}",
                case.name,
                case.d,
                case.bytes as f64 / ns,
                least / ns
            );
        }
        ceilings.print();
    }
}

/// The name of the rival among those that are timed.
pub const RIVAL: &str = "simsimd";

/// What was measured of the machine.
#[derive(Default)]
struct Ceilings {
    bytes: Vec<(Access, f64)>,
    terms: Vec<(Term, Option<f64>)>,
}

impl Ceilings {
    /// The least nanoseconds that a vector can take, and what binds it.
    fn least_ns(&mut self, case: &Case) -> (&'static str, f64) {
        let bytes = case.bytes as f64 / measured(&mut self.bytes, case.access, bytes_per_second) * 1e9;
        let terms = measured(&mut self.terms, case.term, terms_per_second);
        let terms = terms.map_or(0.0, |rate| case.terms as f64 / rate * 1e9);
        if bytes > terms { ("bytes", bytes) } else { ("terms", terms) }
    }

    fn print(&self) {
        println!("\n| ceiling | a second |");
        println!("|---|---|");
        for (access, rate) in &self.bytes {
            let (how, buffer) = match access {
                Access::Streamed(buffer) => ("read in order".to_owned(), buffer),
                Access::Gathered { buffer, row } => (format!("rows of {row} bytes by id"), buffer),
            };
            println!("| {how}, {} KiB | {:.1} GB |", buffer / 1024, rate / 1e9);
        }
        for (term, rate) in &self.terms {
            match rate {
                Some(rate) => println!("| {term:?} in registers | {:.1} G |", rate / 1e9),
                None => println!("| {term:?} in registers | not measured here |"),
            }
        }
    }
}

/// The rate of `what`, measured where it is asked for the first time.
fn measured<T: Copy + PartialEq, R: Copy>(known: &mut Vec<(T, R)>, what: T, measure: impl Fn(T) -> R) -> R {
    if let Some(&(_, rate)) = known.iter().find(|(other, _)| *other == what) {
        return rate;
    }
    known.push((what, measure(what)));
    known[known.len() - 1].1
}

/// The quartiles, of which the second is the median.
fn quartiles(samples: &mut [f64]) -> [f64; 3] {
    samples.sort_by(f64::total_cmp);
    [1, 2, 3].map(|quarter| samples[(samples.len() - 1) * quarter / 4])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quartiles_split_the_samples_in_four() {
        assert_eq!(quartiles(&mut [5.0, 1.0, 4.0, 2.0, 3.0]), [2.0, 3.0, 4.0]);
        assert_eq!(quartiles(&mut [7.0]), [7.0; 3]);
    }
}
