//! Four bits per component: one cache line holds 128 of them.
//!
//! The query keeps 7 bits per component, in eighths of a level, which costs nothing: the kernel multiplies the levels by 8
//! where it unpacks them.

use std::sync::Arc;

use nearlab_simd::{CodeKernels, LINE_BYTES, code_kernels, prefetch, u4_query_level};
use nearlab_storage::Buffer;
use rayon::prelude::*;

use super::projection::CoarseScratch;
use super::{
    Bytes, CHUNK_ROWS, Codes, Encoded, Form, Levels, Projection, SelfQuery, Source, Sq7, encode_chunks, made, padded,
    room, sq7, write_levels,
};
use crate::BuildError;
use crate::memory::Capacity;

/// Levels of a component.
const COUNT: u32 = 16;
/// Components that share a cache line.
const LINE_COMPONENTS: usize = 2 * LINE_BYTES;

/// Codes of base vectors, and how they were made.
#[derive(Debug)]
pub(crate) struct Sq4 {
    pub(crate) levels: Levels,
    pub(crate) projection: Option<Arc<Projection>>,
    pub(crate) codes: Buffer<u8>,
}

impl Sq4 {
    /// Encodes all vectors, after a projection where one is given, and the same components in 7 bits, by which builds choose
    /// neighbours: a projection takes longer than both.
    pub(crate) fn encode(source: &dyn Source, projection: Option<Arc<Projection>>) -> Result<(Self, Sq7), BuildError> {
        let (mut sample, width) = Projection::sample(projection.as_deref(), source);
        let finer = Levels::train(&sample, width, sq7::COUNT);
        // Queries are clamped to these levels too.
        sample.extend(Projection::sample_as_queries(projection.as_deref(), source));
        let levels = Levels::train(&sample, width, COUNT);
        let (row_bytes, finer_bytes) = (row_bytes(width), padded::<u8>(width));
        let (mut codes, mut finer_codes) = (room(source, row_bytes)?, room(source, finer_bytes)?);
        let chunks = codes.par_chunks_mut(CHUNK_ROWS * row_bytes);
        let finer_chunks = finer_codes.par_chunks_mut(CHUNK_ROWS * finer_bytes);
        encode_chunks(source, chunks.zip(finer_chunks), |rows, (codes, finer_codes), scratch| {
            let rows = Projection::of(projection.as_deref(), rows, &mut scratch.floats);
            write(&levels, rows, codes);
            write_levels(&finer, sq7::COUNT, rows, finer_codes);
        });
        let sq7 = Sq7 { levels: finer, projection: projection.clone(), codes: made(finer_codes)? };
        Ok((Self { levels, projection, codes: made(codes)? }, sq7))
    }

    pub(crate) fn rows(&self) -> Sq4Rows<'_> {
        Sq4Rows {
            levels: &self.levels,
            projection: self.projection.as_deref(),
            codes: &self.codes,
            row_bytes: row_bytes(self.levels.offset.len()),
            kernels: code_kernels(),
        }
    }
}

/// Bytes of a row of `width` components.
pub(crate) fn row_bytes(width: usize) -> usize {
    width.div_ceil(LINE_COMPONENTS) * LINE_BYTES
}

/// Writes the levels of some rows to their codes.
fn write(levels: &Levels, rows: &[f32], codes: &mut [u8]) {
    let width = levels.offset.len();
    for (row, code) in rows.chunks_exact(width).zip(codes.chunks_exact_mut(row_bytes(width))) {
        pack(levels, row, code);
    }
}

impl Form for Sq4 {
    fn encode_rows(&self, lifted: &[f32], width: usize, out: &mut Encoded) {
        let (codes, projected, _) = out.zeroed(lifted.len() / width * row_bytes(self.levels.offset.len()));
        write(&self.levels, Projection::of(self.projection.as_deref(), lifted, projected), codes);
    }

    fn quantizer_bytes(&self) -> usize {
        size_of_val(&*self.levels.offset) + self.projection.as_ref().map_or(0, |projection| projection.bytes())
    }

    fn codes(&self) -> &dyn Bytes {
        &self.codes
    }

    fn codes_mut(&mut self) -> &mut dyn Bytes {
        &mut self.codes
    }
}

/// Writes the levels of `row` to `code`: the low halves of a line hold its first 64 components.
fn pack(levels: &Levels, row: &[f32], code: &mut [u8]) {
    let lines = row.chunks(LINE_COMPONENTS).zip(code.chunks_exact_mut(LINE_BYTES));
    for (line, (components, code)) in lines.enumerate() {
        let mut unpacked = [0; LINE_COMPONENTS];
        levels.write(line * LINE_COMPONENTS, components, COUNT, &mut unpacked[..components.len()]);
        let (low, high) = unpacked.split_at(LINE_BYTES);
        for ((byte, low), high) in code.iter_mut().zip(low).zip(high) {
            *byte = low | high << 4;
        }
    }
}

/// The codes as searches see them.
#[derive(Clone, Copy)]
pub(crate) struct Sq4Rows<'a> {
    levels: &'a Levels,
    projection: Option<&'a Projection>,
    codes: &'a [u8],
    row_bytes: usize,
    kernels: &'static CodeKernels,
}

/// Levels of the query, in the order in which the kernel meets the components.
#[derive(Debug, Default)]
pub(crate) struct Sq4Query {
    scratch: CoarseScratch,
    levels: Vec<i8>,
}

impl Capacity for Sq4Query {
    fn capacity_bytes(&self) -> usize {
        self.scratch.capacity_bytes() + self.levels.capacity()
    }
}

/// What a padded component of the query must be for the kernel to find no difference: level 0 of the code, times 8.
const PADDING: i8 = 0;

/// Queries that are projected together: the directions are read for four at a time, and sixteen still leave the caches to the walks.
const PROJECTED_TOGETHER: usize = 16;

impl Sq4Rows<'_> {
    /// Replaces `levels` by those of a query's components.
    fn prepare_components(&self, components: &[f32], levels: &mut Vec<i8>) {
        levels.clear();
        levels.resize(2 * self.row_bytes, PADDING);
        for (level, position) in levels.iter_mut().zip(self.levels.positions(components)) {
            *level = u4_query_level(position);
        }
    }
}

impl Codes for Sq4Rows<'_> {
    type Query = Sq4Query;

    fn len(&self) -> usize {
        self.codes.len() / self.row_bytes
    }

    fn row_bytes(&self) -> usize {
        self.row_bytes
    }

    fn unit(&self) -> f32 {
        let eighth = self.levels.step / 8.0;
        eighth * eighth
    }

    fn prepare(&self, vector: &[f32], query: &mut Sq4Query) {
        let Sq4Query { scratch, levels } = query;
        let components = match self.projection {
            Some(projection) => projection.apply_coarsely(std::iter::once(vector), scratch),
            None => vector,
        };
        self.prepare_components(components, levels);
    }

    fn together(&self) -> usize {
        if self.projection.is_some() { PROJECTED_TOGETHER } else { 1 }
    }

    fn prepare_all(&self, vectors: &[Vec<f32>], all: &mut Sq4Query) {
        if let Some(projection) = self.projection {
            projection.apply_coarsely(vectors.iter(), &mut all.scratch);
        }
    }

    fn prepare_one_of(&self, all: &Sq4Query, n: usize, query: &mut Sq4Query) {
        let width = self.levels.offset.len();
        self.prepare_components(&all.scratch.components()[n * width..][..width], &mut query.levels);
    }

    #[inline]
    fn score(&self, query: &Sq4Query, ids: &[u32], out: &mut [f32]) {
        self.kernels.u4_by_id(&query.levels, self.codes, ids, out);
    }

    #[inline]
    fn prefetch(&self, id: u32) {
        if let Some(row) = self.codes.get(id as usize * self.row_bytes..).and_then(|rest| rest.get(..self.row_bytes)) {
            prefetch(row);
        }
    }
}

impl SelfQuery for Sq4Rows<'_> {
    /// The code's own levels: level c is 8 c in the kernel's units.
    fn prepare_row(&self, row: u32, query: &mut Sq4Query) {
        query.levels.clear();
        query.levels.resize(2 * self.row_bytes, PADDING);
        let code = &self.codes[row as usize * self.row_bytes..][..self.row_bytes];
        for (levels, line) in query.levels.chunks_exact_mut(LINE_COMPONENTS).zip(code.chunks_exact(LINE_BYTES)) {
            let (low, high) = levels.split_at_mut(LINE_BYTES);
            for ((low, high), &byte) in low.iter_mut().zip(high).zip(line) {
                (*low, *high) = (((byte & 15) << 3) as i8, ((byte >> 4) << 3) as i8);
            }
        }
    }
}
