//! A growing array whose copies share what is equal in both.

use std::sync::Arc;

/// Elements that are copied at once when one of them changes while another array shares them.
const PAGE: usize = 1024;

#[derive(Debug, Clone)]
pub(super) struct Paged<T> {
    pages: Vec<Arc<Vec<T>>>,
    len: usize,
}

impl<T> Default for Paged<T> {
    fn default() -> Self {
        Self { pages: Vec::new(), len: 0 }
    }
}

impl<T: Clone> Paged<T> {
    pub(super) fn len(&self) -> usize {
        self.len
    }

    #[inline]
    pub(super) fn get(&self, i: usize) -> Option<&T> {
        self.pages.get(i / PAGE)?.get(i % PAGE)
    }

    pub(super) fn get_mut(&mut self, i: usize) -> &mut T {
        &mut Arc::make_mut(&mut self.pages[i / PAGE])[i % PAGE]
    }

    pub(super) fn extend(&mut self, values: impl Iterator<Item = T>) {
        let mut values = values.peekable();
        while values.peek().is_some() {
            let used = self.len % PAGE;
            if used == 0 {
                self.pages.push(Arc::new(Vec::with_capacity(PAGE)));
            }
            let page = Arc::make_mut(self.pages.last_mut().expect("one has room"));
            page.extend(values.by_ref().take(PAGE - used));
            self.len += page.len() - used;
        }
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &T> {
        self.pages.iter().flat_map(|page| page.iter())
    }

    /// Bytes of memory, about.
    pub(super) fn memory(&self) -> usize {
        self.pages.len() * (PAGE * size_of::<T>() + size_of::<Arc<Vec<T>>>())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_copy_keeps_what_it_had_and_shares_the_rest() {
        let mut array = Paged::default();
        array.extend(0..3000_u32);
        let copy = array.clone();
        *array.get_mut(2500) = 7;
        array.extend(3000..3100);
        assert_eq!(
            (array.len(), array.get(2500), array.get(3099), array.get(3100)),
            (3100, Some(&7), Some(&3099), None)
        );
        assert!(copy.iter().copied().eq(0..3000));
        assert_eq!(array.get(5).map(std::ptr::from_ref), copy.get(5).map(std::ptr::from_ref));
    }
}
