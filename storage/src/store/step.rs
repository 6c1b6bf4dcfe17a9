//! Numbers that ascend as their slots do.

/// Slots that are looked at to find out.
const SAMPLE: usize = 1024;

/// How far most numbers are ahead of their slots, where most are equally far: those that were loaded in ascending order, one after
/// another, as most are. Such a number leads to its slot by a subtraction; whether the slot is its own is to be looked up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct InStep {
    ahead: Option<u64>,
    /// Slots when this was found out.
    slots: usize,
}

impl InStep {
    /// The slot of a number, if it is in step.
    #[inline]
    pub(super) fn slot(self, number: u64) -> Option<u32> {
        u32::try_from(number.wrapping_sub(self.ahead?)).ok()
    }

    /// Whether any number leads to its slot.
    #[inline]
    pub(super) fn leads(self) -> bool {
        self.ahead.is_some()
    }

    /// Finds out anew, once there are twice as many slots as when it last did. `number` gives that of a slot, if it has one.
    pub(super) fn follow(&mut self, slots: usize, number: impl Fn(usize) -> Option<u64>) {
        if slots < 2 * self.slots || slots == 0 {
            return;
        }
        let ahead = |slot: usize| number(slot).map(|number| number.wrapping_sub(slot as u64));
        let sample = (0..slots).step_by(slots.div_ceil(SAMPLE)).filter_map(ahead);
        *self = Self { ahead: majority(sample), slots };
    }
}

/// What more than half of the values are (Boyer and Moore, "MJRTY: a fast majority vote algorithm", 1991).
fn majority(values: impl Iterator<Item = u64> + Clone) -> Option<u64> {
    let (mut leader, mut votes) = (0, 0_usize);
    for value in values.clone() {
        match (votes, value == leader) {
            (0, _) => (leader, votes) = (value, 1),
            (_, true) => votes += 1,
            (_, false) => votes -= 1,
        }
    }
    let (all, same) = values.fold((0, 0), |(all, same), value| (all + 1, same + usize::from(value == leader)));
    (2 * same > all).then_some(leader)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is found out of these numbers, in slots from 0 on.
    fn of(numbers: &[Option<u64>]) -> InStep {
        let mut step = InStep::default();
        step.follow(numbers.len(), |slot| numbers[slot]);
        step
    }

    #[test]
    fn numbers_lead_to_their_slots_where_most_ascend_with_them() {
        let from_7: Vec<Option<u64>> = (0..5000).map(|slot| (slot % 3 != 0).then_some(slot + 7)).collect();
        assert_eq!((of(&from_7).slot(7), of(&from_7).slot(4000), of(&from_7).slot(6)), (Some(0), Some(3993), None));
        let below_their_slots = [Some(5), Some(u64::MAX), Some(0), Some(1)];
        assert_eq!((of(&below_their_slots).slot(1), of(&below_their_slots).slot(0)), (Some(3), Some(2)));
        let none = [&[][..], &[None, None], &[Some(3), Some(2), Some(1)], &[Some(0), Some(9)]];
        assert!(none.iter().all(|numbers| !of(numbers).leads()));
    }

    #[test]
    fn it_is_found_out_anew_once_there_are_twice_as_many() {
        let mut step = of(&[Some(4), Some(5)]);
        step.follow(3, |slot| Some(slot as u64));
        assert_eq!(step.slot(4), Some(0));
        step.follow(4, |slot| Some(slot as u64));
        assert_eq!(step.slot(4), Some(4));
    }
}
