//! The replica's files: a log that only grows, a vote and a snapshot that are replaced whole.
//!
//! Everything is synced before anyone is told of it. What is replaced is written aside, synced,
//! renamed, and its folder synced.

use std::fs::{File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

use xxhash_rust::xxh3::xxh3_64;

use super::record::{self, End, Kind, scan};
use crate::octets::Octets;

/// A record as it was read.
pub(super) type Owned = (Kind, Vec<u8>);

/// What opening the log found.
pub(super) enum Opened {
    /// There is none.
    None,
    /// The log, with its records.
    Log(LogFile, Vec<Owned>),
    /// Something that was acknowledged cannot be read.
    Damaged,
}

/// The log, open for appending.
pub(super) struct LogFile {
    file: File,
    /// Beside the log: how much of it is known to be on disk. It is written after each sync and not
    /// synced itself, so after a loss of power it may say less than is true, never more.
    mark: File,
    /// Random bits of this file, so that a mark is not taken for another file's.
    id: u64,
    length: u64,
    synced: u64,
    sequence: u64,
}

const LOG: &str = "log";
const MARK: &str = "log.synced";

impl LogFile {
    /// Opens the log in `folder`.
    pub(super) fn open(folder: &Path) -> io::Result<Opened> {
        let path = folder.join(LOG);
        let bytes = match std::fs::read(&path) {
            Ok(bytes) => bytes,
            Err(why) if why.kind() == io::ErrorKind::NotFound => return Ok(Opened::None),
            Err(why) => return Err(why),
        };
        let mark = open_mark(folder)?;
        let id = scan(&bytes, 0).records.first().and_then(|it| Octets(it.body).u64());
        let Some(id) = id else { return Ok(Opened::Damaged) };
        let found = scan(&bytes, read_mark(&mark, id));
        if found.end == End::Damaged {
            return Ok(Opened::Damaged);
        }
        // Written anew even if nothing is torn. What was read may be only in the cache: after a
        // sync that failed the kernel takes those pages for written, and the next sync succeeds.
        replace(folder, LOG, bytes.get(..found.good).unwrap_or_default())?;
        let file = OpenOptions::new().append(true).open(&path)?;
        let length = found.good as u64;
        let sequence = found.records.len() as u64;
        let records = found.records.iter().map(|it| (it.kind, it.body.to_vec())).collect();
        let log = LogFile { file, mark, id, length, synced: length, sequence };
        log.write_mark()?;
        Ok(Opened::Log(log, records))
    }

    /// Puts a new log in place of whatever is there: a start with `start` behind its random bits,
    /// and these records.
    pub(super) fn create(
        folder: &Path,
        id: u64,
        start: &[u8],
        records: &[Owned],
    ) -> io::Result<LogFile> {
        let mut bytes = Vec::new();
        let first = [&id.to_be_bytes(), start].concat();
        record::put(&mut bytes, 0, 0, Kind::Start, &first);
        for (sequence, (kind, body)) in (1..).zip(records) {
            record::put(&mut bytes, sequence, 0, *kind, body);
        }
        replace(folder, LOG, &bytes)?;
        let file = OpenOptions::new().append(true).open(folder.join(LOG))?;
        let mark = open_mark(folder)?;
        let length = bytes.len() as u64;
        let sequence = 1 + records.len() as u64;
        let log = LogFile { file, mark, id, length, synced: length, sequence };
        log.write_mark()?;
        Ok(log)
    }

    /// Writes records behind the log. They may be lost until [`LogFile::sync`].
    pub(super) fn append(&mut self, records: &[Owned]) -> io::Result<()> {
        let mut bytes = Vec::new();
        for (kind, body) in records {
            record::put(&mut bytes, self.sequence, self.synced, *kind, body);
            self.sequence += 1;
        }
        self.file.write_all(&bytes)?;
        self.length += bytes.len() as u64;
        Ok(())
    }

    /// Returns when everything appended is on disk.
    pub(super) fn sync(&mut self) -> io::Result<()> {
        self.file.sync_data()?;
        self.synced = self.length;
        self.write_mark()
    }

    fn write_mark(&self) -> io::Result<()> {
        let mut bytes = [self.id.to_be_bytes(), self.synced.to_be_bytes()].concat();
        bytes.extend_from_slice(&xxh3_64(&bytes).to_be_bytes());
        self.mark.write_all_at(&bytes, 0)
    }
}

fn open_mark(folder: &Path) -> io::Result<File> {
    let path = folder.join(MARK);
    OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path)
}

/// What the mark says of the file with this id; 0 if it says nothing.
fn read_mark(mark: &File, id: u64) -> u64 {
    let mut bytes = [0; 24];
    if mark.read_exact_at(&mut bytes, 0).is_err() {
        return 0;
    }
    let mut octets = Octets(&bytes);
    let (of, synced, sum) = (octets.u64(), octets.u64(), octets.u64());
    if of == Some(id) && sum == Some(xxh3_64(&bytes[..16])) { synced.unwrap_or(0) } else { 0 }
}

/// Replaces a file whole: a crash leaves the old one or the new one.
pub(super) fn replace(folder: &Path, name: &str, bytes: &[u8]) -> io::Result<()> {
    let aside = folder.join(format!("{name}.new"));
    let mut file = File::create(&aside)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    drop(file);
    std::fs::rename(&aside, folder.join(name))?;
    sync_folder(folder)
}

/// Removes a file that may be there.
pub(super) fn remove(folder: &Path, name: &str) -> io::Result<()> {
    match std::fs::remove_file(folder.join(name)) {
        Err(why) if why.kind() != io::ErrorKind::NotFound => Err(why),
        _ => sync_folder(folder),
    }
}

fn sync_folder(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}

/// A file that is replaced whole and carries a checksum.
#[derive(Clone, Debug)]
pub(super) struct Sealed {
    folder: PathBuf,
    name: &'static str,
}

/// What is in a sealed file.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Contents {
    /// There is no file.
    None,
    /// Its bytes.
    Bytes(Vec<u8>),
    /// They do not fit their checksum.
    Damaged,
}

/// The first bytes of a sealed file: what it is, and the version of the form.
const SEAL: &[u8; 8] = b"carilln1";

impl Sealed {
    pub(super) fn new(folder: &Path, name: &'static str) -> Sealed {
        Sealed { folder: folder.to_owned(), name }
    }

    pub(super) fn write(&self, bytes: &[u8]) -> io::Result<()> {
        let mut out = Vec::with_capacity(bytes.len() + 16);
        out.extend_from_slice(SEAL);
        out.extend_from_slice(bytes);
        out.extend_from_slice(&xxh3_64(&out).to_be_bytes());
        replace(&self.folder, self.name, &out)
    }

    pub(super) fn read(&self) -> io::Result<Contents> {
        let bytes = match std::fs::read(self.folder.join(self.name)) {
            Ok(bytes) => bytes,
            Err(why) if why.kind() == io::ErrorKind::NotFound => return Ok(Contents::None),
            Err(why) => return Err(why),
        };
        let Some((front, sum)) = bytes.split_last_chunk::<8>() else {
            return Ok(Contents::Damaged);
        };
        match front.strip_prefix(SEAL) {
            Some(body) if xxh3_64(front).to_be_bytes() == *sum => {
                Ok(Contents::Bytes(body.to_vec()))
            }
            _ => Ok(Contents::Damaged),
        }
    }

    /// Writes what is there anew, if it is whole: what was read may be only in the cache, and its
    /// name only in a folder that could not be synced.
    pub(super) fn anew(&self) -> io::Result<()> {
        match self.read()? {
            Contents::Bytes(bytes) => self.write(&bytes),
            Contents::None | Contents::Damaged => Ok(()),
        }
    }

    pub(super) fn remove(&self) -> io::Result<()> {
        remove(&self.folder, self.name)
    }

    pub(super) fn exists(&self) -> bool {
        self.folder.join(self.name).exists()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(text: &str) -> Owned {
        (Kind::Entry, text.as_bytes().to_vec())
    }

    fn bodies(opened: Opened) -> Option<Vec<String>> {
        let Opened::Log(_, records) = opened else { return None };
        Some(records.into_iter().map(|it| String::from_utf8_lossy(&it.1).into_owned()).collect())
    }

    #[test]
    fn what_was_synced_is_there_and_a_torn_end_is_cut() {
        let folder = tempfile::tempdir().unwrap();
        assert!(matches!(LogFile::open(folder.path()).unwrap(), Opened::None));
        let mut log = LogFile::create(folder.path(), 7, b"", &[entry("a")]).unwrap();
        log.append(&[entry("b"), entry("c")]).unwrap();
        log.sync().unwrap();
        let synced = log.length;
        log.append(&[entry("d")]).unwrap();
        let whole = std::fs::read(folder.path().join("log")).unwrap();
        drop(log);
        for cut in (synced..=whole.len() as u64).rev() {
            let file = OpenOptions::new().write(true).open(folder.path().join("log")).unwrap();
            file.set_len(cut).unwrap();
            let got = bodies(LogFile::open(folder.path()).unwrap()).unwrap();
            let whole = cut == whole.len() as u64;
            assert_eq!(got[1..], ["a", "b", "c", "d"][..if whole { 4 } else { 3 }], "{cut}");
            if whole {
                // Opening made the last record known to be on disk: forget that again.
                std::fs::remove_file(folder.path().join(MARK)).unwrap();
            }
        }
        // What comes after a cut is appended where the good part ends.
        let Opened::Log(mut log, _) = LogFile::open(folder.path()).unwrap() else { panic!() };
        log.append(&[entry("e")]).unwrap();
        log.sync().unwrap();
        let got = bodies(LogFile::open(folder.path()).unwrap()).unwrap();
        assert_eq!(got[1..], ["a", "b", "c", "e"]);
    }

    #[test]
    fn a_log_that_lost_what_was_acknowledged_is_damaged() {
        let folder = tempfile::tempdir().unwrap();
        let mut log = LogFile::create(folder.path(), 7, b"", &[entry("a")]).unwrap();
        log.append(&[entry("b")]).unwrap();
        log.sync().unwrap();
        let whole = std::fs::read(folder.path().join("log")).unwrap();
        drop(log);
        let path = folder.path().join("log");
        for cut in 0..whole.len() {
            std::fs::write(&path, &whole[..cut]).unwrap();
            let damaged = matches!(LogFile::open(folder.path()).unwrap(), Opened::Damaged);
            assert!(damaged, "cut at {cut}");
        }
        for at in 0..whole.len() {
            let mut bad = whole.clone();
            bad[at] ^= 1;
            std::fs::write(&path, &bad).unwrap();
            let damaged = matches!(LogFile::open(folder.path()).unwrap(), Opened::Damaged);
            assert!(damaged, "flipped at {at}");
        }
        std::fs::write(&path, &whole).unwrap();
        assert!(bodies(LogFile::open(folder.path()).unwrap()).is_some());
        // The mark of another file says nothing about this one.
        LogFile::create(folder.path(), 8, b"", &[]).unwrap();
        assert_eq!(bodies(LogFile::open(folder.path()).unwrap()).unwrap().len(), 1);
    }

    #[test]
    fn sealed_files_are_whole_or_damaged() {
        let folder = tempfile::tempdir().unwrap();
        let sealed = Sealed::new(folder.path(), "vote");
        assert_eq!(sealed.read().unwrap(), Contents::None);
        sealed.write(b"first").unwrap();
        sealed.write(b"second").unwrap();
        assert_eq!(sealed.read().unwrap(), Contents::Bytes(b"second".to_vec()));
        let path = folder.path().join("vote");
        let whole = std::fs::read(&path).unwrap();
        for at in 0..whole.len() {
            let mut bad = whole.clone();
            bad[at] ^= 1;
            std::fs::write(&path, &bad).unwrap();
            assert_eq!(sealed.read().unwrap(), Contents::Damaged, "flipped at {at}");
            std::fs::write(&path, &whole[..at]).unwrap();
            assert_eq!(sealed.read().unwrap(), Contents::Damaged, "cut at {at}");
        }
        sealed.remove().unwrap();
        sealed.remove().unwrap();
        assert_eq!(sealed.read().unwrap(), Contents::None);
    }
}
