//! Scoring rows that lie apart: those that a set of ids admits.

use crate::Counters;
use crate::quant::Codes;

/// Rows scored at once. A block is asked for while the one before it is scored.
const BLOCK: usize = 32;
/// Ids that were asked for and have not come.
const AHEAD: usize = 16;

/// Ids in their order. What is asked for by each is on its way while as many as [`AHEAD`] before it come.
pub(crate) struct Ahead<I, A> {
    ids: I,
    ask: A,
    /// Those asked for: `left` from place `next` on, in a ring.
    asked: [u32; AHEAD],
    next: usize,
    left: usize,
}

/// Has something asked for by each id before it comes.
pub(crate) fn ahead<I: Iterator<Item = u32>, A: Fn(u32)>(ids: I, ask: A) -> Ahead<I, A> {
    Ahead { ids, ask, asked: [0; AHEAD], next: 0, left: 0 }
}

impl<I: Iterator<Item = u32>, A: Fn(u32)> Iterator for Ahead<I, A> {
    type Item = u32;

    #[inline]
    fn next(&mut self) -> Option<u32> {
        while self.left < AHEAD
            && let Some(id) = self.ids.next()
        {
            (self.ask)(id);
            self.asked[(self.next + self.left) % AHEAD] = id;
            self.left += 1;
        }
        self.left = self.left.checked_sub(1)?;
        let id = self.asked[self.next];
        self.next = (self.next + 1) % AHEAD;
        Some(id)
    }
}

/// Rows to score, and the ids that they go by.
struct Block {
    rows: [u32; BLOCK],
    ids: [u32; BLOCK],
    len: usize,
}

impl Block {
    const EMPTY: Self = Self { rows: [0; BLOCK], ids: [0; BLOCK], len: 0 };

    /// Fills it with the next (row, id), and asks for the rows.
    #[inline]
    fn ask(&mut self, codes: impl Codes, matches: &mut impl Iterator<Item = (u32, u32)>) {
        self.len = 0;
        for ((asked, name), (row, id)) in self.rows.iter_mut().zip(&mut self.ids).zip(matches) {
            (*asked, *name) = (row, id);
            codes.prefetch(row);
            self.len += 1;
        }
    }
}

/// Scores rows, given as (row, id), and hands over their ids with the scores, some at a time and in order.
#[inline]
pub(crate) fn score_scattered<C: Codes>(
    (codes, query): (C, &C::Query),
    mut matches: impl Iterator<Item = (u32, u32)>,
    counters: &mut Counters,
    mut take: impl FnMut(&[u32], &[f32]),
) {
    let (mut now, mut next, mut scores) = (Block::EMPTY, Block::EMPTY, [0.0; BLOCK]);
    now.ask(codes, &mut matches);
    while now.len > 0 {
        next.ask(codes, &mut matches);
        let scores = &mut scores[..now.len];
        codes.score(query, &now.rows[..now.len], scores);
        counters.add_scored(now.len, codes.row_bytes());
        take(&now.ids[..now.len], scores);
        std::mem::swap(&mut now, &mut next);
    }
}

#[cfg(test)]
mod tests {
    use nearlab_simd::Metric;

    use super::*;
    use crate::space::Space;

    #[test]
    fn ids_are_asked_for_ahead_and_come_in_order() {
        for count in [0, 1, AHEAD, AHEAD + 1, 3 * AHEAD + 5] {
            let asked = std::cell::Cell::new(0);
            let ids = ahead(0..count as u32, |id| assert_eq!(asked.replace(id + 1), id));
            let mut came = 0;
            for id in ids {
                assert_eq!(id, came);
                came += 1;
                assert_eq!(asked.get() as usize, count.min(id as usize + AHEAD));
            }
            assert_eq!(came as usize, count);
        }
    }

    #[test]
    fn every_id_is_scored_once_and_in_order() {
        let line: Vec<f32> = (0..100_u8).map(f32::from).collect();
        let space = Space::new(&line, 1, Metric::L2);
        for count in [0, 1, BLOCK, BLOCK + 1, 3 * BLOCK, 3 * BLOCK + 3] {
            let (mut counters, mut scored) = (Counters::default(), Vec::new());
            let matches = (0..count as u32).map(|row| (row, row + 7));
            score_scattered((space, &vec![2.0]), matches, &mut counters, |ids, scores| {
                scored.extend(ids.iter().copied().zip(scores.iter().copied()));
            });
            let expected: Vec<(u32, f32)> =
                (0..count as u32).map(|row| (row + 7, (row as f32 - 2.0).powi(2))).collect();
            assert_eq!(scored, expected);
            assert_eq!(counters.distance_computations, count as u64);
        }
    }
}
