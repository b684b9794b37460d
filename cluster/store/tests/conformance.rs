//! The embedded store passes the suite, and still holds everything when it is opened again.

use kv::conformance;
use store::{Embedded, Options};

#[test]
fn the_embedded_store_conforms() {
    let dir = tempfile::tempdir().unwrap();
    let store = Embedded::open(dir.path(), &Options::default()).unwrap();
    conformance::run(&store, 0..40);
}

#[test]
fn the_embedded_store_conforms_while_it_flushes_and_merges() {
    let dir = tempfile::tempdir().unwrap();
    let options = Options { memtable_bytes: 256 * 1024, ..Options::default() };
    for round in 0..3 {
        let store = Embedded::open(dir.path(), &options).unwrap();
        for seed in 0..20 {
            conformance::history(&store, seed + round * 20);
        }
    }
}
