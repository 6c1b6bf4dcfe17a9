//! The file of a flat index: a container of kind `flat`, version 1.
//!
//! | section | elements | content |
//! |---|---|---|
//! | `header` | 7 u64 | the words that all indexes share |
//! | `vectors` | n x d f32 | the vectors |

use std::path::Path;

use nearlab_storage::FileKind;

use super::Flat;
use crate::sections::{Header, Reader, Writer};
use crate::{Counters, Index, OpenError, Persist, SaveError};

const KIND: FileKind = FileKind::new("flat");
const VERSION: u32 = 1;

impl Persist for Flat {
    fn save(&self, path: &Path) -> Result<(), SaveError> {
        let header = Header { len: self.len(), dim: self.dim, metric: self.metric, counters: Counters::default() };
        let mut writer = Writer::create(path, (KIND, VERSION), &header, &[])?;
        writer.vectors(&self.vectors)?;
        writer.finish()
    }

    fn open(path: &Path) -> Result<Self, OpenError> {
        let (reader, header) = Reader::open(path, KIND, VERSION..=VERSION)?;
        let [] = reader.own_words()?;
        Ok(Self::new(reader.vectors(&header)?, header.dim, header.metric))
    }
}
