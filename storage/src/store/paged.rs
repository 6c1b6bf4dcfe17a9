//! Growing arrays whose copies share what is equal in both.
//!
//! A [`Paged`] array keeps its elements in pages, and [`Pages`] of these in branches: a copy shares them all and costs a pointer
//! for each branch, a change of what is shared costs one page and the pointers of one branch.

use std::array;
use std::sync::Arc;

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

    pub(super) fn at_mut(&mut self, i: usize) -> &mut T {
        &mut Arc::make_mut(&mut self.pages[i / N])[i % N]
    }

    pub(super) fn push(&mut self, value: T) {
        if self.len.is_multiple_of(N) {
            self.pages.push(Arc::new(array::from_fn(|_| T::default())));
        }
        self.len += 1;
        *self.at_mut(self.len - 1) = value;
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

    pub(super) fn get_mut(&mut self, i: usize) -> &mut T {
        &mut self.page_mut(i / PAGE)[i % PAGE]
    }

    /// Asks for the memory of an element.
    #[inline]
    pub(super) fn prefetch(&self, i: usize) {
        if let Some(element) = self.get(i) {
            nearlab_simd::prefetch(std::slice::from_ref(element));
        }
    }

    pub(super) fn extend(&mut self, values: impl Iterator<Item = T>) {
        let mut values = values.peekable();
        while values.peek().is_some() {
            let used = self.len % PAGE;
            if used == 0 {
                self.pages.push(Some(Arc::new(array::from_fn(|_| T::default()))));
            }
            let mut added = 0;
            let free = &mut self.page_mut(self.len / PAGE)[used..];
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

    fn page_mut(&mut self, page: usize) -> &mut [T; PAGE] {
        Arc::make_mut(self.pages.at_mut(page).as_mut().expect("pages are there up to the length"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_copy_keeps_what_it_had_and_shares_the_rest() {
        let mut array = Paged::default();
        array.extend(0..30_000_u32);
        let copy = array.clone();
        *array.get_mut(2500) = 7;
        array.extend(30_000..30_100);
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
}
