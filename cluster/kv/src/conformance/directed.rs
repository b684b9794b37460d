//! Cases that a random history would seldom hit, or would not explain.

use super::{block_on, commit, key, read};
use crate::{Batch, CommitError, Expect, Key, RangeRead, ReadError, Reads, Store, Value, limits};

pub(super) fn run(store: &dyn Store) {
    a_batch_is_applied_in_its_order(store);
    a_failed_fence_is_named_and_nothing_is_written(store);
    a_failed_check_is_named_and_nothing_is_written(store);
    checks_see_the_rows_before_the_batch(store);
    pages_meet_without_gap_or_double(store);
    a_row_above_the_byte_limit_is_returned_alone(store);
    long_values_are_one_row(store);
    a_shorter_value_leaves_nothing_of_a_longer_one(store);
    of_many_writers_one_wins(store);
    commits_in_flight_are_each_whole(store);
    limits_are_refusals(store);
    a_range_delete_of_too_many_rows_is_refused(store);
    keys_of_backends_are_neither_written_nor_seen(store);
    empty_things_are_fine(store);
}

fn v(text: &str) -> Value {
    Value::copy_from_slice(text.as_bytes())
}

fn get(store: &dyn Store, key: &Key) -> Option<Value> {
    let rows = read(store, &Reads::get(key.clone()));
    rows.unwrap_or_default().value(0).cloned()
}

fn keys(store: &dyn Store, range: &RangeRead) -> (Vec<Key>, Option<Key>) {
    let rows = read(store, &Reads::range(range.clone())).unwrap_or_default();
    (rows.rows(0).iter().map(|row| row.key.clone()).collect(), rows.more(0).cloned())
}

fn a_batch_is_applied_in_its_order(store: &dyn Store) {
    let (a, b, c) = (key("order/a"), key("order/b"), key("order/c"));
    let mut batch = Batch::new(1);
    batch.set(a.clone(), v("1")).set(b.clone(), v("1")).set(a.clone(), v("2"));
    batch.delete_range(key("order/b"), key("order/d")).set(c.clone(), v("3"));
    batch.delete(a.clone()).set(a.clone(), v("4"));
    assert_eq!(commit(store, &batch), Ok(()));
    let mut reads = Reads::get(a);
    reads.add_get(b);
    reads.add_get(c);
    let rows = read(store, &reads).unwrap_or_default();
    let found = [rows.value(0), rows.value(1), rows.value(2)];
    assert_eq!(found, [Some(&v("4")), None, Some(&v("3"))]);
}

fn a_failed_fence_is_named_and_nothing_is_written(store: &dyn Store) {
    let (mine, lost, row) = (key("fence/1"), key("fence/2"), key("fence/row"));
    let mut own = Batch::new(1);
    own.set(mine.clone(), v("7")).set(lost.clone(), v("8"));
    assert_eq!(commit(store, &own), Ok(()));
    let mut batch = Batch::new(2);
    batch.fence(mine, Expect::Equals(v("7"))).fence(lost.clone(), Expect::Equals(v("7")));
    batch.check(row.clone(), Expect::Equals(v("nonsense"))).set(row.clone(), v("x"));
    assert_eq!(commit(store, &batch), Err(CommitError::Fenced(vec![lost])));
    assert_eq!(get(store, &row), None);
}

fn a_failed_check_is_named_and_nothing_is_written(store: &dyn Store) {
    let (one, two, row) = (key("check/1"), key("check/2"), key("check/row"));
    let mut own = Batch::new(1);
    own.set(one.clone(), v("7"));
    assert_eq!(commit(store, &own), Ok(()));
    let mut batch = Batch::new(2);
    batch.check(one.clone(), Expect::Absent).check(two.clone(), Expect::Equals(v("")));
    batch.set(row.clone(), v("x"));
    assert_eq!(commit(store, &batch), Err(CommitError::CheckFailed(vec![one, two])));
    assert_eq!(get(store, &row), None);
}

fn checks_see_the_rows_before_the_batch(store: &dyn Store) {
    let row = key("before");
    let mut batch = Batch::new(1);
    batch.set(row.clone(), v("1")).check(row.clone(), Expect::Absent);
    assert_eq!(commit(store, &batch), Ok(()));
    assert_eq!(commit(store, &batch), Err(CommitError::CheckFailed(vec![row])));
}

fn pages_meet_without_gap_or_double(store: &dyn Store) {
    let mut batch = Batch::new(1);
    let all: Vec<Key> = (0..20u8).map(|n| key([b"page/", &[n][..]].concat())).collect();
    for row in &all {
        batch.set(row.clone(), v("x"));
    }
    assert_eq!(commit(store, &batch), Ok(()));
    let whole = RangeRead::prefix(key("page/"));
    assert_eq!(keys(store, &whole), (all.clone(), None));
    assert_eq!(keys(store, &whole.clone().rows(20)), (all.clone(), None), "exactly full");
    let backwards: Vec<Key> = all.iter().rev().cloned().collect();
    for (range, expected) in [(whole.clone(), &all), (whole.reverse(), &backwards)] {
        for rows in 1..=21 {
            let mut range = range.clone().rows(rows);
            let mut seen = Vec::new();
            loop {
                let (page, more) = keys(store, &range);
                assert!(page.len() <= rows as usize && !page.is_empty());
                seen.extend(page);
                let Some(more) = more else { break };
                range = range.after(more);
            }
            assert_eq!(&seen, expected, "{rows} rows a page");
        }
    }
}

fn a_row_above_the_byte_limit_is_returned_alone(store: &dyn Store) {
    let mut batch = Batch::new(1);
    batch.set(key("alone/1"), v("0123456789")).set(key("alone/2"), v("0123456789"));
    assert_eq!(commit(store, &batch), Ok(()));
    let range = RangeRead::prefix(key("alone/")).bytes(3);
    assert_eq!(keys(store, &range), (vec![key("alone/1")], Some(key("alone/2"))));
    let range = range.reverse();
    assert_eq!(keys(store, &range), (vec![key("alone/2")], Some(key("alone/2"))));
}

fn long(byte: u8, len: usize) -> Value {
    Value::from(vec![byte; len])
}

fn long_values_are_one_row(store: &dyn Store) {
    let lens =
        [limits::CHUNK_BYTES_MAX, limits::CHUNK_BYTES_MAX + 1, 300_000, limits::VALUE_BYTES_MAX];
    for (n, len) in (0..4u8).zip(lens) {
        let mut batch = Batch::new(1);
        batch.set(key([b"long/", &[n][..]].concat()), long(n, len));
        // A key that begins with another must not be taken for a chunk of it.
        batch.set(key([b"long/", &[n, 0][..]].concat()), v("between"));
        assert_eq!(commit(store, &batch), Ok(()), "{len} bytes");
    }
    let rows = read(store, &Reads::range(RangeRead::prefix(key("long/")))).unwrap_or_default();
    let found: Vec<usize> = rows.rows(0).iter().map(|row| row.value.len()).collect();
    let [a, b, c, d] = lens;
    assert_eq!(found, [a, 7, b, 7, c, 7, d, 7]);
    let value = get(store, &key([b"long/", &[3u8][..]].concat()));
    assert_eq!(value, Some(long(3, limits::VALUE_BYTES_MAX)));
    let mut batch = Batch::new(2);
    let first = key([b"long/", &[2u8][..]].concat());
    batch.check(first.clone(), Expect::Equals(long(2, 300_000))).delete(first.clone());
    assert_eq!(commit(store, &batch), Ok(()), "a long value can be checked");
    assert_eq!(commit(store, &batch), Err(CommitError::CheckFailed(vec![first])));
}

fn a_shorter_value_leaves_nothing_of_a_longer_one(store: &dyn Store) {
    let row = key("shrink");
    for len in [500_000, 70_000, 3, 200_000, 0, 66_000] {
        let mut batch = Batch::new(1);
        batch.set(row.clone(), long(b'x', len));
        assert_eq!(commit(store, &batch), Ok(()));
        assert_eq!(get(store, &row), Some(long(b'x', len)));
    }
    let mut batch = Batch::new(1);
    batch.delete(row.clone());
    assert_eq!(commit(store, &batch), Ok(()));
    assert_eq!(keys(store, &RangeRead::prefix(row)), (vec![], None));
}

fn of_many_writers_one_wins(store: &dyn Store) {
    let row = key("race");
    let attempts: Vec<_> = (0..50u64)
        .map(|op_id| {
            let mut batch = Batch::new(op_id);
            batch.check(row.clone(), Expect::Absent).set(row.clone(), v(&op_id.to_string()));
            store.commit(batch)
        })
        .collect();
    let results: Vec<_> = attempts.into_iter().map(block_on).collect();
    let won: Vec<usize> = (0..50).filter(|n| results[*n].is_ok()).collect();
    assert_eq!(won.len(), 1, "{results:?}");
    let lost = CommitError::CheckFailed(vec![row.clone()]);
    assert_eq!(results.iter().filter(|result| **result == Err(lost.clone())).count(), 49);
    assert_eq!(get(store, &row), Some(v(&won[0].to_string())));
}

fn commits_in_flight_are_each_whole(store: &dyn Store) {
    let attempts: Vec<_> = (0..40u8)
        .map(|n| {
            let mut batch = Batch::new(u64::from(n));
            for part in 0..3u8 {
                batch.set(key([b"flight/", &[part][..]].concat()), v(&n.to_string()));
            }
            batch.set(key([b"flight/own/", &[n][..]].concat()), v("x"));
            store.commit(batch)
        })
        .collect();
    for attempt in attempts {
        assert_eq!(block_on(attempt), Ok(()));
    }
    let rows = read(store, &Reads::range(RangeRead::prefix(key("flight/")))).unwrap_or_default();
    let shared: Vec<&Value> = rows.rows(0).iter().take(3).map(|row| &row.value).collect();
    assert!(shared.iter().all(|value| *value == shared[0]), "three rows of one batch: {shared:?}");
    assert_eq!(rows.rows(0).len(), 43);
}

fn limits_are_refusals(store: &dyn Store) {
    let set = |row: Key, value: Value| {
        let mut batch = Batch::new(1);
        batch.set(row, value);
        commit(store, &batch)
    };
    let longest = {
        let mut bytes = key("limit/").to_vec();
        bytes.resize(limits::KEY_BYTES_MAX, 0x00);
        Key::from(bytes)
    };
    assert_eq!(set(longest.clone(), v("x")), Ok(()));
    assert_eq!(get(store, &longest), Some(v("x")));
    assert_eq!(
        set(longest.clone(), long(b'x', limits::CHUNK_BYTES_MAX + 1)),
        Err(CommitError::TooLarge)
    );
    let longer = crate::key::next_key(&longest);
    assert_eq!(set(longer.clone(), v("x")), Err(CommitError::TooLarge));
    assert_eq!(get(store, &longer), None, "a key that cannot be is not found");
    let over = long(b'x', limits::VALUE_BYTES_MAX + 1);
    assert_eq!(set(key("limit/value"), over), Err(CommitError::TooLarge));
    let mut batch = Batch::new(1);
    while batch.bytes() <= limits::BATCH_BYTES_MAX {
        batch.set(key("limit/batch"), long(b'x', 100_000));
    }
    assert_eq!(commit(store, &batch), Err(CommitError::TooLarge));
    assert_eq!(get(store, &key("limit/batch")), None);
    let mut reads = Reads::none();
    for _ in 0..limits::READS_MAX {
        reads.add_get(longest.clone());
    }
    assert!(read(store, &reads).is_ok());
    reads.add_get(longest);
    assert_eq!(read(store, &reads), Err(ReadError::TooLarge));
}

fn a_range_delete_of_too_many_rows_is_refused(store: &dyn Store) {
    let row = |n: usize| key(format!("many/{n:06}"));
    let most = limits::DELETE_RANGE_ROWS_MAX;
    for from in (0..=most).step_by(20_000) {
        let mut batch = Batch::new(1);
        for n in from..(from + 20_000).min(most + 1) {
            batch.set(row(n), Value::new());
        }
        assert_eq!(commit(store, &batch), Ok(()));
    }
    let all = RangeRead::new(row(0), row(most + 1)).key_only();
    let is_whole = || {
        let (first, _) = keys(store, &all.clone().rows(1));
        let (last, _) = keys(store, &all.clone().reverse().rows(1));
        (first, last) == (vec![row(0)], vec![row(most)])
    };
    let sweep = |ranges: &[(usize, usize)]| {
        let mut batch = Batch::new(1);
        batch.set(key("many/sweep"), v("x"));
        for (from, to) in ranges {
            batch.delete_range(row(*from), row(*to));
        }
        commit(store, &batch)
    };
    assert_eq!(sweep(&[(0, most + 1)]), Err(CommitError::TooLarge));
    // All ranges of a batch count together, and rows in two of them twice.
    assert_eq!(sweep(&[(0, 10), (10, most + 1)]), Err(CommitError::TooLarge));
    assert_eq!(sweep(&[(1, most), (5, 7)]), Err(CommitError::TooLarge));
    assert!(is_whole());
    assert_eq!(get(store, &key("many/sweep")), None);
    // What the batch itself writes is none of the rows that are there; checks come first.
    let mut batch = Batch::new(1);
    batch.check(row(0), Expect::Absent).delete_range(row(0), row(most + 1));
    assert_eq!(commit(store, &batch), Err(CommitError::CheckFailed(vec![row(0)])));
    let mut batch = Batch::new(1);
    batch.set(key("many/000000/new"), v("x")).delete_range(row(0), row(most));
    assert_eq!(commit(store, &batch), Ok(()), "exactly as many as may be");
    assert_eq!(keys(store, &all), (vec![row(most)], None));
    // A batch that another one follows closely sees the rows as that one leaves them.
    let halves = [(0, most / 2), (most / 2, most)].map(|(from, to)| {
        let mut batch = Batch::new(1);
        for n in from..to {
            batch.set(row(n), Value::new());
        }
        store.commit(batch)
    });
    let mut batch = Batch::new(1);
    batch.delete_range(row(0), row(most + 1));
    let together = store.commit(batch);
    assert!(halves.into_iter().all(|half| block_on(half) == Ok(())));
    assert_eq!(block_on(together), Err(CommitError::TooLarge));
    let mut batch = Batch::new(1);
    batch.delete_range(row(0), row(1));
    let (one, mut rest) = (store.commit(batch), Batch::new(1));
    rest.delete_range(row(0), row(most + 1));
    let rest = store.commit(rest);
    assert_eq!((block_on(one), block_on(rest)), (Ok(()), Ok(())));
    assert_eq!(keys(store, &all), (vec![], None));
}

fn keys_of_backends_are_neither_written_nor_seen(store: &dyn Store) {
    for first in [limits::KEY_RESERVED_FROM, 0xFF] {
        let row = Key::from(vec![first, b'x']);
        let mut batch = Batch::new(1);
        batch.set(row.clone(), v("x"));
        assert_eq!(commit(store, &batch), Err(CommitError::BadKey));
        assert_eq!(get(store, &row), None);
    }
    let mut batch = Batch::new(1);
    batch.set(Key::new(), v("x"));
    assert_eq!(commit(store, &batch), Err(CommitError::BadKey));
    let everything = RangeRead::new(Key::new(), Key::from_static(&[0xFF; 4])).key_only();
    for range in [everything.clone(), RangeRead::prefix(Key::new()), everything.reverse()] {
        let (found, _) = keys(store, &range);
        assert!(!found.is_empty());
        assert!(
            found.iter().all(|row| row.first() < Some(&limits::KEY_RESERVED_FROM)),
            "{found:?}"
        );
    }
    let above = RangeRead::new(Key::from_static(&[0xFE]), Key::from_static(&[0xFF, 0xFF]));
    assert_eq!(keys(store, &above), (vec![], None));
}

fn empty_things_are_fine(store: &dyn Store) {
    assert_eq!(commit(store, &Batch::new(1)), Ok(()));
    assert_eq!(read(store, &Reads::none()).map(|rows| rows.found.len()), Ok(0));
    assert_eq!(get(store, &Key::new()), None);
    let backwards = RangeRead::new(key("b"), key("a"));
    assert_eq!(keys(store, &backwards), (vec![], None));
    let mut batch = Batch::new(1);
    batch.set(key("empty"), Value::new()).delete_range(key("z"), key("a"));
    batch.delete(key("never there"));
    assert_eq!(commit(store, &batch), Ok(()));
    assert_eq!(get(store, &key("empty")), Some(Value::new()));
}
