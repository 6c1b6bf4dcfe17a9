//! Scoring rows that lie apart: those that a set of ids admits.

use crate::Counters;
use crate::quant::Codes;

/// Rows scored at once. A block is asked for while the one before it is scored.
const BLOCK: usize = 32;

/// Scores the rows `ids`, and hands them over with their scores, some at a time and in the order of `ids`.
#[inline]
pub(crate) fn score_scattered<C: Codes>(
    (codes, query): (C, &C::Query),
    mut ids: impl Iterator<Item = u32>,
    counters: &mut Counters,
    mut take: impl FnMut(&[u32], &[f32]),
) {
    let (mut now, mut next, mut scores) = ([0; BLOCK], [0; BLOCK], [0.0; BLOCK]);
    let mut asked = ask(codes, &mut ids, &mut now);
    while asked > 0 {
        let ahead = ask(codes, &mut ids, &mut next);
        codes.score(query, &now[..asked], &mut scores[..asked]);
        counters.add_scored(asked, codes.row_bytes());
        take(&now[..asked], &scores[..asked]);
        (now, next, asked) = (next, now, ahead);
    }
}

/// Fills a block with the next ids, and asks for their rows; how many there are.
#[inline]
fn ask<C: Codes>(codes: C, ids: &mut impl Iterator<Item = u32>, block: &mut [u32; BLOCK]) -> usize {
    let mut asked = 0;
    for (place, id) in block.iter_mut().zip(ids) {
        *place = id;
        codes.prefetch(id);
        asked += 1;
    }
    asked
}

#[cfg(test)]
mod tests {
    use nearlab_simd::Metric;

    use super::*;
    use crate::space::Space;

    #[test]
    fn every_id_is_scored_once_and_in_order() {
        let line: Vec<f32> = (0..100_u8).map(f32::from).collect();
        let space = Space::new(&line, 1, Metric::L2);
        for count in [0, 1, BLOCK, BLOCK + 1, 3 * BLOCK, 3 * BLOCK + 3] {
            let (mut counters, mut scored) = (Counters::default(), Vec::new());
            score_scattered((space, &vec![2.0]), 0..count as u32, &mut counters, |ids, scores| {
                scored.extend(ids.iter().copied().zip(scores.iter().copied()));
            });
            let expected: Vec<(u32, f32)> = (0..count as u32).map(|id| (id, (id as f32 - 2.0).powi(2))).collect();
            assert_eq!(scored, expected);
            assert_eq!(counters.distance_computations, count as u64);
        }
    }
}
