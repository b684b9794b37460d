//! Long values in backends whose rows are short.
//!
//! FoundationDB takes values up to 100,000 bytes; callers write up to [`limits::VALUE_BYTES_MAX`].
//! A backend that needs it sends every batch through [`encode`] and every answer through [`join`].
//! What it then stores:
//!
//! - under the caller's key a *head*: `00` and the value, or, for a value longer than
//!   [`limits::CHUNK_BYTES_MAX`], `01` and its length as four bytes;
//! - under `FE`, the escaped key, `00 01` and a number of two bytes, the *chunks* of a long value.
//!
//! Heads stay one row for each row of the caller, in the same order, so that ranges, limits and
//! `more` mean the same in both layers, and a scan does not pass over long values. Every write of a
//! row clears its chunks without reading, so that none is left behind.

use crate::key::escape_into;
use crate::{
    Batch, Expect, Found, Key, KeyReader, Mutation, Page, RangeRead, Read, ReadError, Reads, Row,
    Rows, Value, limits,
};
use bytes::{BufMut, BytesMut};
use smallvec::SmallVec;

const INLINE: u8 = 0;
const LONG: u8 = 1;

/// `00 01`, which ends the key within a chunk's key, and the number of the chunk.
const CHUNK_SUFFIX_BYTES: usize = 4;

/// Whether the chunks of this key have keys that are short enough. A value above
/// [`limits::CHUNK_BYTES_MAX`] may be written only then; every backend refuses it otherwise.
pub fn can_split(key: &[u8]) -> bool {
    let zeros = key.iter().filter(|byte| **byte == 0).count();
    1 + key.len() + zeros + CHUNK_SUFFIX_BYTES <= limits::KEY_BYTES_MAX
}

/// The batch as it is stored.
pub fn encode(batch: &Batch) -> Batch {
    let mut stored = Batch::new(batch.op_id());
    for fence in batch.fences() {
        each_check(&fence.key, &fence.expect, |key, expect| {
            stored.fence(key, expect);
        });
    }
    for check in batch.checks() {
        each_check(&check.key, &check.expect, |key, expect| {
            stored.check(key, expect);
        });
    }
    for mutation in batch.mutations() {
        match mutation {
            Mutation::Set(key, value) => {
                clear_chunks(&mut stored, key);
                stored.set(key.clone(), head(value));
                for (number, chunk) in chunks(value) {
                    stored.set(chunk_key(key, number), chunk);
                }
            }
            Mutation::Delete(key) => {
                clear_chunks(&mut stored, key);
                stored.delete(key.clone());
            }
            Mutation::DeleteRange(start, end) if start < end => {
                stored.delete_range(chunk_bound(start), chunk_bound(end));
                stored.delete_range(start.clone(), end.clone());
            }
            Mutation::DeleteRange(..) => {}
        }
    }
    stored
}

/// The caller's key of a stored key: that of the row itself, or of the row that a chunk belongs to.
pub fn head_of(stored: &Key) -> Key {
    let prefix = [limits::KEY_RESERVED_FROM];
    let inner = KeyReader::new(stored, &prefix).and_then(|mut reader| match reader.bytes() {
        Ok(key) => Ok(Key::copy_from_slice(&key)),
        Err(error) => Err(error),
    });
    inner.unwrap_or_else(|_| stored.clone())
}

/// The first round of reads: the heads of what the caller wants.
pub fn heads(reads: &Reads) -> Reads {
    let list = reads.list.iter().map(|read| match read {
        Read::Get(key) => Read::Get(key.clone()),
        Read::Range(range) => {
            let mut heads = range.clone();
            heads.end = range.end_clamped();
            // Each head may be one byte longer than its row.
            let rows = range.limit_rows.clamp(1, limits::RANGE_ROWS_MAX);
            heads.limit_bytes = range.limit_bytes.min(limits::RANGE_BYTES_MAX) + rows;
            Read::Range(heads)
        }
    });
    Reads { list: list.collect() }
}

/// What the first round came to.
#[derive(Debug)]
pub enum Joined {
    /// No long value was among the rows: this is the answer.
    All(Rows),
    /// The chunks have to be read, from the same snapshot.
    Chunks(Pending),
}

/// Rows of which some lack their long values.
#[derive(Debug)]
pub struct Pending {
    rows: Rows,
    holes: Vec<Hole>,
    reads: Reads,
}

#[derive(Debug)]
struct Hole {
    found: usize,
    row: usize,
    value_bytes: usize,
}

/// Turns the heads that were found into the caller's rows.
///
/// # Errors
/// [`ReadError::Damaged`] if a stored row is no head.
pub fn join(reads: &Reads, heads: Rows) -> Result<Joined, ReadError> {
    let mut pending = Pending { rows: Rows::default(), holes: Vec::new(), reads: Reads::none() };
    for (read, found) in reads.list.iter().zip(heads.found) {
        let found = match read {
            Read::Get(key) => {
                pending.join_range(&RangeRead::new(key.clone(), key.clone()), found)?
            }
            Read::Range(range) => pending.join_range(range, found)?,
        };
        pending.rows.found.push(found);
    }
    if pending.holes.is_empty() {
        return Ok(Joined::All(pending.rows));
    }
    Ok(Joined::Chunks(pending))
}

impl Pending {
    /// The second round of reads.
    pub fn reads(&self) -> &Reads {
        &self.reads
    }

    /// The answer, with the chunks that were found by [`Pending::reads`].
    ///
    /// # Errors
    /// [`ReadError::Damaged`] if a chunk is missing or has a wrong length.
    pub fn finish(mut self, chunks: Rows) -> Result<Rows, ReadError> {
        if chunks.found.len() != self.holes.len() {
            return Err(ReadError::Damaged);
        }
        for (hole, found) in self.holes.iter().zip(chunks.found) {
            let value = assemble(hole.value_bytes, &found.rows).ok_or(ReadError::Damaged)?;
            let rows = self.rows.found.get_mut(hole.found).map(|found| &mut found.rows);
            let row = rows.and_then(|rows| rows.get_mut(hole.row)).ok_or(ReadError::Damaged)?;
            row.value = value;
        }
        Ok(self.rows)
    }

    fn join_range(&mut self, range: &RangeRead, heads: Found) -> Result<Found, ReadError> {
        let mut page = Page::new(range);
        for (index, row) in heads.rows.into_iter().enumerate() {
            let (value, value_bytes, long) = if range.key_only {
                (Value::new(), 0, false)
            } else {
                match open_head(&row.value).ok_or(ReadError::Damaged)? {
                    Head::Inline(value) => (value.clone(), value.len(), false),
                    Head::Long(bytes) => (Value::new(), bytes, true),
                }
            };
            if !page.admits(&row.key, value_bytes) {
                break;
            }
            if long {
                let found = self.rows.found.len();
                self.holes.push(Hole { found, row: index, value_bytes });
                self.reads.add_range(chunk_range(&row.key));
            }
            page.push(Row { key: row.key, value }, value_bytes);
        }
        let mut found = page.finish();
        if found.more.is_none() {
            found.more = heads.more;
        }
        Ok(found)
    }
}

enum Head {
    Inline(Value),
    Long(usize),
}

fn open_head(stored: &Value) -> Option<Head> {
    match *stored.first()? {
        INLINE => Some(Head::Inline(stored.slice(1..))),
        LONG => {
            let bytes = u32::from_be_bytes(stored.get(1..)?.try_into().ok()?) as usize;
            let sound = bytes > limits::CHUNK_BYTES_MAX && bytes <= limits::VALUE_BYTES_MAX;
            sound.then_some(Head::Long(bytes))
        }
        _ => None,
    }
}

fn head(value: &Value) -> Value {
    if value.len() > limits::CHUNK_BYTES_MAX {
        let mut head = BytesMut::with_capacity(5);
        head.put_u8(LONG);
        head.put_u32(value.len() as u32);
        return head.freeze();
    }
    let mut head = BytesMut::with_capacity(1 + value.len());
    head.put_u8(INLINE);
    head.extend_from_slice(value);
    head.freeze()
}

/// The chunks of a long value with their numbers; none for a short one.
fn chunks(value: &Value) -> impl Iterator<Item = (u16, Value)> {
    let long = value.len() > limits::CHUNK_BYTES_MAX;
    let starts = (0..value.len()).step_by(limits::CHUNK_BYTES_MAX).take_while(move |_| long);
    (0..=u16::MAX).zip(
        starts.map(|start| value.slice(start..value.len().min(start + limits::CHUNK_BYTES_MAX))),
    )
}

fn assemble(value_bytes: usize, chunks: &[Row]) -> Option<Value> {
    let mut value = BytesMut::with_capacity(value_bytes);
    for (number, row) in chunks.iter().enumerate() {
        let stored_number = row.key.last_chunk::<2>().map(|bytes| u16::from_be_bytes(*bytes))?;
        if usize::from(stored_number) != number {
            return None;
        }
        value.extend_from_slice(&row.value);
    }
    (value.len() == value_bytes).then(|| value.freeze())
}

/// A long value is compared chunk by chunk.
fn each_check(key: &Key, expect: &Expect, mut add: impl FnMut(Key, Expect)) {
    match expect {
        Expect::Absent => add(key.clone(), Expect::Absent),
        Expect::Equals(value) => {
            add(key.clone(), Expect::Equals(head(value)));
            for (number, chunk) in chunks(value) {
                add(chunk_key(key, number), Expect::Equals(chunk));
            }
        }
    }
}

fn clear_chunks(stored: &mut Batch, key: &Key) {
    if can_split(key) {
        let range = chunk_range(key);
        stored.delete_range(range.start, range.end);
    }
}

fn chunk_key(key: &[u8], number: u16) -> Key {
    let [high, low] = number.to_be_bytes();
    escaped(key, &[0x00, 0x01, high, low])
}

fn chunk_range(key: &[u8]) -> RangeRead {
    RangeRead::new(escaped(key, &[0x00, 0x01]), escaped(key, &[0x00, 0x02]))
}

/// Where the chunks of `key` and of all greater keys begin. Bounds may be cut to the longest key,
/// because every chunk's key is shorter than that.
fn chunk_bound(key: &[u8]) -> Key {
    let mut bound = escaped(key, &[]);
    bound.truncate(limits::KEY_BYTES_MAX);
    bound
}

fn escaped(key: &[u8], suffix: &[u8]) -> Key {
    let mut bytes = SmallVec::from_slice(&[limits::KEY_RESERVED_FROM]);
    escape_into(key, &mut bytes);
    bytes.extend_from_slice(suffix);
    Key::copy_from_slice(&bytes)
}
