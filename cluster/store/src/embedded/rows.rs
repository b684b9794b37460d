//! Answers reads from a snapshot of the engine.

use super::engine::{Engine, EngineError, Snapshot};
use super::limits;
use kv::{Found, Key, Page, RangeRead, Read, Reads, Row, Rows, Value};
use std::panic::{AssertUnwindSafe, catch_unwind};

/// Few look-ups of single rows, which the caller's thread can do.
pub(crate) fn is_short(reads: &Reads) -> bool {
    reads.len() <= limits::INLINE_GETS_MAX
        && reads.list.iter().all(|read| matches!(read, Read::Get(_)))
}

/// The newest rows: what was acknowledged before is in them. An engine that panics, as over a file
/// that was damaged, costs this answer and nothing else.
pub(crate) fn answer(engine: &impl Engine, reads: &Reads) -> Result<Rows, EngineError> {
    catch_unwind(AssertUnwindSafe(|| find(&engine.snapshot(), reads)))
        .unwrap_or_else(|_| Err(EngineError("the engine panicked over what it read".into())))
}

fn find(snapshot: &impl Snapshot, reads: &Reads) -> Result<Rows, EngineError> {
    let found = reads.list.iter().map(|read| match read {
        Read::Get(key) => get(snapshot, key),
        Read::Range(range) => page(snapshot, range),
    });
    Ok(Rows { found: found.collect::<Result<_, _>>()? })
}

fn get(snapshot: &impl Snapshot, key: &Key) -> Result<Found, EngineError> {
    let own = |first: &u8| *first < kv::limits::KEY_RESERVED_FROM;
    if key.len() > kv::limits::KEY_BYTES_MAX || !key.first().is_some_and(own) {
        return Ok(Found::default());
    }
    let row = snapshot.get(key)?.map(|value| Row { key: key.clone(), value });
    Ok(Found { rows: row.into_iter().collect(), more: None })
}

fn page(snapshot: &impl Snapshot, range: &RangeRead) -> Result<Found, EngineError> {
    let mut page = Page::new(range);
    if range.is_empty() {
        return Ok(page.finish());
    }
    snapshot.range(&range.start, &range.end_clamped(), range.reverse, &mut |key, value| {
        let value = if range.key_only { &[] } else { value };
        let admitted = page.admits(key, value.len());
        if admitted {
            let row = Row { key: Key::copy_from_slice(key), value: Value::copy_from_slice(value) };
            page.push(row, value.len());
        }
        admitted
    })?;
    Ok(page.finish())
}
