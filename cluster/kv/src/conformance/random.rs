//! Random histories: every answer of the store is the model's.

use super::model::Model;
use super::rng::Rng;
use super::{commit, key, read};
use crate::key::strinc;
use crate::{Batch, Expect, Key, RangeRead, Reads, Store, Value, limits};

const STEPS: u64 = 60;

pub(super) fn run(store: &dyn Store, seed: u64) {
    let mut history = History { seed, rng: Rng::new(seed), prefix: prefix(seed) };
    let mut model = Model::default();
    let mut sweep = Batch::new(0);
    sweep.delete_range(history.prefix.clone(), strinc(&history.prefix).unwrap_or_default());
    assert_eq!(commit(store, &sweep), Ok(()), "seed {seed}: sweep");
    for step in 0..STEPS {
        let batch = history.batch(&model, step);
        let expected = model.commit(&batch);
        assert_eq!(commit(store, &batch), expected, "seed {seed}, step {step}: {batch:?}");
        let reads = history.reads();
        let (want, have) = (model.read(&reads), read(store, &reads));
        assert_eq!(have.as_ref(), Ok(&want), "seed {seed}, step {step}: {reads:?}");
    }
    let whole = Reads::range(RangeRead::prefix(history.prefix.clone()));
    assert_eq!(read(store, &whole), Ok(model.read(&whole)), "seed {seed}: at the end");
    // Nothing is left of a history, long values included; a backend's own test looks underneath.
    assert_eq!(commit(store, &sweep), Ok(()), "seed {seed}: sweep");
    assert!(read(store, &whole).is_ok_and(|rows| rows.rows(0).is_empty()), "seed {seed}: swept");
}

fn prefix(seed: u64) -> Key {
    key([b"random/", &seed.to_be_bytes()[..], b"/"].concat())
}

struct History {
    seed: u64,
    rng: Rng,
    prefix: Key,
}

impl History {
    /// Few keys, near each other and with the bytes that codecs stumble over.
    fn key(&mut self) -> Key {
        let mut key = self.prefix.to_vec();
        for _ in 0..self.rng.below(3) {
            let letters = [0x00, 0x01, b'a', b'b', 0xFE, 0xFF];
            key.push(letters[self.rng.below(letters.len() as u64) as usize]);
        }
        Key::from(key)
    }

    fn value(&mut self) -> Value {
        let len = match self.rng.below(40) {
            0 => limits::CHUNK_BYTES_MAX,
            1 => limits::CHUNK_BYTES_MAX + 1,
            2 => 3 * limits::CHUNK_BYTES_MAX,
            3 => 2 * limits::CHUNK_BYTES_MAX + self.rng.below(1000) as usize,
            4 => 0,
            _ => self.rng.below(12) as usize,
        };
        Value::from(vec![self.rng.below(3) as u8; len])
    }

    fn expect(&mut self, model: &Model, key: &Key) -> Expect {
        let have = model.rows.get(key).cloned();
        match (have, self.rng.one_in(8)) {
            (Some(value), false) => Expect::Equals(value),
            (None, false) | (Some(_), true) => Expect::Absent,
            (None, true) => Expect::Equals(self.value()),
        }
    }

    fn batch(&mut self, model: &Model, step: u64) -> Batch {
        let mut batch = Batch::new(self.seed << 32 | step);
        for _ in 0..self.rng.below(3) {
            let key = self.key();
            let expect = self.expect(model, &key);
            batch.fence(key, expect);
        }
        for _ in 0..self.rng.below(3) {
            let key = self.key();
            let expect = self.expect(model, &key);
            batch.check(key, expect);
        }
        for _ in 0..self.rng.below(7) {
            let key = self.key();
            match self.rng.below(10) {
                0 => {
                    let end =
                        if self.rng.one_in(2) { self.key() } else { crate::key::next_key(&key) };
                    batch.delete_range(key, end)
                }
                1 | 2 => batch.delete(key),
                _ => {
                    let value = self.value();
                    batch.set(key, value)
                }
            };
        }
        batch
    }

    fn reads(&mut self) -> Reads {
        let mut reads = Reads::none();
        for _ in 0..self.rng.below(4) {
            let key = self.key();
            if self.rng.one_in(2) {
                reads.add_get(key);
                continue;
            }
            let mut range = RangeRead::new(key, self.key());
            if self.rng.one_in(3) {
                range = RangeRead::prefix(self.prefix.clone());
            }
            if self.rng.one_in(2) {
                range = range.rows(1 + self.rng.below(6) as u32);
            }
            if self.rng.one_in(2) {
                let most = if self.rng.one_in(2) { 200 } else { 300_000 };
                range = range.bytes(self.rng.below(most) as u32);
            }
            range.reverse = self.rng.one_in(2);
            range.key_only = self.rng.one_in(4);
            reads.add_range(range);
        }
        reads
    }
}
