//! The payload of a commit: which rows, which slots, which ids, and what the caller attached.
//!
//! | content                                                            | bytes                  |
//! |--------------------------------------------------------------------|------------------------|
//! | number of spans, freed slots, vectors, and the kind of ids (0, 1)  | 4 each                 |
//! | length of the attachment                                           | 8                      |
//! | each span: segment, first row, rows, zero; XXH3-64 of the rows     | 4 each; 8              |
//! | each freed slot                                                    | 4                      |
//! | slot of each vector                                                | 4                      |
//! | id of each vector: a number, or the lengths and then the names     | 8, or 4 and the length |
//! | attachment                                                         | its length             |

use std::sync::Arc;

use crate::store::shape::{IdKind, Ids};

/// Consecutive rows of a segment, all in one block of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::store) struct Span {
    pub(in crate::store) segment: u32,
    pub(in crate::store) first: u32,
    pub(in crate::store) rows: u32,
    /// XXH3-64 of the rows' bytes.
    pub(in crate::store) hash: u64,
}

/// Ids that own their memory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::store) enum OwnedIds {
    Numbers(Vec<u64>),
    Names(Vec<Arc<str>>),
}

impl OwnedIds {
    /// None of this kind.
    pub(in crate::store) fn none(kind: IdKind) -> Self {
        match kind {
            IdKind::Numbers => Self::Numbers(Vec::new()),
            IdKind::Names => Self::Names(Vec::new()),
        }
    }

    /// Becomes `ids`, which are of this kind or none.
    fn replace_by(&mut self, ids: Ids<'_>) {
        match self {
            Self::Numbers(own) => {
                own.clear();
                own.extend(if let Ids::Numbers(ids) = ids { ids } else { &[] });
            }
            Self::Names(own) => {
                own.clear();
                own.extend(if let Ids::Names(ids) = ids { ids } else { &[] }.iter().map(|&id| Arc::from(id)));
            }
        }
    }

    pub(in crate::store) fn kind(&self) -> IdKind {
        match self {
            Self::Numbers(_) => IdKind::Numbers,
            Self::Names(_) => IdKind::Names,
        }
    }
}

/// A change that was made at once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::store) struct Commit {
    pub(in crate::store) sequence: u64,
    /// Where the rows of the vectors lie, in their order.
    pub(in crate::store) spans: Vec<Span>,
    /// Slots whose vectors are no more: deleted, or replaced by one of these.
    pub(in crate::store) freed: Vec<u32>,
    /// The slot of each vector.
    pub(in crate::store) slots: Vec<u32>,
    /// The id of each vector.
    pub(in crate::store) ids: OwnedIds,
    pub(in crate::store) attachment: Vec<u8>,
}

impl Commit {
    /// A change of nothing, in whose memory others are made.
    pub(in crate::store) fn empty(kind: IdKind) -> Self {
        let (spans, freed, slots, attachment) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        Self { sequence: 0, spans, freed, slots, ids: OwnedIds::none(kind), attachment }
    }

    /// Becomes a change that puts vectors with these ids, which are of its kind or none; where they lie is to follow.
    pub(in crate::store) fn begin(&mut self, ids: Ids<'_>, attachment: &[u8]) {
        self.spans.clear();
        self.freed.clear();
        self.slots.clear();
        self.ids.replace_by(ids);
        self.attachment.clear();
        self.attachment.extend_from_slice(attachment);
    }

    /// Bytes of memory, about.
    pub(in crate::store) fn memory(&self) -> usize {
        let ids = match &self.ids {
            OwnedIds::Numbers(ids) => ids.capacity() * size_of::<u64>(),
            OwnedIds::Names(ids) => ids.capacity() * size_of::<Arc<str>>(),
        };
        let slots = (self.freed.capacity() + self.slots.capacity()) * size_of::<u32>();
        ids + slots + self.spans.capacity() * size_of::<Span>() + self.attachment.capacity()
    }

    /// Appends the payload to `bytes`.
    pub(super) fn encode(&self, bytes: &mut Vec<u8>) {
        let counts = [self.spans.len(), self.freed.len(), self.slots.len()].map(|count| count as u32);
        bytes.reserve(64 + 24 * self.spans.len() + 12 * self.slots.len() + self.attachment.len());
        bytes.extend(counts.iter().flat_map(|count| count.to_le_bytes()));
        bytes.extend((self.ids.kind() as u32).to_le_bytes());
        bytes.extend((self.attachment.len() as u64).to_le_bytes());
        for span in &self.spans {
            bytes.extend([span.segment, span.first, span.rows, 0].iter().flat_map(|part| part.to_le_bytes()));
            bytes.extend(span.hash.to_le_bytes());
        }
        bytes.extend_from_slice(bytemuck::cast_slice(&self.freed));
        bytes.extend_from_slice(bytemuck::cast_slice(&self.slots));
        match &self.ids {
            OwnedIds::Numbers(ids) => bytes.extend_from_slice(bytemuck::cast_slice(ids)),
            OwnedIds::Names(ids) => {
                bytes.extend(ids.iter().flat_map(|id| (id.len() as u32).to_le_bytes()));
                bytes.extend(ids.iter().flat_map(|id| id.bytes()));
            }
        }
        bytes.extend_from_slice(&self.attachment);
    }

    /// What `payload` says, or what does not fit, in words.
    pub(super) fn decode(sequence: u64, payload: &[u8]) -> Result<Self, String> {
        let mut rest = Rest(payload);
        let [spans, freed, puts, kind] = [rest.u32()?, rest.u32()?, rest.u32()?, rest.u32()?];
        let attachment = rest.u64()?;
        let span = |bytes: &[u8]| {
            let u32_at = |at: usize| u32::from_le_bytes(bytes[at..at + 4].try_into().expect("four bytes"));
            let hash = u64::from_le_bytes(bytes[16..24].try_into().expect("eight bytes"));
            Span { segment: u32_at(0), first: u32_at(4), rows: u32_at(8), hash }
        };
        let spans: Vec<Span> = rest.take(u64::from(spans) * 24)?.chunks_exact(24).map(span).collect();
        let freed = rest.u32s(freed)?;
        let slots = rest.u32s(puts)?;
        let ids = match IdKind::ALL.get(kind as usize) {
            Some(IdKind::Numbers) => {
                let bytes = rest.take(u64::from(puts) * 8)?;
                let number = |bytes: &[u8]| u64::from_le_bytes(bytes.try_into().expect("eight bytes"));
                OwnedIds::Numbers(bytes.chunks_exact(8).map(number).collect())
            }
            Some(IdKind::Names) => OwnedIds::Names(rest.names(puts)?),
            None => return Err(format!("ids of kind {kind}")),
        };
        let attachment = rest.take(attachment)?.to_vec();
        if !rest.0.is_empty() {
            return Err(format!("{} bytes after the attachment", rest.0.len()));
        }
        let rows: u64 = spans.iter().map(|span| u64::from(span.rows)).sum();
        if rows != u64::from(puts) {
            return Err(format!("{rows} rows for {puts} vectors"));
        }
        Ok(Self { sequence, spans, freed, slots, ids, attachment })
    }
}

/// What is left to decode.
struct Rest<'a>(&'a [u8]);

impl<'a> Rest<'a> {
    fn take(&mut self, len: u64) -> Result<&'a [u8], String> {
        let found = self.0.len();
        let split = usize::try_from(len).ok().and_then(|len| self.0.split_at_checked(len));
        let (taken, rest) = split.ok_or_else(|| format!("{found} bytes where {len} should follow"))?;
        self.0 = rest;
        Ok(taken)
    }

    fn u32(&mut self) -> Result<u32, String> {
        Ok(u32::from_le_bytes(self.take(4)?.try_into().expect("four bytes")))
    }

    fn u64(&mut self) -> Result<u64, String> {
        Ok(u64::from_le_bytes(self.take(8)?.try_into().expect("eight bytes")))
    }

    fn u32s(&mut self, count: u32) -> Result<Vec<u32>, String> {
        let bytes = self.take(u64::from(count) * 4)?;
        let (numbers, _) = bytes.as_chunks::<4>();
        Ok(numbers.iter().map(|number| u32::from_le_bytes(*number)).collect())
    }

    fn names(&mut self, count: u32) -> Result<Vec<Arc<str>>, String> {
        let lengths = self.u32s(count)?;
        let name = |len| {
            let bytes = self.take(u64::from(len))?;
            std::str::from_utf8(bytes).map(Arc::from).map_err(|cause| format!("a name that is not UTF-8: {cause}"))
        };
        lengths.into_iter().map(name).collect()
    }
}
