//! Queries of a batch that are made ready together, ahead of their walks: what that reads, a projection, is read once for all of
//! them.

use std::ops::Range;

use nearlab_storage::Vectors;

use crate::memory::Capacity;
use crate::quant::{Codes, Euclid, Length};

/// Some queries, one after another in their batch, that are ready but for what each needs of its own.
#[derive(Debug)]
pub(super) struct Ready<Q> {
    /// Their numbers in the batch.
    numbers: Range<usize>,
    lifted: Vec<Vec<f32>>,
    lengths: Vec<Length>,
    /// What was done for all of them.
    all: Q,
}

impl<Q: Default> Default for Ready<Q> {
    fn default() -> Self {
        Self { numbers: 0..0, lifted: Vec::new(), lengths: Vec::new(), all: Q::default() }
    }
}

impl<Q: Capacity> Capacity for Ready<Q> {
    fn capacity_bytes(&self) -> usize {
        let Self { numbers: _, lifted, lengths, all } = self;
        let within: usize = lifted.iter().map(Capacity::capacity_bytes).sum();
        lifted.capacity() * size_of::<Vec<f32>>() + within + lengths.capacity_bytes() + all.capacity_bytes()
    }
}

impl<Q> Ready<Q> {
    /// Forgets the queries of another batch.
    pub(super) fn clear(&mut self) {
        self.numbers = 0..0;
    }

    /// Replaces `lifted` and `query` by those of a query of the batch, and tells its length. Where it is not ready, it is made so, with those
    /// that follow.
    pub(super) fn take<C: Codes<Query = Q>>(
        &mut self,
        (queries, number): (Vectors<'_, f32>, usize),
        (codes, euclid): (C, &Euclid),
        (lifted, query): (&mut Vec<f32>, &mut Q),
    ) -> Length {
        if !self.numbers.contains(&number) {
            self.prepare((queries, number), (codes, euclid));
        }
        let place = number - self.numbers.start;
        lifted.clear();
        lifted.extend_from_slice(&self.lifted[place]);
        codes.prepare_one_of(&self.all, place, query);
        self.lengths[place]
    }

    fn prepare<C: Codes<Query = Q>>(
        &mut self,
        (queries, first): (Vectors<'_, f32>, usize),
        (codes, euclid): (C, &Euclid),
    ) {
        let count = codes.together().min(queries.len() - first);
        self.numbers = first..first + count;
        if self.lifted.len() < count {
            self.lifted.resize_with(count, Vec::new);
        }
        self.lengths.clear();
        for (number, lifted) in self.numbers.clone().zip(&mut self.lifted) {
            self.lengths.push(euclid.lift_query(queries.row(number), lifted));
        }
        codes.prepare_all(&self.lifted[..count], &mut self.all);
    }
}
