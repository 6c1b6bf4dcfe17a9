//! Dividing the queries: what a report measures is never what tuning saw.

use rand::{SeedableRng, seq::SliceRandom};
use rand_pcg::Pcg64Mcg;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Two disjoint random parts of the queries.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct QuerySplit {
    /// Queries that are measured and reported, at least 1.
    pub report: usize,
    /// Queries for tuning.
    #[serde(default)]
    pub calibrate: usize,
    /// Seed of the permutation.
    #[serde(default)]
    pub seed: u64,
}

/// Rows of `test` for the report and for calibration, each in ascending order; all for the report without a split.
///
/// The split must fit into `queries`.
pub(crate) fn split(queries: usize, split: Option<&QuerySplit>) -> (Vec<usize>, Vec<usize>) {
    let mut rows: Vec<usize> = (0..queries).collect();
    let Some(split) = split else { return (rows, Vec::new()) };
    rows.shuffle(&mut Pcg64Mcg::seed_from_u64(split.seed));
    let mut report = rows[..split.report].to_vec();
    let mut calibrate = rows[split.report..split.report + split.calibrate].to_vec();
    report.sort_unstable();
    calibrate.sort_unstable();
    (report, calibrate)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_a_split_all_queries_are_reported_in_order() {
        assert_eq!(split(3, None), (vec![0, 1, 2], vec![]));
    }

    #[test]
    fn the_parts_are_disjoint_sorted_and_depend_on_the_seed_alone() {
        let at = |seed| split(100, Some(&QuerySplit { report: 60, calibrate: 30, seed }));
        let (report, calibrate) = at(7);
        assert_eq!((report.len(), calibrate.len()), (60, 30));
        assert!(report.is_sorted() && calibrate.is_sorted());
        assert!(calibrate.iter().all(|row| !report.contains(row) && *row < 100));
        assert_eq!(at(7), (report.clone(), calibrate));
        assert_ne!(at(8).0, report);
    }
}
