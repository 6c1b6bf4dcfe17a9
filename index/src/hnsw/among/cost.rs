//! What searches among some cost, as far as it takes to choose between them.
//!
//! In nanoseconds, as measured on 100,000 and 1,000,000 vectors (ADR 11); only their ratios matter. They say nothing about the
//! machine that is searched on, and are no promise.

use nearlab_simd::LINE_BYTES;

use crate::hnsw::graph::{Links, View};
use crate::quant::Codes;

/// What pieces of work cost.
#[derive(Debug, Clone, Copy)]
pub(super) struct Costs {
    /// Scoring one row of many that lie in order.
    pub(super) scanned: f64,
    /// Scoring one row that a link led to.
    pub(super) walked: f64,
    /// Reading a node's links.
    pub(super) row: f64,
    m: f64,
}

impl Costs {
    /// Of searches that walk over these codes.
    pub(super) fn of<C: Codes>(view: View<'_, C>) -> Self {
        Self::of_rows(view.codes.row_bytes(), view.links)
    }

    /// Of searches over rows of codes of `row_bytes`.
    pub(super) fn of_rows(row_bytes: usize, links: Links<'_>) -> Self {
        let (lines, m) = (row_bytes.div_ceil(LINE_BYTES) as f64, links.m as f64);
        Self { scanned: 2.0 + 5.0 * lines, walked: 33.0 + 4.0 * lines, row: 30.0 + 3.0 * m, m }
    }

    /// Scoring all matches, which are looked for in a bitmap of so many nodes.
    pub(super) fn scan(&self, matches: f64, nodes: usize) -> f64 {
        matches * self.scanned + nodes as f64 / 64.0
    }

    /// Walking through all nodes until `ef` matches are found, of which there is this share: without a filter `ef` rows and half
    /// of their links.
    pub(super) fn walk(&self, ef: usize, share: f64) -> f64 {
        ef as f64 * (self.row + self.m * self.walked) / share.powf(0.8)
    }

    /// Walking by two hops until `ef` matches are found, of which there is this share, where nodes have `degree` links: each match has
    /// no more new ones within two links than there are.
    pub(super) fn leap(&self, ef: usize, share: f64, degree: f64) -> f64 {
        let scored = (1.2 * self.m).min(share * degree * degree);
        ef as f64 * (degree.min(1.5 / share) * self.row + scored * self.walked)
    }
}
