//! Memory of what nobody reads any more, for what is written next.
//!
//! A change copies the pages that an older view shares with it. What it replaced is that view's alone once the last reader of it is gone:
//! then it is taken back, and the next change copies into it. So a store that is changed while others read allocates nothing once it
//! is warm (ADR 17).

use std::sync::Arc;

/// Pages that are kept, at most; what is given up beyond them is freed.
const MOST: usize = 32;
/// Bytes up to which the memory of a change is kept for the next, so that a bulk load leaves none behind.
pub(super) const KEPT_BYTES: usize = 1 << 20;

/// Pages that nobody shares.
#[derive(Debug)]
pub(super) struct Spare<T: ?Sized>(Vec<Arc<T>>);

impl<T: ?Sized> Default for Spare<T> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<T: ?Sized> Spare<T> {
    /// Keeps a page if nobody shares it, in place of the oldest where there are many.
    pub(super) fn offer(&mut self, page: Arc<T>) {
        if !is_alone(&page) {
            return;
        }
        if self.0.len() == MOST {
            self.0.remove(0);
        }
        self.0.push(page);
    }

    /// Bytes of memory.
    pub(super) fn memory(&self) -> usize {
        self.0.iter().map(|page| size_of_val(&**page)).sum()
    }
}

impl<T: Clone> Spare<T> {
    /// As [`Arc::make_mut`]: the copy is made in a page that is kept, where there is one.
    pub(super) fn own<'a>(&mut self, page: &'a mut Arc<T>) -> &'a mut T {
        if !is_alone(page)
            && let Some(kept) = self.0.pop()
        {
            let shared = std::mem::replace(page, kept);
            let own = Arc::get_mut(page).expect("nobody shares what is kept");
            own.clone_from(&shared);
            return own;
        }
        Arc::make_mut(page)
    }
}

impl<T: Copy> Spare<[T]> {
    /// As [`own`](Spare::own), of pages that differ in length.
    pub(super) fn own_slice<'a>(&mut self, page: &'a mut Arc<[T]>) -> &'a mut [T] {
        if !is_alone(page)
            && let Some(at) = self.0.iter().rposition(|kept| kept.len() == page.len())
        {
            let shared = std::mem::replace(page, self.0.remove(at));
            let own = Arc::get_mut(page).expect("nobody shares what is kept");
            own.copy_from_slice(&shared);
            return own;
        }
        Arc::make_mut(page)
    }
}

/// Whether nobody shares a page. [`Arc::get_mut`] tells too, but locks for it, and most pages of a view are shared.
pub(super) fn is_alone<T: ?Sized>(page: &Arc<T>) -> bool {
    Arc::strong_count(page) == 1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_shared_is_copied_into_what_is_not() {
        let (mut page, mut spare) = (Arc::new([1, 2, 3]), Spare::default());
        let (old, place) = (Arc::clone(&page), Arc::new([0; 3]));
        let at = Arc::as_ptr(&place);
        spare.offer(place);
        spare.offer(Arc::clone(&old));
        assert_eq!(spare.memory(), 12, "what is shared is not kept");
        spare.own(&mut page)[0] = 7;
        assert_eq!((*page, *old, Arc::as_ptr(&page)), ([7, 2, 3], [1, 2, 3], at));
        spare.own(&mut page)[1] = 8;
        assert_eq!((*page, Arc::as_ptr(&page), spare.memory()), ([7, 8, 3], at, 0), "its own is not copied");
        let _shared = Arc::clone(&page);
        spare.own(&mut page)[2] = 9;
        assert_eq!(*page, [7, 8, 9], "where nothing is kept, memory is allocated");
    }

    #[test]
    fn slices_are_copied_into_those_of_their_length_and_many_are_not_kept() {
        let (mut page, mut spare) = (Arc::from([1, 2]), Spare::default());
        let old: Arc<[i32]> = Arc::clone(&page);
        (1..=MOST).for_each(|len| spare.offer(vec![0; len].into()));
        spare.own_slice(&mut page)[0] = 5;
        assert_eq!((&*page, &*old, spare.0.len()), (&[5, 2][..], &[1, 2][..], MOST - 1));
        (0..5).for_each(|_| spare.offer(vec![0; 2].into()));
        assert_eq!((spare.0.len(), spare.0[0].len()), (MOST, 6), "the oldest went");
    }
}
