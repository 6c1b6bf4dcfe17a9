//! Sorted runs made one, in which each key stands once.

/// Runs that are to be merged, and the memory that takes.
#[derive(Default)]
pub(super) struct Runs {
    /// Run after run, and where each ends.
    keys: Vec<u64>,
    ends: Vec<usize>,
    merged: Vec<u64>,
    merged_ends: Vec<usize>,
}

impl Runs {
    pub(super) fn clear(&mut self) {
        self.keys.clear();
        self.ends.clear();
    }

    /// Adds a run, whose keys ascend.
    pub(super) fn push(&mut self, keys: impl Iterator<Item = u64>) {
        self.keys.extend(keys);
        self.ends.push(self.keys.len());
    }

    /// The keys of all runs, ascending, each once.
    pub(super) fn merged(&mut self) -> &[u64] {
        while self.ends.len() > 1 {
            self.merged.resize(self.keys.len(), 0);
            self.merged_ends.clear();
            let (mut start, mut end) = (0, 0);
            for ends in self.ends.chunks(2) {
                let (front, back) = self.keys[start..ends[ends.len() - 1]].split_at(ends[0] - start);
                end += merge(front, back, &mut self.merged[end..]);
                start += front.len() + back.len();
                self.merged_ends.push(end);
            }
            std::mem::swap(&mut self.keys, &mut self.merged);
            std::mem::swap(&mut self.ends, &mut self.merged_ends);
        }
        &self.keys[..self.ends.first().copied().unwrap_or_default()]
    }
}

/// Merges two runs, without a branch that depends on their keys; the number of keys that are left.
fn merge(a: &[u64], b: &[u64], out: &mut [u64]) -> usize {
    let (mut i, mut j, mut n) = (0, 0, 0);
    while i < a.len() && j < b.len() {
        let (x, y) = (a[i], b[j]);
        out[n] = x.min(y);
        n += 1;
        // Both, where they are equal.
        i += usize::from(x <= y);
        j += usize::from(y <= x);
    }
    for rest in [&a[i..], &b[j..]] {
        out[n..n + rest.len()].copy_from_slice(rest);
        n += rest.len();
    }
    n
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::SplitMix64;

    #[test]
    fn all_keys_come_in_order_and_once() {
        let mut random = SplitMix64::new(6);
        let mut runs = Runs::default();
        for count in [0, 1, 2, 3, 7, 12, 13] {
            runs.clear();
            let mut expected = Vec::<u64>::new();
            for _ in 0..count {
                let mut keys: Vec<u64> = (0..random.below(17)).map(|_| random.below(60) as u64).collect();
                keys.sort_unstable();
                keys.dedup();
                expected.extend(&keys);
                runs.push(keys.into_iter());
            }
            expected.sort_unstable();
            expected.dedup();
            assert_eq!(runs.merged(), expected);
        }
    }
}
