//! The file of an IVF index: a container of kind `ivf`, version 1.
//!
//! | section | elements | content |
//! |---|---|---|
//! | `header` | 11 u64 | the 7 words that all indexes share, then nlist, vectors sampled per list, iterations, seed |
//! | `vectors` | n x d f32 | the vectors, list after list |
//! | `centroid` | nlist x d f32 | the centroids |
//! | `offsets` | nlist + 1 u64 | the place of each list's first vector, and n |
//! | `ids` | n u32 | the id of the vector at each place; each of 0..n once, ascending within a list |

use std::path::Path;

use nearlab_storage::{FileKind, SectionId};

use super::{Ivf, IvfParams, places_of};
use crate::scratch::Idle;
use crate::sections::{Header, Reader, Writer};
use crate::{Index, OpenError, Persist, SaveError};

const KIND: FileKind = FileKind::new("ivf");
const VERSION: u32 = 1;
const CENTROIDS: SectionId = SectionId::new("centroid");
const OFFSETS: SectionId = SectionId::new("offsets");
const IDS: SectionId = SectionId::new("ids");

impl Persist for Ivf {
    fn save(&self, path: &Path) -> Result<(), SaveError> {
        let header = Header { len: self.len(), dim: self.dim, metric: self.metric, counters: self.build_counters };
        let params = &self.params;
        let own = [params.nlist as u64, params.sample_per_list as u64, params.iterations as u64, params.seed];
        let mut writer = Writer::create(path, (KIND, VERSION), &header, &own)?;
        writer.vectors(&self.vectors)?;
        writer.section(CENTROIDS, &self.centroids)?;
        writer.section(OFFSETS, &self.offsets)?;
        writer.section(IDS, &self.ids)?;
        writer.finish()
    }

    fn open(path: &Path) -> Result<Self, OpenError> {
        let (reader, header) = Reader::open(path, KIND, VERSION..=VERSION)?;
        let own = reader.own_words::<4>()?;
        let lists = header.len.max(1) as u64;
        let params = IvfParams {
            nlist: reader.header_word("a number of lists", own[0], 1..lists + 1)?,
            sample_per_list: own[1] as usize,
            iterations: own[2] as usize,
            seed: own[3],
        };
        let mut ivf = Self {
            dim: header.dim,
            metric: header.metric,
            params,
            centroids: reader.buffer(CENTROIDS, params.nlist * header.dim)?,
            offsets: reader.buffer(OFFSETS, params.nlist + 1)?,
            ids: reader.buffer(IDS, header.len)?,
            places: Vec::new(),
            vectors: reader.vectors(&header)?,
            build_counters: header.counters,
            idle: Idle::default(),
        };
        check_offsets(&reader, &ivf.offsets, header.len as u64)?;
        check_ids(&reader, &ivf.ids)?;
        ivf.places = places_of(&ivf.ids);
        Ok(ivf)
    }
}

fn check_offsets(reader: &Reader, offsets: &[u64], len: u64) -> Result<(), OpenError> {
    if let Some(i) = (1..offsets.len()).find(|&i| offsets[i] < offsets[i - 1]) {
        let found = format!("{} after {} at list {i}", offsets[i], offsets[i - 1]);
        return Err(reader.refuse(OFFSETS, "offsets that do not fall", found));
    }
    let (first, last) = (offsets[0], offsets[offsets.len() - 1]);
    if (first, last) != (0, len) {
        return Err(reader.refuse(OFFSETS, format!("offsets from 0 to {len}"), format!("from {first} to {last}")));
    }
    Ok(())
}

fn check_ids(reader: &Reader, ids: &[u32]) -> Result<(), OpenError> {
    let mut seen = vec![false; ids.len()];
    for (place, &id) in ids.iter().enumerate() {
        match seen.get_mut(id as usize) {
            Some(seen) if !*seen => *seen = true,
            _ => {
                let expected = format!("each id below {} once", ids.len());
                return Err(reader.refuse(IDS, expected, format!("{id} at place {place}")));
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use nearlab_simd::Metric;

    use super::*;
    use crate::Counters;

    /// Opens what is saved of an index of 3 vectors in 2 lists after `damage`.
    fn reopened(damage: impl FnOnce(&mut Ivf)) -> Result<Ivf, String> {
        let mut ivf = Ivf {
            dim: 1,
            metric: Metric::L2,
            params: IvfParams { nlist: 2, ..IvfParams::default() },
            centroids: vec![0.0, 5.0].into(),
            offsets: vec![0, 2, 3].into(),
            ids: vec![0, 2, 1].into(),
            places: vec![0, 2, 1],
            vectors: vec![0.0, 0.5, 5.0].into(),
            build_counters: Counters::default(),
            idle: Idle::default(),
        };
        damage(&mut ivf);
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("ivf");
        ivf.save(&path).unwrap();
        Ivf::open(&path).map_err(|error| error.to_string())
    }

    #[test]
    fn what_was_saved_is_mapped_again() {
        let ivf = reopened(|_| ()).unwrap();
        assert!(ivf.vectors.is_mapped() && ivf.ids.is_mapped());
        assert_eq!(ivf.params, IvfParams { nlist: 2, ..IvfParams::default() });
    }

    #[test]
    fn references_that_lead_nowhere_are_refused_with_their_section() {
        let message = |damage: fn(&mut Ivf)| reopened(damage).unwrap_err();
        let found = message(|ivf| ivf.offsets = vec![0, 4, 3].into());
        assert!(found.contains("section `offsets` should have offsets that do not fall, found 3 after 4"), "{found}");
        let found = message(|ivf| ivf.offsets = vec![0, 2, 2].into());
        assert!(found.contains("offsets from 0 to 3, found from 0 to 2"), "{found}");
        let found = message(|ivf| ivf.ids = vec![0, 2, 3].into());
        assert!(found.contains("section `ids` should have each id below 3 once, found 3 at place 2"), "{found}");
        let found = message(|ivf| ivf.ids = vec![0, 2, 2].into());
        assert!(found.contains("2 at place 2"), "{found}");
        let found = message(|ivf| ivf.params.nlist = 4);
        assert!(found.contains("a number of lists from 1 to 3, found 4"), "{found}");
        let found = message(|ivf| ivf.centroids = vec![0.0].into());
        assert!(found.contains("`centroid`: expected 2 elements"), "{found}");
    }
}
