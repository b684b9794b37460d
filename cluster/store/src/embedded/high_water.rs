//! The high-water mark: a small file that says which commit was durable at least, and the thread
//! that writes it.
//!
//! Two slots, written in turn, so that one is whole whatever happens. A slot is 40 bytes:
//! `CARHWM1\n`, then the first number of the chain, the number and the checksum of the group, and
//! the XXH3 of all that, eight bytes each.

use super::guard::Chain;
use super::limits;
use parking_lot::{Condvar, Mutex};
use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;
use xxhash_rust::xxh3::xxh3_64;

const MAGIC: &[u8; 8] = b"CARHWM1\n";
const SLOT_BYTES: usize = 40;
/// The slots are in different pages of any disk.
const SLOT_OFFSET: u64 = 4096;

/// What the file says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct HighWater {
    /// The first number of the chain: 1, or higher after an operator accepted a loss.
    pub(crate) base: u64,
    /// A group that is durable.
    pub(crate) sequence: u64,
    pub(crate) checksum: u64,
}

impl HighWater {
    /// That of a store without a commit.
    pub(crate) fn fresh() -> Self {
        Self { base: 1, sequence: 0, checksum: 0 }
    }

    fn encode(&self) -> [u8; SLOT_BYTES] {
        let mut slot = [0; SLOT_BYTES];
        let fields = [self.base, self.sequence, self.checksum].map(u64::to_be_bytes);
        let body = [*MAGIC, fields[0], fields[1], fields[2]].concat();
        let sum = xxh3_64(&body).to_be_bytes();
        for (byte, from) in slot.iter_mut().zip(body.iter().chain(&sum)) {
            *byte = *from;
        }
        slot
    }

    fn decode(slot: &[u8]) -> Option<Self> {
        let (body, sum) = slot.get(..SLOT_BYTES)?.split_last_chunk::<8>()?;
        if xxh3_64(body) != u64::from_be_bytes(*sum) {
            return None;
        }
        let mut rest = body.strip_prefix(MAGIC)?;
        let mut number = || {
            let (field, tail) = rest.split_first_chunk::<8>()?;
            rest = tail;
            Some(u64::from_be_bytes(*field))
        };
        Some(Self { base: number()?, sequence: number()?, checksum: number()? })
    }
}

/// The open file.
#[derive(Debug)]
pub(crate) struct HighWaterFile {
    file: File,
    second: bool,
}

impl HighWaterFile {
    /// Opens the file and reads it. `None` in the second place: neither slot is whole, or the file
    /// is new.
    pub(crate) fn open(path: &Path) -> io::Result<(Self, Option<HighWater>)> {
        let mut file =
            OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path)?;
        let mut bytes = Vec::new();
        Read::by_ref(&mut file).take(SLOT_OFFSET * 2).read_to_end(&mut bytes)?;
        let first = HighWater::decode(&bytes);
        let second = bytes.get(SLOT_OFFSET as usize..).and_then(HighWater::decode);
        let order = |mark: &HighWater| (mark.base, mark.sequence);
        let newest = [first, second].into_iter().flatten().max_by_key(order);
        let newest_is_second = newest.is_some() && newest == second;
        Ok((Self { file, second: !newest_is_second }, newest))
    }

    /// Writes the mark over the older slot, and to the disk.
    pub(crate) fn write(&mut self, mark: &HighWater) -> io::Result<()> {
        let offset = if self.second { SLOT_OFFSET } else { 0 };
        self.file.seek(SeekFrom::Start(offset))?;
        self.file.write_all(&mark.encode())?;
        self.file.sync_data()?;
        self.second = !self.second;
        Ok(())
    }
}

/// What the committer tells the thread.
#[derive(Debug)]
struct Progress {
    durable: Chain,
    written: u64,
    bytes: u64,
    closing: bool,
}

/// The side of the committer.
#[derive(Clone, Debug)]
pub(crate) struct Marker(Arc<(Mutex<Progress>, Condvar)>);

impl Marker {
    pub(crate) fn new(durable: Chain) -> Self {
        let progress = Progress { durable, written: durable.sequence, bytes: 0, closing: false };
        Self(Arc::new((Mutex::new(progress), Condvar::new())))
    }

    /// So far all is durable.
    pub(crate) fn advance(&self, durable: Chain, bytes: usize) {
        let (progress, changed) = &*self.0;
        let mut progress = progress.lock();
        let idle = progress.durable.sequence == progress.written;
        progress.durable = durable;
        progress.bytes += bytes as u64;
        if idle || progress.bytes >= limits::HIGH_WATER_BYTES {
            changed.notify_one();
        }
    }

    /// Writes the last mark and ends.
    pub(crate) fn close(&self) {
        let (progress, changed) = &*self.0;
        progress.lock().closing = true;
        changed.notify_one();
    }

    /// The thread: sleeps while nothing is committed; else writes every
    /// [`limits::HIGH_WATER_EVERY`] or [`limits::HIGH_WATER_BYTES`].
    pub(crate) fn run(&self, base: u64, file: &mut HighWaterFile) -> io::Result<()> {
        let (progress, changed) = &*self.0;
        loop {
            let (mark, last) = {
                let mut progress = progress.lock();
                while progress.durable.sequence == progress.written && !progress.closing {
                    changed.wait(&mut progress);
                }
                let due = Instant::now() + limits::HIGH_WATER_EVERY;
                while progress.bytes < limits::HIGH_WATER_BYTES && !progress.closing {
                    if changed.wait_until(&mut progress, due).timed_out() {
                        break;
                    }
                }
                progress.bytes = 0;
                progress.written = progress.durable.sequence;
                let Chain { sequence, checksum } = progress.durable;
                (HighWater { base, sequence, checksum }, progress.closing)
            };
            file.write(&mark)?;
            if last {
                return Ok(());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mark(sequence: u64) -> HighWater {
        HighWater { base: 1, sequence, checksum: sequence + 9 }
    }

    #[test]
    fn the_newest_whole_slot_counts() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("high-water");
        let (mut file, found) = HighWaterFile::open(&path).unwrap();
        assert_eq!(found, None);
        for sequence in 1..=5 {
            file.write(&mark(sequence)).unwrap();
            assert_eq!(HighWaterFile::open(&path).unwrap().1, Some(mark(sequence)));
        }
        // Whatever one byte of the newest slot becomes, the older one is found.
        let whole = std::fs::read(&path).unwrap();
        let newest = HighWater::decode(&whole) == Some(mark(5));
        let at = if newest { 0 } else { SLOT_OFFSET as usize };
        for byte in 0..SLOT_BYTES {
            let mut torn = whole.clone();
            torn[at + byte] ^= 0x40;
            std::fs::write(&path, &torn).unwrap();
            assert_eq!(HighWaterFile::open(&path).unwrap().1, Some(mark(4)), "byte {byte}");
        }
        // And the next write goes over the torn one.
        let (mut file, _) = HighWaterFile::open(&path).unwrap();
        file.write(&mark(6)).unwrap();
        let bytes = std::fs::read(&path).unwrap();
        let other = if newest { SLOT_OFFSET as usize } else { 0 };
        assert_eq!(HighWater::decode(&bytes[at..]), Some(mark(6)));
        assert_eq!(HighWater::decode(&bytes[other..]), Some(mark(4)));
    }
}
