//! What HNSW can be made of: the forms that searches score vectors in, and the ways to find neighbours.

use serde::{Deserialize, Serialize};

use crate::quant::{AFFINE_FACTORS as FACTORS, AffineKind};

/// The form in which searches score the vectors they pass. The numbers are those of files.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum TraversalCodes {
    /// 4 bytes per component: exact.
    F32 = 0,
    /// 2 bytes: IEEE 754 binary16.
    F16 = 1,
    /// 2 bytes: bfloat16, the range of `f32` and eight bits of fraction.
    Bf16 = 14,
    /// 1 byte: 256 levels; exact for whole numbers from 0 to 255.
    Sq8 = 2,
    /// Half a byte: 16 levels.
    Sq4 = 3,
    /// Half a byte: 16 levels between each vector's own bounds, and 12 bytes.
    Lvq4 = 4,
    /// 1 byte: 256 levels between each vector's own bounds, and 12 bytes.
    Lvq8 = 5,
    /// 1 byte: 256 levels between the bounds of each component, and 12 bytes.
    #[serde(rename = "sq8-dim")]
    Sq8Dim = 18,
    /// 1 bit, after a random rotation, and 12 bytes.
    Rabitq1 = 6,
    /// 2 bits, after a random rotation, and 12 bytes.
    Rabitq2 = 9,
    /// 3 bits, after a random rotation, and 12 bytes.
    Rabitq3 = 10,
    /// Half a byte, after a random rotation, and 12 bytes.
    Rabitq4 = 7,
    /// 5 bits, after a random rotation, and 12 bytes.
    Rabitq5 = 11,
    /// 6 bits, after a random rotation, and 12 bytes.
    Rabitq6 = 12,
    /// 7 bits, after a random rotation, and 12 bytes.
    Rabitq7 = 13,
    /// 1 byte, after a random rotation, and 12 bytes.
    Rabitq8 = 8,
    /// Half a byte per sub-space: the nearest of 16 centroids.
    Pq4 = 15,
    /// 1 byte per sub-space: the nearest of 256 centroids.
    Pq8 = 16,
    /// As `Pq4`, and once more for each link that leads to a vector: the codes of a node's neighbours side by side. The same
    /// results sooner, for `m` bytes more per vector and sub-space.
    #[serde(rename = "pq4-blocks")]
    Pq4Blocks = 17,
}

impl TraversalCodes {
    /// All of them.
    pub const ALL: [Self; 19] = [
        Self::F32,
        Self::F16,
        Self::Bf16,
        Self::Sq8,
        Self::Sq4,
        Self::Lvq4,
        Self::Lvq8,
        Self::Sq8Dim,
        Self::Rabitq1,
        Self::Rabitq2,
        Self::Rabitq3,
        Self::Rabitq4,
        Self::Rabitq5,
        Self::Rabitq6,
        Self::Rabitq7,
        Self::Rabitq8,
        Self::Pq4,
        Self::Pq8,
        Self::Pq4Blocks,
    ];

    /// The name in experiments: `f32`, `f16`, `bf16`, `sq8`, `sq4`, `lvq4`, `lvq8`, `sq8-dim`, `rabitq1` to `rabitq8`, `pq4`,
    /// `pq8` or `pq4-blocks`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::F32 => "f32",
            Self::F16 => "f16",
            Self::Bf16 => "bf16",
            Self::Sq8 => "sq8",
            Self::Sq4 => "sq4",
            Self::Lvq4 => "lvq4",
            Self::Lvq8 => "lvq8",
            Self::Sq8Dim => "sq8-dim",
            Self::Rabitq1 => "rabitq1",
            Self::Rabitq2 => "rabitq2",
            Self::Rabitq3 => "rabitq3",
            Self::Rabitq4 => "rabitq4",
            Self::Rabitq5 => "rabitq5",
            Self::Rabitq6 => "rabitq6",
            Self::Rabitq7 => "rabitq7",
            Self::Rabitq8 => "rabitq8",
            Self::Pq4 => "pq4",
            Self::Pq8 => "pq8",
            Self::Pq4Blocks => "pq4-blocks",
        }
    }

    /// Bytes of a vector of `components`, or of so many sub-spaces, without padding.
    pub const fn bytes(self, components: usize) -> usize {
        let factors = if self.affine().is_some() { FACTORS } else { 0 };
        (components * self.bits() as usize).div_ceil(8) + factors
    }

    /// Bits per component, or per sub-space.
    pub(super) const fn bits(self) -> u32 {
        match self {
            Self::F32 => 32,
            Self::F16 | Self::Bf16 => 16,
            Self::Sq8 | Self::Lvq8 | Self::Sq8Dim | Self::Rabitq8 | Self::Pq8 => 8,
            Self::Rabitq7 => 7,
            Self::Rabitq6 => 6,
            Self::Rabitq5 => 5,
            Self::Sq4 | Self::Lvq4 | Self::Rabitq4 | Self::Pq4 | Self::Pq4Blocks => 4,
            Self::Rabitq3 => 3,
            Self::Rabitq2 => 2,
            Self::Rabitq1 => 1,
        }
    }

    /// The kind of affine codes, where they are such, and bits per component.
    pub(super) const fn affine(self) -> Option<(AffineKind, u32)> {
        match self {
            Self::F32 | Self::F16 | Self::Bf16 | Self::Sq8 | Self::Sq4 | Self::Pq4 | Self::Pq8 | Self::Pq4Blocks => {
                None
            }
            Self::Lvq4 | Self::Lvq8 => Some((AffineKind::Lvq, self.bits())),
            Self::Sq8Dim => Some((AffineKind::Scaled, self.bits())),
            _ => Some((AffineKind::Rabitq, self.bits())),
        }
    }

    /// Whether they are of product quantisation.
    pub(super) const fn is_pq(self) -> bool {
        matches!(self, Self::Pq4 | Self::Pq8 | Self::Pq4Blocks)
    }
}

/// The form in which the best candidates of a search are scored anew. The numbers are those of files.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum RerankCodes {
    /// They are not: the order is that of the traversal's codes.
    None = 0,
    /// 1 byte per component: 256 levels; exact for whole numbers from 0 to 255.
    Sq8 = 1,
    /// 2 bytes: bfloat16, the range of `f32` and eight bits of fraction.
    Bf16 = 4,
    /// 2 bytes: IEEE 754 binary16.
    F16 = 2,
    /// 4 bytes: exact.
    F32 = 3,
}

impl RerankCodes {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::None, Self::Sq8, Self::Bf16, Self::F16, Self::F32];

    /// The name in experiments: `none`, `sq8`, `bf16`, `f16` or `f32`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Sq8 => "sq8",
            Self::Bf16 => "bf16",
            Self::F16 => "f16",
            Self::F32 => "f32",
        }
    }

    /// Bytes of a vector of `components`, without padding.
    pub const fn bytes(self, components: usize) -> usize {
        (components * self.bits() as usize).div_ceil(8)
    }

    pub(super) const fn bits(self) -> u32 {
        match self {
            Self::None => 0,
            Self::Sq8 => 8,
            Self::Bf16 | Self::F16 => 16,
            Self::F32 => 32,
        }
    }
}

/// How the base layer's neighbours are found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Construction {
    /// Point by point, each by a search of the graph so far.
    Incremental,
    /// All at once, in groups within which everything is compared with everything: three to ten times as fast.
    Bulk,
}

impl Construction {
    /// All of them.
    pub const ALL: [Self; 2] = [Self::Incremental, Self::Bulk];

    /// The name in experiments: `incremental` or `bulk`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Incremental => "incremental",
            Self::Bulk => "bulk",
        }
    }
}
