//! The in-memory store passes the suite, whole values or split ones, and leaves no chunk behind.

use kv::{MemStore, MemTable, conformance};

#[test]
fn the_memory_store_conforms() {
    conformance::run(&MemStore::new(), 0..200);
}

#[test]
fn the_splitting_memory_store_conforms_and_leaves_no_chunk() {
    let store = MemStore::of(MemTable::splitting());
    conformance::run(&store, 0..200);
    // What the directed cases leave: long values 1 and 3 (number 2 was deleted), of 2 and of 16
    // chunks.
    let chunks = store.with(|table| table.stored().filter(|(key, _)| key[0] == 0xFE).count());
    assert_eq!(chunks, 2 + 16);
    let longest = store.with(|table| table.stored().map(|(_, value)| value.len()).max());
    assert!(longest.is_some_and(|bytes| bytes <= kv::limits::ROW_BYTES_HARD));
}
