//! The directory of a store: whose it is, which format it has, and that one process has it.
//!
//! ```text
//! carillon-store   text: the format version and the id of the store
//! lock             held by the process that has the store open
//! high-water       the durable mark (high_water.rs)
//! engine/          the files of the engine (engine.new/ while it is made)
//! ```

use std::fmt;
use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

const FORMAT_FILE: &str = "carillon-store";
const FORMAT_NEW: &str = "carillon-store.new";
const LOCK_FILE: &str = "lock";
const VERSION: &str = "1";

/// Why a store cannot be opened. The text says what to do.
#[derive(Debug)]
pub enum OpenError {
    /// The operating system refused something.
    Io {
        /// The file or directory.
        path: PathBuf,
        /// What was tried.
        doing: &'static str,
        /// The refusal.
        source: io::Error,
    },
    /// Another process has the store open.
    Locked {
        /// The store.
        path: PathBuf,
    },
    /// The directory holds something that is no store.
    Foreign {
        /// The directory.
        path: PathBuf,
    },
    /// The store was written by a version that this one does not know.
    Version {
        /// The store.
        path: PathBuf,
        /// The format version found.
        found: String,
    },
    /// A file of the store cannot be read as what it is.
    Damaged {
        /// The store.
        path: PathBuf,
        /// What is wrong.
        detail: String,
    },
    /// Acknowledged commits are missing.
    Gap {
        /// The store.
        path: PathBuf,
        /// Which.
        gap: super::Gap,
    },
}

impl fmt::Display for OpenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Io { path, doing, source } => {
                write!(f, "cannot {doing} {}: {source}", path.display())
            }
            Self::Locked { path } => write!(
                f,
                "the store {} is in use by another process; stop that one first, or choose \
                 another directory",
                path.display()
            ),
            Self::Foreign { path } => write!(
                f,
                "{} is not empty and holds no Carillon store; choose an empty directory or one \
                 that does not exist",
                path.display()
            ),
            Self::Version { path, found } => write!(
                f,
                "the store {} has format {found}, but this version knows only format {VERSION}; \
                 start the version of Carillon that wrote it",
                path.display()
            ),
            Self::Damaged { path, detail } => write!(
                f,
                "the store {} is damaged: {detail}; nothing was started. Check the disk, then \
                 restore the directory from a backup",
                path.display()
            ),
            Self::Gap { path, gap } => write!(
                f,
                "the store {} has lost data that it had acknowledged: {gap}. Nothing was started. \
                 Check the disk, then restore the directory from a backup; only if there is none, \
                 accept the loss explicitly",
                path.display()
            ),
        }
    }
}

impl std::error::Error for OpenError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Io { source, .. } => Some(source),
            _ => None,
        }
    }
}

/// A directory that this process has for itself.
#[derive(Debug)]
pub(crate) struct Directory {
    pub(crate) path: PathBuf,
    /// Names this store for ever: 32 hexadecimal digits.
    pub(crate) id: String,
    /// Released when it is dropped.
    lock: File,
}

impl Directory {
    /// Takes the directory, and makes it a store if it is empty or missing.
    pub(crate) fn open(path: &Path) -> Result<Self, OpenError> {
        let mut builder = DirBuilder::new();
        builder.recursive(true);
        #[cfg(unix)]
        std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
        builder.create(path).map_err(io_error(path, "create"))?;
        refuse_foreign(path)?;
        let lock = lock(path)?;
        let format_file = path.join(FORMAT_FILE);
        let id = match fs::read_to_string(&format_file) {
            Ok(text) => parse(path, &text)?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => create(path)?,
            Err(source) => return Err(io_error(&format_file, "read")(source)),
        };
        Ok(Self { path: path.to_owned(), id, lock })
    }

    /// Lets others have the directory. Call it when nothing of ours touches it any more.
    pub(crate) fn release(&self) {
        if let Err(error) = self.lock.unlock() {
            tracing::warn!("the lock on {} cannot be released: {error}", self.path.display());
        }
    }

    pub(crate) fn high_water(&self) -> PathBuf {
        self.path.join("high-water")
    }

    pub(crate) fn engine(&self) -> PathBuf {
        self.path.join("engine")
    }

    /// Where an engine is made before it gets its place; what an earlier attempt left there is
    /// gone.
    pub(crate) fn new_engine(&self) -> Result<PathBuf, OpenError> {
        let path = self.path.join("engine.new");
        match fs::remove_dir_all(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                Err(io_error(&path, "remove")(error))
            }
            _ => Ok(path),
        }
    }

    pub(crate) fn damaged(&self, detail: impl Into<String>) -> OpenError {
        OpenError::Damaged { path: self.path.clone(), detail: detail.into() }
    }

    /// Writes names of new files to the disk.
    pub(crate) fn sync(&self) -> Result<(), OpenError> {
        sync_directory(&self.path)
    }
}

/// An error of the operating system, with what was tried.
pub(crate) fn io_error(path: &Path, doing: &'static str) -> impl FnOnce(io::Error) -> OpenError {
    let path = path.to_owned();
    move |source| OpenError::Io { path, doing, source }
}

/// Blocks that the files below `path` take, in bytes. Files that vanish meanwhile count as nothing.
pub(crate) fn bytes_on_disk(path: &Path) -> u64 {
    let Ok(entries) = fs::read_dir(path) else { return 0 };
    let mut bytes = 0;
    for entry in entries.flatten() {
        match entry.metadata() {
            Ok(meta) if meta.is_dir() => bytes += bytes_on_disk(&entry.path()),
            Ok(meta) => bytes += allocated(&meta),
            Err(_) => {}
        }
    }
    bytes
}

/// Journals are made long before they are filled, so their length says little.
#[cfg(unix)]
fn allocated(meta: &fs::Metadata) -> u64 {
    std::os::unix::fs::MetadataExt::blocks(meta) * 512
}

#[cfg(not(unix))]
fn allocated(meta: &fs::Metadata) -> u64 {
    meta.len()
}

fn refuse_foreign(path: &Path) -> Result<(), OpenError> {
    if path.join(FORMAT_FILE).exists() {
        return Ok(());
    }
    for entry in fs::read_dir(path).map_err(io_error(path, "read"))? {
        let name = entry.map_err(io_error(path, "read"))?.file_name();
        // What a creation leaves that was cut short.
        if name != LOCK_FILE && name != FORMAT_NEW {
            return Err(OpenError::Foreign { path: path.to_owned() });
        }
    }
    Ok(())
}

fn lock(path: &Path) -> Result<File, OpenError> {
    let lock_path = path.join(LOCK_FILE);
    let open = OpenOptions::new().write(true).create(true).truncate(false).open(&lock_path);
    let file = open.map_err(io_error(&lock_path, "open"))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(OpenError::Locked { path: path.to_owned() }),
        Err(TryLockError::Error(source)) => Err(io_error(&lock_path, "lock")(source)),
    }
}

fn parse(path: &Path, text: &str) -> Result<String, OpenError> {
    let mut lines = text.lines();
    let version = lines.next().and_then(|line| line.strip_prefix("format "));
    let Some(version) = version else {
        return Err(OpenError::Foreign { path: path.to_owned() });
    };
    if version != VERSION {
        return Err(OpenError::Version { path: path.to_owned(), found: version.to_owned() });
    }
    let id = lines.next().and_then(|line| line.strip_prefix("id ")).unwrap_or_default();
    let is_id = id.len() == 32 && id.bytes().all(|byte| byte.is_ascii_hexdigit());
    if !is_id {
        let detail = format!("the file {FORMAT_FILE} has no id");
        return Err(OpenError::Damaged { path: path.to_owned(), detail });
    }
    Ok(id.to_owned())
}

fn create(path: &Path) -> Result<String, OpenError> {
    let mut random = [0; 16];
    getrandom::fill(&mut random).map_err(|error| OpenError::Io {
        path: path.to_owned(),
        doing: "draw an id for",
        source: io::Error::other(error.to_string()),
    })?;
    let id: String = random.iter().map(|byte| format!("{byte:02x}")).collect();
    let new = path.join(FORMAT_NEW);
    let write = || {
        let mut file = File::create(&new)?;
        write!(file, "format {VERSION}\nid {id}\n")?;
        file.sync_all()?;
        fs::rename(&new, path.join(FORMAT_FILE))
    };
    write().map_err(io_error(&new, "write"))?;
    sync_directory(path)?;
    Ok(id)
}

fn sync_directory(path: &Path) -> Result<(), OpenError> {
    #[cfg(unix)]
    File::open(path).and_then(|dir| dir.sync_all()).map_err(io_error(path, "sync"))?;
    Ok(())
}
