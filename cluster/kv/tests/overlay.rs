//! Rows overlaid with uncommitted batches are the rows that a commit of those batches would give.

use kv::conformance::Rng;
use kv::{Batch, Key, MemTable, Overlay, RangeRead, Read, Reads, Row, Value, overlay};

fn key(rng: &mut Rng) -> Key {
    let mut key = vec![b'k'];
    for _ in 0..rng.below(3) {
        key.push(b'a' + rng.below(4) as u8);
    }
    Key::from(key)
}

fn batch(rng: &mut Rng) -> Batch {
    let mut batch = Batch::new(rng.number());
    for _ in 0..rng.below(6) {
        let key = key(rng);
        match rng.below(6) {
            0 => batch.delete_range(key, self::key(rng)),
            1 => batch.delete(key),
            _ => batch.set(key, Value::from(vec![b'v'; rng.below(9) as usize])),
        };
    }
    batch
}

fn range(rng: &mut Rng) -> RangeRead {
    let mut range = RangeRead::new(key(rng), key(rng));
    if rng.one_in(2) {
        range = RangeRead::prefix(Key::from_static(b"k"));
    }
    if rng.one_in(2) {
        range = range.rows(1 + rng.below(5) as u32);
    }
    if rng.one_in(2) {
        range = range.bytes(rng.below(40) as u32);
    }
    range.reverse = rng.one_in(2);
    range.key_only = rng.one_in(4);
    range
}

/// All pages of a range, as seen through `answer`; also checks that no page is above its limits.
fn pages(mut range: RangeRead, answer: impl Fn(&Reads) -> kv::Rows) -> Vec<Row> {
    let mut all = Vec::new();
    for page in 0.. {
        assert!(page < 100, "pages without end");
        let found = answer(&Reads::range(range.clone())).found.remove(0);
        let bytes: usize = found.rows.iter().map(Row::bytes).sum();
        assert!(found.rows.len() <= range.limit_rows as usize);
        assert!(bytes <= range.limit_bytes as usize || found.rows.len() == 1);
        all.extend(found.rows);
        let Some(more) = found.more else { return all };
        range = range.after(more);
    }
    all
}

#[test]
fn an_overlay_is_what_a_commit_would_give() {
    for seed in 0..4_000 {
        let mut rng = Rng::new(seed);
        let mut table = MemTable::new();
        for _ in 0..6 {
            table.commit_now(&batch(&mut rng)).unwrap();
        }
        let pending: Vec<Batch> = (0..rng.below(4)).map(|_| batch(&mut rng)).collect();
        let mut after = table.clone();
        for batch in &pending {
            after.commit_now(batch).unwrap();
        }
        let asked = range(&mut rng);
        let through = |reads: &Reads| overlay(reads, table.read_now(reads).unwrap(), &pending);
        let expected = pages(asked.clone(), |reads| after.read_now(reads).unwrap());
        assert_eq!(pages(asked.clone(), through), expected, "seed {seed}: {asked:?}");

        // One overlay after the other is the same as all at once.
        let layered = |reads: &Reads| {
            let mut rows = table.read_now(reads).unwrap();
            for batch in &pending {
                let mut layer = Overlay::default();
                layer.add(batch.mutations());
                rows = layer.apply(reads, rows);
            }
            rows
        };
        assert_eq!(pages(asked, layered), expected, "seed {seed}: in layers");

        let mut gets = Reads::none();
        for _ in 0..4 {
            gets.list.push(Read::Get(key(&mut rng)));
        }
        let rows = overlay(&gets, table.read_now(&gets).unwrap(), &pending);
        assert_eq!(rows, after.read_now(&gets).unwrap(), "seed {seed}: {gets:?}");
    }
}

#[test]
fn a_full_page_of_the_store_stays_exact_when_rows_are_added_before_its_end() {
    let mut table = MemTable::new();
    let mut stored = Batch::new(1);
    for name in ["b", "d", "f", "h"] {
        stored.set(Key::from(name), Value::from("x"));
    }
    table.commit_now(&stored).unwrap();
    let mut pending = Batch::new(2);
    pending.set(Key::from("c"), Value::from("y")).set(Key::from("g"), Value::from("y"));
    let names = |range: RangeRead| {
        let reads = Reads::range(range);
        let rows = overlay(&reads, table.read_now(&reads).unwrap(), [&pending]);
        let names: Vec<String> =
            rows.rows(0).iter().map(|row| String::from_utf8_lossy(&row.key).into_owned()).collect();
        (names.concat(), rows.more(0).map(|key| String::from_utf8_lossy(key).into_owned()))
    };
    let all = RangeRead::new(Key::from("a"), Key::from("z"));
    assert_eq!(names(all.clone()), ("bcdfgh".into(), None));
    assert_eq!(names(all.clone().rows(2)), ("bc".into(), Some("d".into())));
    assert_eq!(names(all.clone().reverse().rows(2)), ("hg".into(), Some("g".into())));
    assert_eq!(names(all.rows(4)), ("bcdf".into(), Some("g".into())));
}
