//! Readers beside a writer that replaces files under them.

use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use nearlab_storage::disk::{Disk, DiskFile, Folder};
use nearlab_storage::store::{CompactOptions, Durability, PackOptions, VectorStore};

use crate::{options, scratch, versions, write};

/// The folder of a store to which something is done, once, while it is being read.
#[derive(Debug)]
struct Busy {
    folder: Folder,
    writer: Arc<VectorStore>,
    /// How often it was asked for anything.
    calls: Arc<AtomicUsize>,
    /// Before which of these times something is done.
    at: usize,
    what: fn(&VectorStore),
}

impl Busy {
    fn asked(&self) -> &Folder {
        if self.calls.fetch_add(1, Ordering::Relaxed) == self.at {
            (self.what)(&self.writer);
        }
        &self.folder
    }
}

impl Disk for Busy {
    fn folder(&self) -> &Path {
        self.folder.folder()
    }

    fn create(&self, name: &str) -> io::Result<Box<dyn DiskFile>> {
        self.asked().create(name)
    }

    fn open(&self, name: &str) -> io::Result<Box<dyn DiskFile>> {
        self.asked().open(name)
    }

    fn read(&self, name: &str) -> io::Result<Vec<u8>> {
        self.asked().read(name)
    }

    fn read_range(&self, name: &str, range: Range<u64>) -> io::Result<Option<Vec<u8>>> {
        self.asked().read_range(name, range)
    }

    fn names(&self) -> io::Result<Vec<String>> {
        self.asked().names()
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.asked().rename(from, to)
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        self.asked().remove(name)
    }

    fn sync_folder(&self) -> io::Result<()> {
        self.asked().sync_folder()
    }

    fn within(&self, name: &str) -> io::Result<Box<dyn Disk>> {
        self.asked().within(name)
    }

    fn adopt(&self, name: &str) -> io::Result<()> {
        self.asked().adopt(name)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.asked().path(name)
    }
}

fn compacts(store: &VectorStore) {
    assert!(store.compact(&CompactOptions { min_dead: 0.01 }).unwrap().segments > 0);
}

fn packs(store: &VectorStore) {
    assert!(store.pack(&PackOptions { growing: true, ..PackOptions::default() }).unwrap().segments > 0);
}

fn checkpoints(store: &VectorStore) {
    store.checkpoint().unwrap();
}

#[test]
fn a_reader_sees_all_that_was_acknowledged_whatever_is_done_to_the_files_while_it_opens_them() {
    let whats: [fn(&VectorStore); 3] = [compacts, packs, checkpoints];
    for what in whats {
        let tried = (0..1000).take_while(|&at| is_reached(at, what)).count();
        assert!((9..1000).contains(&tried), "{tried}");
    }
}

/// Opens a store to which something is done before call `at`, if there are so many.
fn is_reached(at: usize, what: fn(&VectorStore)) -> bool {
    let folder = scratch();
    let writer = Arc::new(VectorStore::create(folder.path(), &options(4)).unwrap());
    // Nothing of this is durable, but for the rest of the system's life: a reader looks whether the rows are there.
    (1..=3).for_each(|version| drop(write(&writer, &[1, 2, 3], version, Durability::Flush).unwrap()));
    let calls = Arc::new(AtomicUsize::new(0));
    let disk = Busy { folder: Folder::at(folder.path()), writer, calls: Arc::clone(&calls), at, what };
    let reader = VectorStore::open_read_only_on(disk).unwrap();
    let seen = (reader.sequence(), versions(&reader.snapshot(), &[1, 2, 3]));
    assert_eq!(seen, (3, vec![3; 3]), "before call {at}");
    calls.load(Ordering::Relaxed) > at
}
