//! The one pass over the base vectors: each block is decoded once and everything that needs it takes it then.

use nearlab_storage::{Vectors, WriteError};
use rayon::ThreadPool;

use super::{
    PrepareError,
    difficulty::Sample,
    stats::{Stats, VectorHash},
    stored::StoredTruth,
};
use crate::{progress::Progress, source::RowReader, truth::Nearest};

/// What is gathered during the pass.
pub(crate) struct Pass<'a> {
    pub(crate) stats: Stats,
    pub(crate) hash: VectorHash,
    pub(crate) sample: Sample,
    pub(crate) nearest: Nearest<'a>,
    pub(crate) stored: Option<StoredTruth<'a>>,
}

/// Takes blocks of base vectors in order, for writing. It is called on the thread that runs the pass.
pub(crate) type Sink<'a> = &'a mut dyn FnMut(&[f32]) -> Result<(), WriteError>;

impl<'a> Pass<'a> {
    /// A pass over `n` rows.
    pub(crate) fn new(n: usize, nearest: Nearest<'a>, stored: Option<StoredTruth<'a>>) -> Self {
        Self { stats: Stats::new(), hash: VectorHash::new(), sample: Sample::new(n), nearest, stored }
    }

    /// Reads the first `n` rows of `train` block by block.
    pub(crate) fn run(
        &mut self,
        train: &mut dyn RowReader,
        n: usize,
        workers: (&ThreadPool, &dyn Progress),
        sink: Sink<'_>,
    ) -> Result<(), PrepareError> {
        let (pool, progress) = workers;
        let stage = if self.stored.is_none() && !self.nearest.is_empty() { "exact neighbours" } else { "base vectors" };
        let mut block = Vec::new();
        for rows in train.blocks() {
            let rows = rows.start.min(n)..rows.end.min(n);
            if rows.is_empty() {
                break;
            }
            progress.report(stage, rows.start as u64, n as u64);
            train.read_f32(rows.clone(), &mut block)?;
            self.block(rows.start, Vectors::new(&block, train.dim()), pool, sink).map_err(|e| e.locate(train))?;
        }
        progress.report(stage, n as u64, n as u64);
        Ok(())
    }

    fn block(
        &mut self,
        first: usize,
        rows: Vectors<'_, f32>,
        pool: &ThreadPool,
        sink: Sink<'_>,
    ) -> Result<(), BlockError> {
        let mut finite = Ok(());
        let Self { stats, hash, sample, nearest, stored } = self;
        // Hashing and writing are serial; they run beside everything else.
        let written = pool.in_place_scope(|scope| {
            scope.spawn(|_| hash.update(rows.as_slice()));
            scope.spawn(|_| {
                finite = stats.push(rows);
                sample.push(first, rows);
                if finite.is_ok() {
                    if let Some(stored) = stored {
                        stored.push(first, rows);
                    }
                    nearest.push(first as u32, rows, pool);
                }
            });
            sink(rows.as_slice())
        });
        finite.map_err(BlockError::NonFinite)?;
        written.map_err(BlockError::Write)
    }
}

enum BlockError {
    NonFinite(super::stats::NonFinite),
    Write(WriteError),
}

impl BlockError {
    fn locate(self, train: &dyn RowReader) -> PrepareError {
        match self {
            Self::Write(error) => error.into(),
            Self::NonFinite(found) => PrepareError::NonFinite {
                path: train.path().to_path_buf(),
                matrix: train.name().to_owned(),
                row: found.row,
                column: found.column,
                value: found.value,
            },
        }
    }
}
