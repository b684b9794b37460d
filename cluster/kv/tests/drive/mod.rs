//! What the fuzz targets do with arbitrary bytes. Nothing here may panic but an assertion of its
//! own.

use kv::split::{self, Joined};
use kv::{
    Batch, Found, Key, KeyReader, KeyWriter, MemTable, RangeRead, Reads, Row, Rows, Value,
    ValueReader, ValueWriter, limits,
};

/// Reads fields of a key as the first bytes say; what was read is written again and must be the
/// same bytes.
pub(crate) fn key(data: &[u8]) {
    let (plan, bytes) = data.split_at(data.len().min(4));
    let Ok(mut reader) = KeyReader::new(bytes, b"") else { return };
    let mut writer = KeyWriter::default();
    for kind in plan {
        let read = match kind % 6 {
            0 => reader.u8().map(|field| writer = std::mem::take(&mut writer).u8(field)),
            1 => reader.u16().map(|field| writer = std::mem::take(&mut writer).u16(field)),
            2 => reader.u32().map(|field| writer = std::mem::take(&mut writer).u32(field)),
            3 => reader.u64().map(|field| writer = std::mem::take(&mut writer).u64(field)),
            4 => reader.str().map(|field| writer = std::mem::take(&mut writer).str(&field)),
            _ => reader.bytes().map(|field| writer = std::mem::take(&mut writer).bytes(&field)),
        };
        if read.is_err() {
            return;
        }
    }
    let written = writer.fixed(reader.rest()).finish();
    assert_eq!(written, bytes, "a key has one form");
    let _head = split::head_of(&written);
    if let Some(end) = kv::key::strinc(bytes) {
        assert!(end > written);
    }
}

/// Reads fields of a value as the first bytes say, and writes what was read: it must read the same
/// again.
pub(crate) fn value(data: &[u8]) {
    let (plan, bytes) = data.split_at(data.len().min(4));
    let value = Value::copy_from_slice(bytes);
    let Ok((version, mut reader)) = ValueReader::new(&value) else { return };
    let mut writer = ValueWriter::new(version, bytes.len());
    for kind in plan {
        let read = match kind % 5 {
            0 => reader.u8().map(|field| writer = writer.clone().u8(field)),
            1 => reader.varint().map(|field| writer = writer.clone().varint(field)),
            2 => reader.bytes().map(|field| writer = writer.clone().bytes(&field)),
            3 => reader.str().map(|field| writer = writer.clone().str(&field)),
            _ => reader.opt_str().map(|field| writer = writer.clone().opt_str(field.as_deref())),
        };
        if read.is_err() {
            return;
        }
    }
    let written = writer.rest(&reader.rest()).finish();
    assert!(written.len() <= bytes.len(), "what is written is never longer than what was read");
}

/// Joins stored rows that may be anything; then writes a value of some length through both kinds of
/// table.
pub(crate) fn split(data: &[u8]) {
    let rows: Vec<Row> = data
        .split(|byte| *byte == b'|')
        .filter_map(|row| {
            let at = row.iter().position(|byte| *byte == b'=')?;
            let (key, value) = row.split_at(at);
            Some(Row { key: Key::copy_from_slice(key), value: Value::copy_from_slice(&value[1..]) })
        })
        .collect();
    let reads = Reads::range(RangeRead::prefix(Key::new()));
    let found = Rows { found: vec![Found { rows: rows.clone(), more: None }] };
    if let Ok(Joined::Chunks(pending)) = split::join(&reads, found) {
        // Whatever stands where the chunks should be.
        let chunks = pending.reads().list.iter().map(|_| Found { rows: rows.clone(), more: None });
        let chunks = Rows { found: chunks.collect() };
        let _damaged = pending.finish(chunks);
    }
    let (mut whole, mut splitting) = (MemTable::new(), MemTable::splitting());
    for row in rows {
        let mut batch = Batch::new(1);
        // A row's value says how long the value is.
        let step = |len: usize, byte: &u8| len.wrapping_mul(7).wrapping_add(usize::from(*byte));
        let len = row.value.iter().fold(0, step);
        let value = Value::from(vec![b'v'; len % (limits::CHUNK_BYTES_MAX * 3)]);
        batch.set(row.key.clone(), value).delete_range(row.value, row.key);
        assert_eq!(whole.commit_now(&batch), splitting.commit_now(&batch));
        assert_eq!(whole.read_now(&reads), splitting.read_now(&reads));
    }
}
