//! What every vector of a store has in common, and how vectors and ids are handed over.

use std::fmt;

use bytemuck::Pod;
use half::f16;
use serde::{Deserialize, Serialize};

use super::StoreError;
use crate::Vectors;

/// The most components a vector can have.
pub const MAX_DIM: usize = 1 << 16;

/// What is fixed when a store is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shape {
    /// Components of each vector, 1 to [`MAX_DIM`].
    pub dim: usize,
    /// The type of a component.
    pub element: ElementKind,
    /// What identifies a vector.
    pub ids: IdKind,
}

impl Shape {
    /// Bytes of one vector.
    pub fn row_bytes(&self) -> usize {
        self.dim * self.element.bytes()
    }

    pub(super) fn check(&self) -> Result<(), StoreError> {
        if (1..=MAX_DIM).contains(&self.dim) {
            return Ok(());
        }
        Err(StoreError::param("dim", "from 1 to 65536", self.dim))
    }

    /// The bytes of `rows`, if they are of this shape.
    pub(super) fn bytes_of<'a>(&self, rows: Rows<'a>) -> Result<&'a [u8], StoreError> {
        if rows.element != self.element {
            return Err(StoreError::Element { expected: self.element, found: rows.element });
        }
        if rows.dim != self.dim {
            return Err(StoreError::Dim { expected: self.dim, found: rows.dim });
        }
        Ok(rows.bytes)
    }
}

/// The type of the components of a store's vectors.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ElementKind {
    /// 32-bit floats.
    F32,
    /// 16-bit floats (IEEE 754 binary16).
    F16,
    /// Bytes.
    U8,
}

impl ElementKind {
    /// All of them, by the number that stands for each in files.
    pub(super) const ALL: [Self; 3] = [Self::F32, Self::F16, Self::U8];

    /// Bytes of one component.
    pub const fn bytes(self) -> usize {
        match self {
            Self::F32 => 4,
            Self::F16 => 2,
            Self::U8 => 1,
        }
    }
}

impl fmt::Display for ElementKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::F32 => "f32",
            Self::F16 => "f16",
            Self::U8 => "u8",
        })
    }
}

/// A type of components.
pub trait Element: Pod {
    /// Which.
    const KIND: ElementKind;
}

impl Element for f32 {
    const KIND: ElementKind = ElementKind::F32;
}

impl Element for f16 {
    const KIND: ElementKind = ElementKind::F16;
}

impl Element for u8 {
    const KIND: ElementKind = ElementKind::U8;
}

/// What identifies the vectors of a store.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum IdKind {
    /// Numbers, `u64`.
    Numbers,
    /// Names, UTF-8 of up to 65,536 bytes.
    Names,
}

impl IdKind {
    /// Both, by the number that stands for each in files.
    pub(super) const ALL: [Self; 2] = [Self::Numbers, Self::Names];
}

impl fmt::Display for IdKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Numbers => "numbers",
            Self::Names => "names",
        })
    }
}

/// Ids of some vectors. No ids at all fit every store.
#[derive(Debug, Clone, Copy)]
pub enum Ids<'a> {
    /// For a store whose ids are [`IdKind::Numbers`].
    Numbers(&'a [u64]),
    /// For a store whose ids are [`IdKind::Names`].
    Names(&'a [&'a str]),
}

impl Ids<'_> {
    /// None.
    pub const NONE: Self = Self::Numbers(&[]);

    /// How many.
    pub fn len(&self) -> usize {
        match self {
            Self::Numbers(ids) => ids.len(),
            Self::Names(ids) => ids.len(),
        }
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Their kind.
    pub fn kind(&self) -> IdKind {
        match self {
            Self::Numbers(_) => IdKind::Numbers,
            Self::Names(_) => IdKind::Names,
        }
    }
}

impl<'a> From<&'a [u64]> for Ids<'a> {
    fn from(ids: &'a [u64]) -> Self {
        Self::Numbers(ids)
    }
}

impl<'a, const N: usize> From<&'a [u64; N]> for Ids<'a> {
    fn from(ids: &'a [u64; N]) -> Self {
        Self::Numbers(ids)
    }
}

impl<'a> From<&'a [&'a str]> for Ids<'a> {
    fn from(ids: &'a [&'a str]) -> Self {
        Self::Names(ids)
    }
}

impl<'a, const N: usize> From<&'a [&'a str; N]> for Ids<'a> {
    fn from(ids: &'a [&'a str; N]) -> Self {
        Self::Names(ids)
    }
}

/// The id of one vector.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Id {
    /// A number.
    Number(u64),
    /// A name.
    Name(std::sync::Arc<str>),
}

impl fmt::Display for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Number(id) => write!(f, "{id}"),
            Self::Name(id) => write!(f, "{id}"),
        }
    }
}

/// Vectors of any type of components, row after row.
#[derive(Debug, Clone, Copy)]
pub struct Rows<'a> {
    element: ElementKind,
    dim: usize,
    bytes: &'a [u8],
}

impl Rows<'_> {
    /// How many.
    pub fn len(&self) -> usize {
        self.bytes.len() / (self.dim * self.element.bytes())
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }
}

impl<'a, T: Element> From<Vectors<'a, T>> for Rows<'a> {
    fn from(vectors: Vectors<'a, T>) -> Self {
        Self { element: T::KIND, dim: vectors.dim(), bytes: bytemuck::cast_slice(vectors.as_slice()) }
    }
}

/// What outlives what, of a change that was acknowledged; `docs/durability.md` says it in full. Whatever comes, a store holds
/// the changes up to some moment and none after it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Durability {
    /// Nothing: the change is visible now, and kept once a later one is flushed or synced, or the store is closed.
    None,
    /// The end of the process, but not of the power.
    Flush,
    /// A power cut too.
    Sync,
}
