//! Near misses: the known name that a mistyped one probably meant.

/// The candidate nearest to `name` by optimal string alignment distance (insert, delete, replace, swap neighbours;
/// letters compared without case), if it is near enough to be worth saying: at most a third of its length, at least 1.
pub(super) fn nearest<'a>(name: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    if name.chars().count() > 64 {
        return None;
    }
    let near = |candidate: &str| distance(&name.to_lowercase(), &candidate.to_lowercase());
    candidates
        .into_iter()
        .map(|candidate| (near(candidate), candidate))
        .filter(|(distance, candidate)| *distance <= (candidate.chars().count() / 3).max(1))
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

fn distance(a: &str, b: &str) -> usize {
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().collect(), b.chars().collect());
    let mut before: Vec<usize> = Vec::new();
    let mut last: Vec<usize> = (0..=b.len()).collect();
    for i in 1..=a.len() {
        let mut row = vec![i];
        for j in 1..=b.len() {
            let replaced = last[j - 1] + usize::from(a[i - 1] != b[j - 1]);
            let mut best = replaced.min(last[j] + 1).min(row[j - 1] + 1);
            if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                best = best.min(before[j - 2] + 1);
            }
            row.push(best);
        }
        before = std::mem::replace(&mut last, row);
    }
    last[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_swap_a_slip_and_a_missing_letter_are_one_step() {
        for wrong in ["ef_serach", "ef_seatch", "ef_seach", "EF_search"] {
            assert_eq!(nearest(wrong, ["m", "ef_search"]), Some("ef_search"), "{wrong}");
        }
        assert_eq!(distance("ab", "ba"), 1);
        assert_eq!(distance("", "abc"), 3);
    }

    #[test]
    fn what_is_far_from_everything_is_not_guessed() {
        assert_eq!(nearest("colour", ["m", "ef_search"]), None);
        assert_eq!(nearest(&"x".repeat(1000), ["m"]), None);
        assert_eq!(nearest("m", []), None);
    }
}
