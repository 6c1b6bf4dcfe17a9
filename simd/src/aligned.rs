//! Numbers in memory that begins at a line of the cache, as loads and stores of whole lines are fastest.

use std::ops::{Deref, DerefMut};

use crate::codes::LINE_BYTES;

/// A vector whose first element lies at a multiple of 64 bytes. Elements are of a size that divides 64.
#[derive(Debug, Default)]
pub struct Aligned<T> {
    items: Vec<T>,
    start: usize,
    len: usize,
}

impl<T: Copy + Default> Aligned<T> {
    /// Makes room for `len` elements. What they are is not said: some that were here before, or defaults.
    pub fn resize(&mut self, len: usize) {
        let line = LINE_BYTES / size_of::<T>();
        self.items.resize(len + line, T::default());
        (self.start, self.len) = (self.items.as_ptr().align_offset(LINE_BYTES).min(line), len);
    }
}

impl<T> Deref for Aligned<T> {
    type Target = [T];

    #[inline]
    fn deref(&self) -> &[T] {
        &self.items[self.start..][..self.len]
    }
}

impl<T> DerefMut for Aligned<T> {
    #[inline]
    fn deref_mut(&mut self) -> &mut [T] {
        &mut self.items[self.start..][..self.len]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_element_lies_at_a_line_whatever_the_length() {
        let mut numbers = Aligned::<i32>::default();
        assert!(numbers.is_empty());
        for len in [1, 16, 100, 5, 0, 4096] {
            numbers.resize(len);
            assert_eq!(numbers.len(), len);
            assert!(len == 0 || numbers.as_ptr().addr().is_multiple_of(LINE_BYTES));
            numbers.fill(7);
        }
    }
}
