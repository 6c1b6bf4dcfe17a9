//! Growing arrays whose copies share what is equal in both.
//!
//! A [`Paged`] array keeps its elements in pages, and [`Pages`] of these in branches: a copy shares them all and costs a pointer
//! for each branch, a change of what is shared costs one page and the pointers of one branch.

use std::array;
use std::sync::Arc;

use super::spare::{Spare, is_alone};

/// Elements that are copied at once when one of them changes while another array shares them.
const PAGE: usize = 512;
/// Pages whose pointers are copied at once.
pub(super) const BRANCH: usize = 64;

/// Elements in pages of `N`.
#[derive(Debug, Clone)]
pub(super) struct Pages<T, const N: usize> {
    pages: Vec<Arc<[T; N]>>,
    len: usize,
}

impl<T, const N: usize> Default for Pages<T, N> {
    fn default() -> Self {
        Self { pages: Vec::new(), len: 0 }
    }
}

impl<T: Clone + Default, const N: usize> Pages<T, N> {
    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// The element at `i`, which is there.
    #[inline]
    pub(super) fn at(&self, i: usize) -> &T {
        &self.pages[i / N][i % N]
    }

    pub(super) fn at_mut(&mut self, i: usize, spare: &mut Spare<[T; N]>) -> &mut T {
        &mut spare.own(&mut self.pages[i / N])[i % N]
    }

    pub(super) fn push(&mut self, value: T, spare: &mut Spare<[T; N]>) {
        if self.len.is_multiple_of(N) {
            self.pages.push(Arc::new(array::from_fn(|_| T::default())));
        }
        self.len += 1;
        *self.at_mut(self.len - 1, spare) = value;
    }

    /// Becomes a copy of another.
    pub(super) fn copy_from(&mut self, other: &Self) {
        self.pages.clone_from(&other.pages);
        self.len = other.len;
    }

    /// Becomes empty. Pages that nobody shares are kept, and what their elements lead to is for `take` first.
    pub(super) fn give_up(&mut self, spare: &mut Spare<[T; N]>, mut take: impl FnMut(&mut T)) {
        for mut page in self.pages.drain(..) {
            if is_alone(&page) {
                Arc::make_mut(&mut page).iter_mut().for_each(&mut take);
                spare.offer(page);
            }
        }
        self.len = 0;
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &T> {
        self.pages.iter().flat_map(|page| page.iter()).take(self.len)
    }

    /// Bytes of memory, without what the elements lead to.
    pub(super) fn memory(&self) -> usize {
        self.pages.len() * (size_of::<[T; N]>() + size_of::<Arc<[T; N]>>())
    }
}

/// A page, unless it is one of those with which a branch is filled up.
type Page<T> = Option<Arc<[T; PAGE]>>;

/// Pages and branches that nobody shares.
#[derive(Debug)]
pub(super) struct PagedSpare<T> {
    branches: Spare<[Page<T>; BRANCH]>,
    pages: Spare<[T; PAGE]>,
}

impl<T> Default for PagedSpare<T> {
    fn default() -> Self {
        Self { branches: Spare::default(), pages: Spare::default() }
    }
}

impl<T> PagedSpare<T> {
    /// Bytes of memory.
    pub(super) fn memory(&self) -> usize {
        self.branches.memory() + self.pages.memory()
    }
}

/// A growing array of small elements.
#[derive(Debug, Clone)]
pub(super) struct Paged<T> {
    pages: Pages<Page<T>, BRANCH>,
    len: usize,
}

impl<T> Default for Paged<T> {
    fn default() -> Self {
        Self { pages: Pages::default(), len: 0 }
    }
}

impl<T: Clone + Default> Paged<T> {
    pub(super) fn len(&self) -> usize {
        self.len
    }

    #[inline]
    pub(super) fn get(&self, i: usize) -> Option<&T> {
        if i >= self.len {
            return None;
        }
        Some(&self.pages.at(i / PAGE).as_ref()?[i % PAGE])
    }

    pub(super) fn get_mut(&mut self, i: usize, spare: &mut PagedSpare<T>) -> &mut T {
        &mut self.page_mut(i / PAGE, spare)[i % PAGE]
    }

    /// Becomes a copy of another.
    pub(super) fn copy_from(&mut self, other: &Self) {
        self.pages.copy_from(&other.pages);
        self.len = other.len;
    }

    /// Becomes empty; what nobody shares is kept.
    pub(super) fn give_up(&mut self, spare: &mut PagedSpare<T>) {
        let PagedSpare { branches, pages } = spare;
        self.pages.give_up(branches, |page| page.take().into_iter().for_each(|page| pages.offer(page)));
        self.len = 0;
    }

    /// Asks for the memory of an element.
    #[inline]
    pub(super) fn prefetch(&self, i: usize) {
        if let Some(element) = self.get(i) {
            nearlab_simd::prefetch(std::slice::from_ref(element));
        }
    }

    pub(super) fn extend(&mut self, values: impl Iterator<Item = T>, spare: &mut PagedSpare<T>) {
        let mut values = values.peekable();
        while values.peek().is_some() {
            let used = self.len % PAGE;
            if used == 0 {
                self.pages.push(Some(Arc::new(array::from_fn(|_| T::default()))), &mut spare.branches);
            }
            let mut added = 0;
            let free = &mut self.page_mut(self.len / PAGE, spare)[used..];
            // In this order: a page that is full takes no value.
            for (place, value) in free.iter_mut().zip(values.by_ref()) {
                *place = value;
                added += 1;
            }
            self.len += added;
        }
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &T> {
        self.pages.iter().flatten().flat_map(|page| page.iter()).take(self.len)
    }

    /// Bytes of memory, about.
    pub(super) fn memory(&self) -> usize {
        self.pages.len() * size_of::<[T; PAGE]>() + self.pages.memory()
    }

    fn page_mut(&mut self, page: usize, spare: &mut PagedSpare<T>) -> &mut [T; PAGE] {
        let page = self.pages.at_mut(page, &mut spare.branches).as_mut();
        spare.pages.own(page.expect("pages are there up to the length"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_copy_keeps_what_it_had_and_shares_the_rest() {
        let (mut array, mut spare) = (Paged::default(), PagedSpare::default());
        array.extend(0..30_000_u32, &mut spare);
        let copy = array.clone();
        *array.get_mut(2500, &mut spare) = 7;
        array.extend(30_000..30_100, &mut spare);
        assert_eq!(
            (array.len(), array.get(2500), array.get(30_099), array.get(30_100)),
            (30_100, Some(&7), Some(&30_099), None)
        );
        assert!(copy.iter().copied().eq(0..30_000));
        assert_eq!(array.iter().count(), 30_100);
        for shared in [5, 2500 - PAGE, 2500 + PAGE, 20_000] {
            assert_eq!(array.get(shared).map(std::ptr::from_ref), copy.get(shared).map(std::ptr::from_ref));
        }
    }

    #[test]
    fn what_an_older_copy_leaves_is_where_the_next_change_is_copied_to() {
        let (mut array, mut spare) = (Paged::default(), PagedSpare::default());
        array.extend(0..30_000_u32, &mut spare);
        let mut old = array.clone();
        *array.get_mut(2500, &mut spare) = 7;
        let left = old.get(2500).map(std::ptr::from_ref).unwrap();
        old.give_up(&mut spare);
        assert_eq!((old.len(), spare.pages.memory()), (0, PAGE * size_of::<u32>()));
        old.copy_from(&array);
        *array.get_mut(29_000, &mut spare) = 8;
        assert_eq!(spare.memory(), 0, "one page and one branch changed hands");
        assert_eq!(std::ptr::from_ref(array.get(29_000 / PAGE * PAGE + 2500 % PAGE).unwrap()), left);
        assert_eq!((array.get(29_000), old.get(29_000), old.get(2500)), (Some(&8), Some(&29_000), Some(&7)));
        assert!(array.iter().copied().eq((0..30_000).map(|i| match i {
            2500 => 7,
            29_000 => 8,
            i => i,
        })));
    }
}
