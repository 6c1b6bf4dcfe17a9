//! What the machine does without a store: rows one after the other in a file, read out of its map at places that are known.
//!
//! It keeps nothing but rows. To compact it is to copy the rows that stay into a new file, sync that, and give it the name.

use std::{
    fs::{self, File, OpenOptions},
    io::{BufWriter, Write},
    path::{Path, PathBuf},
};

use nearlab_storage::{Vectors, mmap::Map, store::ElementKind};

use super::{
    Failed,
    contestant::{Component, Contestant},
};
use crate::spec::Durability;

/// Place of a row that is gone.
const GONE: u32 = u32::MAX;
/// Bytes that a compaction writes at once, as many as the store copies.
const COPIED: usize = 1 << 20;

/// Rows in a file.
pub(super) struct PlainFile {
    path: PathBuf,
    row_bytes: usize,
    file: File,
    map: Option<Map>,
    /// Row of each id, once some are deleted; before, an id is its row.
    places: Option<Vec<u32>>,
}

impl PlainFile {
    fn at(folder: &Path, dim: usize, element: ElementKind, options: &mut OpenOptions) -> Result<Self, Failed> {
        let path = folder.join("rows");
        let file = options.open(&path).map_err(Failed::file("open", &path))?;
        Ok(Self { path, row_bytes: dim * element.bytes(), file, map: None, places: None })
    }

    fn sync_file(&self) -> Result<(), Failed> {
        self.file.sync_data().map_err(Failed::file("sync", &self.path))
    }

    fn bytes(&self) -> &[u8] {
        self.map.as_ref().map_or(&[], |map| map)
    }
}

fn sync_folder(path: &Path) -> Result<(), Failed> {
    let folder = path.parent().unwrap_or(path);
    File::open(folder).and_then(|folder| folder.sync_all()).map_err(Failed::file("sync", folder))
}

impl Contestant for PlainFile {
    fn create(folder: &Path, dim: usize, element: ElementKind) -> Result<Self, Failed> {
        Self::at(folder, dim, element, OpenOptions::new().read(true).append(true).create_new(true))
    }

    fn open(folder: &Path, dim: usize, element: ElementKind) -> Result<Self, Failed> {
        let mut opened = Self::at(folder, dim, element, OpenOptions::new().read(true).append(true))?;
        opened.written()?;
        Ok(opened)
    }

    fn write<T: Component>(&mut self, _: &[u64], rows: Vectors<'_, T>, durability: Durability) -> Result<(), Failed> {
        self.file.write_all(bytemuck::cast_slice(rows.as_slice())).map_err(Failed::file("write", &self.path))?;
        // What is written outlives the process without more.
        if durability == Durability::Sync { self.sync_file() } else { Ok(()) }
    }

    fn sync(&mut self) -> Result<(), Failed> {
        self.sync_file()?;
        sync_folder(&self.path)
    }

    fn written(&mut self) -> Result<(), Failed> {
        self.map = Some(Map::open(&self.path).map_err(Failed::file("map", &self.path))?);
        Ok(())
    }

    fn read<T: Component>(&self, ids: &[u64], rows: &mut [T], found: &mut [bool]) -> Result<(), Failed> {
        let plain: &[T] = bytemuck::cast_slice(self.bytes());
        let dim = self.row_bytes / size_of::<T>();
        for ((id, row), found) in ids.iter().zip(rows.chunks_exact_mut(dim)).zip(found) {
            let place = match &self.places {
                None => *id as usize,
                Some(places) => places[*id as usize] as usize,
            };
            *found = place != GONE as usize;
            row.copy_from_slice(&plain[place * dim..][..dim]);
        }
        Ok(())
    }

    fn delete(&mut self, ids: &[u64]) -> Result<(), Failed> {
        let rows = self.bytes().len() / self.row_bytes;
        let places = self.places.get_or_insert_with(|| (0..rows as u32).collect());
        for id in ids {
            places[*id as usize] = GONE;
        }
        Ok(())
    }

    fn compact(&self, _: f64) -> Result<(), Failed> {
        let new = self.path.with_extension("new");
        let file = File::create(&new).map_err(Failed::file("make", &new))?;
        let mut writer = BufWriter::with_capacity(COPIED, file);
        let bytes = self.bytes();
        for place in self.places.iter().flatten().filter(|place| **place != GONE) {
            writer
                .write_all(&bytes[*place as usize * self.row_bytes..][..self.row_bytes])
                .map_err(Failed::file("write", &new))?;
        }
        let file = writer.into_inner().map_err(|error| Failed::file("write", &new)(error.into_error()))?;
        file.sync_data().map_err(Failed::file("sync", &new))?;
        fs::rename(&new, &self.path).map_err(Failed::file("rename", &new))?;
        sync_folder(&self.path)
    }

    fn compacted(&mut self) -> Result<(), Failed> {
        let kept = self.places.iter_mut().flatten().filter(|place| **place != GONE);
        for (next, place) in kept.enumerate() {
            *place = next as u32;
        }
        self.file =
            OpenOptions::new().read(true).append(true).open(&self.path).map_err(Failed::file("open", &self.path))?;
        self.written()
    }
}
