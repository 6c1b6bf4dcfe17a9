//! What is asked of a store of vectors, and nearlab's.

use std::path::Path;

use half::f16;
use nearlab_storage::{
    Vectors,
    store::{self, CompactOptions, Element, ElementKind, IdKind, Shape, StoreOptions, VectorStore},
};

use super::Failed;
use crate::spec::Durability;

/// A component that rows of f32 are turned into, and back.
pub(super) trait Component: Element + Send {
    fn of(value: f32) -> Self;
    fn to_f32(self) -> f32;
}

impl Component for f32 {
    fn of(value: f32) -> Self {
        value
    }

    fn to_f32(self) -> f32 {
        self
    }
}

impl Component for f16 {
    fn of(value: f32) -> Self {
        Self::from_f32(value)
    }

    fn to_f32(self) -> f32 {
        Self::to_f32(self)
    }
}

/// One that keeps rows of `T` by number.
pub(super) trait Contestant: Sync + Sized + 'static {
    /// A new one in an empty folder.
    fn create(folder: &Path, dim: usize, element: ElementKind) -> Result<Self, Failed>;

    /// What was left in the folder.
    fn open(folder: &Path, dim: usize, element: ElementKind) -> Result<Self, Failed>;

    /// Appends rows for `ids`, which follow those written before.
    fn write<T: Component>(&mut self, ids: &[u64], rows: Vectors<'_, T>, durability: Durability) -> Result<(), Failed>;

    /// Makes everything outlive the power.
    fn sync(&mut self) -> Result<(), Failed>;

    /// After the last write, before the first read.
    fn written(&mut self) -> Result<(), Failed>;

    /// Copies the rows of ids, which are there.
    fn read<T: Component>(&self, ids: &[u64], rows: &mut [T], found: &mut [bool]) -> Result<(), Failed>;

    /// Takes rows out, for good.
    fn delete(&mut self, ids: &[u64]) -> Result<(), Failed>;

    /// Gives back the room of deleted rows, of which there are about this share everywhere.
    fn compact(&self, deleted: f64) -> Result<(), Failed>;

    /// After a compaction, when nobody reads.
    fn compacted(&mut self) -> Result<(), Failed>;
}

impl Contestant for VectorStore {
    fn create(folder: &Path, dim: usize, element: ElementKind) -> Result<Self, Failed> {
        let shape = Shape { dim, element, ids: IdKind::Numbers };
        Ok(Self::create(folder.join("store"), &StoreOptions::new(shape))?)
    }

    fn open(folder: &Path, _: usize, _: ElementKind) -> Result<Self, Failed> {
        Ok(Self::open(folder.join("store"))?)
    }

    fn write<T: Component>(&mut self, ids: &[u64], rows: Vectors<'_, T>, durability: Durability) -> Result<(), Failed> {
        let durability = match durability {
            Durability::None => store::Durability::None,
            Durability::Flush => store::Durability::Flush,
            Durability::Sync => store::Durability::Sync,
        };
        Self::write(self, ids, rows, durability)?;
        Ok(())
    }

    fn sync(&mut self) -> Result<(), Failed> {
        Ok(Self::sync(self)?)
    }

    fn written(&mut self) -> Result<(), Failed> {
        Ok(())
    }

    fn read<T: Component>(&self, ids: &[u64], rows: &mut [T], found: &mut [bool]) -> Result<(), Failed> {
        Self::read(self, ids, rows, found)?;
        Ok(())
    }

    fn delete(&mut self, ids: &[u64]) -> Result<(), Failed> {
        Self::delete(self, ids, store::Durability::Sync)?;
        Ok(())
    }

    fn compact(&self, deleted: f64) -> Result<(), Failed> {
        // Half of what is expected: no segment is left out by chance.
        Self::compact(self, &CompactOptions { min_dead: deleted / 2.0 })?;
        Ok(())
    }

    fn compacted(&mut self) -> Result<(), Failed> {
        Ok(())
    }
}
