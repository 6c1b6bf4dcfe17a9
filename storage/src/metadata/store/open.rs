//! Making and opening a store.

use std::fs::{File, TryLockError};
use std::hash::{BuildHasher, RandomState};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use redb::{ReadableDatabase, StorageBackend};

use super::snapshot::begin_read;
use super::{Handle, MetadataStore, STATE, VERSION, json};
use crate::atomic::folder_of;
use crate::disk::{Disk, DiskFile, FileLock, Folder};
use crate::metadata::error::{Fault, StoreOpenError};
use crate::metadata::pages::{Backend, GivenUp, Overlay, PageFile, Plain};
use crate::metadata::schema::Schema;

/// Memory for pages that were read or are to be written. A million records of five fields take about twice that on disk;
/// what filters read of them fits.
const CACHE_BYTES: usize = 256 * 1024 * 1024;
/// The path that messages give to a store on a disk of its user's.
const NO_PATH: &str = "(a storage backend)";

/// A database, the file under it, and its lock.
struct Opened {
    handle: Handle,
    pages: Option<Arc<PageFile>>,
    given_up: GivenUp,
    lock: Option<FileLock>,
}

impl MetadataStore {
    /// An empty store at sequence 0 in a new file. A crash leaves the whole of it, or none.
    pub fn create(path: impl AsRef<Path>, schema: Schema) -> Result<Self, StoreOpenError> {
        let (folder, name) = parts(path.as_ref())?;
        Self::create_on(&folder, &name, schema)
    }

    /// As [`create`](Self::create), a file of any disk whose folder exists.
    pub fn create_on(disk: &dyn Disk, name: &str, schema: Schema) -> Result<Self, StoreOpenError> {
        let path = disk.path(name);
        let opening = |fault: Fault| fault.opening(&path);
        let unfinished = format!("{name}.new");
        let names = disk.names().map_err(|cause| opening(cause.into()))?;
        if names.iter().any(|taken| taken == name) {
            return Err(StoreOpenError::Exists { path });
        }
        if names.contains(&unfinished) {
            // Of nobody who is still at work. The lock is kept until it is gone, so that it is nobody's by then either.
            let _left = lock(&disk.path(&unfinished), false)?;
            disk.remove(&unfinished).map_err(|cause| opening(cause.into()))?;
        }
        let (file, held) = begin(disk, &unfinished)?;
        // From here on no other store can come to be here. One that came to be since is not to be replaced.
        let renamed = match path.try_exists() {
            Ok(true) => Err(StoreOpenError::Exists { path: path.clone() }),
            Ok(false) => Self::begun(file, path.clone(), schema)
                .and_then(|store| disk.rename(&unfinished, name).map(|()| store).map_err(Fault::from))
                .map_err(opening),
            Err(cause) => Err(opening(cause.into())),
        };
        // What is removed is of this attempt: it has the lock.
        let store = renamed.inspect_err(|_| {
            let _ = disk.remove(&unfinished);
        })?;
        disk.sync_folder().map_err(|cause| {
            let _ = disk.remove(name);
            opening(cause.into())
        })?;
        Ok(Self { _lock: Some(held), ..store })
    }

    /// An empty store in a file that was created for it, durable but for the name of the file.
    fn begun(file: Box<dyn DiskFile>, path: PathBuf, schema: Schema) -> Result<Self, Fault> {
        let pages = Arc::new(PageFile::create(file, path.clone(), RandomState::new().hash_one(0))?);
        let handle = Handle::Writable(builder().create_with_backend(Backend(Arc::clone(&pages)))?);
        let store = Self { path, schema, handle, pages: Some(pages), given_up: GivenUp::default(), _lock: None };
        store.reset(0)?;
        Ok(store)
    }

    /// The store in an existing file, which must have been made with `schema`. After a crash it is put in order first, for which it
    /// is read as a whole, and written anew.
    pub fn open(path: impl AsRef<Path>, schema: &Schema) -> Result<Self, StoreOpenError> {
        let (folder, name) = parts(path.as_ref())?;
        Self::open_on(&folder, &name, schema)
    }

    /// As [`open`](Self::open), on any disk.
    pub fn open_on(disk: &dyn Disk, name: &str, schema: &Schema) -> Result<Self, StoreOpenError> {
        let path = disk.path(name);
        // In this order: the file that is opened is the one that is locked.
        let lock = lock(&path, false)?;
        let file = disk.open(name).map_err(|cause| Fault::from(cause).opening(&path))?;
        // A process that was killed may have given the file its name, and not made that durable.
        disk.sync_folder().map_err(|cause| Fault::from(cause).opening(&path))?;
        let opened = Opened::writable(file, &path, lock).map_err(|fault| fault.opening(&path))?;
        Self::checked(path, opened, Some(schema))
    }

    /// The store in an existing file, for reading, with the schema that it has. Others may read it at the same time, nobody may
    /// change it. What a crash left is put in order in memory, for which the file is read as a whole.
    pub fn open_read_only(path: impl Into<PathBuf>) -> Result<Self, StoreOpenError> {
        let path = path.into();
        let lock = lock(&path, true)?;
        let opened = Opened::readable(&path, lock).map_err(|fault| fault.opening(&path))?;
        Self::checked(path, opened, None)
    }

    /// The store on a disk of the caller's, as the database lays it out, without checksums of ours: a new one if the disk is
    /// empty, or else the one that is there, which must have been made with `schema`.
    pub fn with_backend(backend: impl StorageBackend, schema: Schema) -> Result<Self, StoreOpenError> {
        let path = PathBuf::from(NO_PATH);
        let opening = |fault: Fault| fault.opening(&path);
        let database = builder().create_with_backend(backend).map_err(|cause| opening(cause.into()))?;
        let transaction = database.begin_read().map_err(|cause| opening(cause.into()))?;
        let is_new = transaction.list_tables().map_err(|cause| opening(cause.into()))?.next().is_none();
        drop(transaction);
        let handle = Handle::Writable(database);
        let opened = Opened { handle, pages: None, given_up: GivenUp::default(), lock: None };
        if is_new {
            let Opened { handle, pages, given_up, lock } = opened;
            let store = Self { path, schema, handle, pages, given_up, _lock: lock };
            return match store.reset(0) {
                Ok(()) => Ok(store),
                Err(fault) => Err(fault.opening(&store.path)),
            };
        }
        Self::checked(path, opened, Some(&schema))
    }

    fn checked(path: PathBuf, opened: Opened, expected: Option<&Schema>) -> Result<Self, StoreOpenError> {
        // Dropped last: closing the database writes, and whoever has the lock next must find that done.
        let lock = opened.lock;
        let (handle, pages, given_up) = (opened.handle, opened.pages, opened.given_up);
        let state = |name: &str| -> Result<Option<Vec<u8>>, Fault> {
            let transaction = begin_read(&handle)?;
            if transaction.list_tables()?.all(|table| redb::TableHandle::name(&table) != "state") {
                return Ok(None);
            }
            Ok(transaction.open_table(STATE)?.get(name)?.map(|bytes| bytes.value().to_vec()))
        };
        let told = |fault| told(pages.as_deref(), fault).opening(&path);
        let version = state("version").map_err(told)?;
        if version.as_deref() != Some(&VERSION.to_le_bytes()) {
            let found = match version.as_deref().map(<[u8; 4]>::try_from) {
                Some(Ok(bytes)) => u32::from_le_bytes(bytes).to_string(),
                _ => "none".to_owned(),
            };
            return Err(StoreOpenError::Version { path, expected: VERSION, found });
        }
        let written = state("schema").map_err(told)?.unwrap_or_default();
        let schema: Schema = serde_json::from_slice(&written)
            .map_err(|error| Fault::Damaged(format!("a schema that cannot be read: {error}")).opening(&path))?;
        match expected {
            Some(expected) if *expected != schema => {
                let (expected, found) = (json(expected), json(&schema));
                Err(StoreOpenError::ForeignSchema { path, expected, found })
            }
            _ => Ok(Self { path, schema, handle, pages, given_up, _lock: lock }),
        }
    }
}

impl Opened {
    fn writable(file: Box<dyn DiskFile>, path: &Path, lock: FileLock) -> Result<Self, Fault> {
        let (lock, given_up) = (Some(lock), GivenUp::default());
        if !PageFile::is_one(&*file)? {
            let database = builder().create_with_backend(Plain::over(not_empty(file)?, &given_up))?;
            return Ok(Self { handle: Handle::Writable(database), pages: None, given_up, lock });
        }
        let pages = Arc::new(PageFile::open(file, path.to_owned(), true)?);
        let opened = checking(pages.is_unsettled()).create_with_backend(Backend(Arc::clone(&pages)));
        let database = opened.map_err(|cause| told(Some(&pages), cause.into()))?;
        pages.settled(true)?;
        Ok(Self { handle: Handle::Writable(database), pages: Some(pages), given_up, lock })
    }

    fn readable(path: &Path, lock: FileLock) -> Result<Self, Fault> {
        let file = || -> Result<Box<dyn DiskFile>, Fault> { Ok(Box::new(File::open(path)?)) };
        let given_up = GivenUp::default();
        if !PageFile::is_one(&*file()?)? {
            let backend = || Ok::<_, Fault>(Plain::over(not_empty(file()?)?, &given_up));
            let handle = unchanged(backend()?, backend()?, false)?;
            return Ok(Self { handle, pages: None, given_up, lock: Some(lock) });
        }
        let pages = Arc::new(PageFile::open(file()?, path.to_owned(), false)?);
        let handle = unchanged(Backend(Arc::clone(&pages)), Backend(Arc::clone(&pages)), pages.is_unsettled());
        let handle = handle.map_err(|fault| told(Some(&pages), fault))?;
        pages.settled(false)?;
        Ok(Self { handle, pages: Some(pages), given_up, lock: Some(lock) })
    }
}

/// The database as it is, or in order if it was not closed; its file stays as it was. Both backends are of the same file.
fn unchanged(
    as_it_is: impl StorageBackend,
    to_repair: impl StorageBackend,
    is_unsettled: bool,
) -> Result<Handle, Fault> {
    if !is_unsettled {
        match builder().open_read_only_with_backend(as_it_is) {
            Ok(database) => return Ok(Handle::ReadOnly(database)),
            Err(redb::DatabaseError::RepairAborted) => {}
            Err(cause) => return Err(cause.into()),
        }
    }
    Ok(Handle::Repaired(checking(is_unsettled).create_with_backend(Overlay::over(to_repair)?)?))
}

/// The database makes a new one of nothing.
fn not_empty(file: Box<dyn DiskFile>) -> Result<Box<dyn DiskFile>, Fault> {
    if file.is_empty()? { Err(Fault::Damaged("no bytes at all".to_owned())) } else { Ok(file) }
}

/// The damage that is behind an error of the database, which says no more after the first one than that there was one.
pub(super) fn told(pages: Option<&PageFile>, fault: Fault) -> Fault {
    match (fault, pages.and_then(PageFile::damage)) {
        (Fault::Database(_), Some(found)) => Fault::Damaged(found),
        (fault, _) => fault,
    }
}

/// A file that nobody had begun, and its lock. Where it fails nothing is removed: what has the name may be somebody else's.
fn begin(disk: &dyn Disk, name: &str) -> Result<(Box<dyn DiskFile>, FileLock), StoreOpenError> {
    let path = disk.path(name);
    let file = match disk.create(name) {
        Err(cause) if cause.kind() == std::io::ErrorKind::AlreadyExists => return Err(StoreOpenError::Locked { path }),
        created => created.map_err(|cause| Fault::from(cause).opening(&path))?,
    };
    let held = lock(&path, false)?;
    // Before it was locked somebody may have taken it for what an earlier attempt left, and begun another in its place.
    if file.is_at(&path).map_err(|cause| Fault::from(cause).opening(&path))? {
        Ok((file, held))
    } else {
        Err(StoreOpenError::Locked { path })
    }
}

/// Keeps others from changing a file, or even from reading it.
fn lock(path: &Path, shared: bool) -> Result<FileLock, StoreOpenError> {
    let io = |cause: std::io::Error| Fault::from(cause).opening(path);
    let locked = || StoreOpenError::Locked { path: path.to_owned() };
    let file = File::open(path).map_err(io)?;
    let lock = if shared { FileLock::shared(file) } else { FileLock::exclusive(file) };
    let lock = lock.map_err(|error| match error {
        TryLockError::WouldBlock => locked(),
        TryLockError::Error(cause) => io(cause),
    })?;
    // One that lost its name before it was locked is not the one that others would be kept from.
    if lock.is_at(path).map_err(io)? { Ok(lock) } else { Err(locked()) }
}

fn parts(path: &Path) -> Result<(Folder, String), StoreOpenError> {
    let name = path.file_name().and_then(|name| name.to_str()).map(str::to_owned);
    let name = name.ok_or_else(|| {
        let cause = std::io::Error::new(std::io::ErrorKind::InvalidInput, "expected a file with a name in UTF-8");
        Fault::from(cause).opening(path)
    })?;
    Ok((Folder::at(folder_of(path)), name))
}

fn checking(is_unsettled: bool) -> redb::Builder {
    let mut builder = builder();
    builder.set_check_integrity_on_open(is_unsettled);
    builder
}

fn builder() -> redb::Builder {
    let mut builder = redb::Builder::new();
    builder.set_cache_size(CACHE_BYTES);
    builder
}
