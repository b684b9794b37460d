//! Records of the replica's log: their bytes, and telling a torn end from damage. Pure.
//!
//! A record is `magic u16 · length u32 · sequence u64 · synced u64 · kind u8 · body · checksum
//! u64`, big-endian; the length counts the body. `synced` says how long the file was when it was
//! last known to be on disk as the record was made: so whatever stands before that place was
//! acknowledged, and if it cannot be read it was damaged, not torn off.

use xxhash_rust::xxh3::xxh3_64;

use crate::limits::RECORD_BYTES_MAX;
use crate::octets::Octets;

/// What a record says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// The first of a file: whose log it is.
    Start,
    /// A vote, which replaces the one before.
    Vote,
    /// One entry.
    Entry,
    /// Entries behind this log id are gone.
    Truncate,
    /// Entries up to this log id are gone.
    Purge,
    /// Entries up to this log id are committed.
    Committed,
}

const KINDS: [Kind; 6] =
    [Kind::Start, Kind::Vote, Kind::Entry, Kind::Truncate, Kind::Purge, Kind::Committed];

const MAGIC: u16 = 0xca71;
/// Bytes before a body.
const HEAD: usize = 2 + 4 + 8 + 8 + 1;
/// Bytes of a record beside its body.
pub(super) const AROUND: usize = HEAD + 8;

/// Writes one record behind `out`.
pub(super) fn put(out: &mut Vec<u8>, sequence: u64, synced: u64, kind: Kind, body: &[u8]) {
    let start = out.len();
    let count = u32::try_from(body.len()).unwrap_or(u32::MAX);
    debug_assert!(body.len() <= RECORD_BYTES_MAX);
    out.extend_from_slice(&MAGIC.to_be_bytes());
    out.extend_from_slice(&count.to_be_bytes());
    out.extend_from_slice(&sequence.to_be_bytes());
    out.extend_from_slice(&synced.to_be_bytes());
    out.push(1 + kind as u8);
    out.extend_from_slice(body);
    let sum = xxh3_64(&out[start..]);
    out.extend_from_slice(&sum.to_be_bytes());
}

/// One record in a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Record<'a> {
    pub(super) sequence: u64,
    pub(super) synced: u64,
    pub(super) kind: Kind,
    pub(super) body: &'a [u8],
    /// Where the next one begins, counted from this one.
    bytes: usize,
}

/// The record at the beginning of `bytes`, if it is whole and unharmed.
fn read(bytes: &[u8]) -> Option<Record<'_>> {
    let mut octets = Octets(bytes);
    if octets.u16()? != MAGIC {
        return None;
    }
    let count = octets.u32()? as usize;
    let (sequence, synced, kind) = (octets.u64()?, octets.u64()?, octets.u8()?);
    if count > RECORD_BYTES_MAX {
        return None;
    }
    let body = octets.take(count)?;
    let whole = bytes.get(..HEAD + count)?;
    if octets.u64()? != xxh3_64(whole) {
        return None;
    }
    let kind = *KINDS.get(usize::from(kind).checked_sub(1)?)?;
    Some(Record { sequence, synced, kind, body, bytes: AROUND + count })
}

/// What a file holds.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Scan<'a> {
    pub(super) records: Vec<Record<'a>>,
    /// Up to here everything is whole.
    pub(super) good: usize,
    pub(super) end: End,
}

/// How a file ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    /// With a whole record.
    Clean,
    /// With bytes that nobody was told are on disk: they are cut off.
    Torn,
    /// Something that was acknowledged cannot be read.
    Damaged,
}

/// Reads a file from its beginning. `synced` is how much of it is known to have been on disk.
pub(super) fn scan(bytes: &[u8], synced: u64) -> Scan<'_> {
    let mut records: Vec<Record<'_>> = Vec::new();
    let mut good = 0;
    while let Some(record) = bytes.get(good..).and_then(read) {
        // Numbers follow each other from 0: a record that is left out, or stands twice, is damage.
        if record.sequence != records.len() as u64 {
            break;
        }
        good += record.bytes;
        records.push(record);
    }
    let end = if good == bytes.len() && good as u64 >= synced {
        End::Clean
    } else if (good as u64) < synced || acknowledged(bytes, good) {
        End::Damaged
    } else {
        End::Torn
    };
    Scan { records, good, end }
}

/// Whether any record behind `good` was made when what stands at `good` was already on disk.
fn acknowledged(bytes: &[u8], good: usize) -> bool {
    (good + 1..bytes.len().saturating_sub(AROUND - 1))
        .any(|at| bytes.get(at..).and_then(read).is_some_and(|record| record.synced > good as u64))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Three appends, each synced before the next: two records, one, two.
    fn file() -> (Vec<u8>, Vec<usize>) {
        let (mut out, mut ends) = (Vec::new(), vec![0]);
        let mut synced = 0;
        for (sequence, last) in [(0, false), (1, true), (2, true), (3, false), (4, true)] {
            put(&mut out, sequence, synced, Kind::Entry, format!("entry {sequence}").as_bytes());
            ends.push(out.len());
            if last {
                synced = out.len() as u64;
            }
        }
        (out, ends)
    }

    #[test]
    fn a_whole_file_is_read_as_written() {
        let (bytes, ends) = file();
        let scan = scan(&bytes, bytes.len() as u64);
        assert_eq!((scan.good, scan.end, scan.records.len()), (bytes.len(), End::Clean, 5));
        assert_eq!(scan.records[3].body, b"entry 3");
        assert_eq!(scan.records[3].synced, ends[3] as u64);
        assert_eq!(super::scan(&[], 0).end, End::Clean);
        assert_eq!(super::scan(&[], 1).end, End::Damaged);
    }

    #[test]
    fn a_file_cut_anywhere_is_torn_where_nothing_was_acknowledged() {
        let (bytes, ends) = file();
        for cut in 0..bytes.len() {
            let good = *ends.iter().filter(|end| **end <= cut).max().unwrap();
            let clean = if good == cut { End::Clean } else { End::Torn };
            let scanned = scan(&bytes[..cut], ends[3] as u64);
            let want = if cut < ends[3] { End::Damaged } else { clean };
            assert_eq!((scanned.good, scanned.end), (good, want), "cut at {cut}");
            // Without the mark a cut file is only ever torn: nothing behind the cut speaks of it.
            assert_eq!(scan(&bytes[..cut], 0).end, clean, "cut at {cut}");
        }
    }

    #[test]
    fn a_flipped_bit_in_what_was_acknowledged_is_damage() {
        let (bytes, ends) = file();
        for at in 0..bytes.len() {
            let mut bad = bytes.clone();
            bad[at] ^= 0x10;
            let found = scan(&bad, 0);
            let good = *ends.iter().filter(|end| **end <= at).max().unwrap();
            assert_eq!(found.good, good, "flipped at {at}");
            // The last append is known to be on disk only by the mark.
            let want = if at < ends[3] { End::Damaged } else { End::Torn };
            assert_eq!(found.end, want, "flipped at {at}");
            assert_eq!(scan(&bad, bytes.len() as u64).end, End::Damaged, "flipped at {at}");
        }
    }

    #[test]
    fn records_left_out_or_doubled_are_seen() {
        let (bytes, ends) = file();
        let without = [&bytes[..ends[1]], &bytes[ends[2]..]].concat();
        assert_eq!((scan(&without, 0).good, scan(&without, 0).end), (ends[1], End::Damaged));
        let twice = [&bytes[..ends[2]], &bytes[ends[1]..]].concat();
        assert_eq!(scan(&twice, 0).good, ends[2]);
        // Pages of one append that reached the disk in another order: nobody was told of any.
        let (first, last) = (ends[3], ends[4]);
        let mut holed = bytes.clone();
        holed[first..last].fill(0);
        assert_eq!((scan(&holed, first as u64).good, scan(&holed, 0).end), (first, End::Torn));
    }

    #[test]
    fn the_bytes_are_as_written_down() {
        let mut out = Vec::new();
        put(&mut out, 1, 2, Kind::Vote, b"ab");
        let head = [0xca, 0x71, 0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 2, 2];
        assert_eq!(out[..HEAD], head);
        assert_eq!(out[HEAD..HEAD + 2], *b"ab");
        assert_eq!(out[HEAD + 2..], xxh3_64(&out[..HEAD + 2]).to_be_bytes());
    }
}
