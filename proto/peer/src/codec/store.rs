//! The bytes of questions to a store on another node, and of its answers.
//!
//! Limits of the store (bytes of keys, values, batches) are not looked at here: the store that is
//! asked refuses what is above them.

use kv::{Batch, Check, CommitError, Expect, Mutation};
use kv::{Found, RangeRead, Read, ReadError, Reads, Row, Rows};

use super::BadFrame;
use super::wire::{Out, Take, Wire, wire_enum, wire_struct};
use crate::call::{StoreAnswer, StoreAsk};

wire_enum!(StoreAsk { 0 => Read(reads), 1 => Commit(batch), 2 => Settle });
wire_enum!(StoreAnswer { 0 => Found { rows, more }, 1 => NotRead(why), 2 => Committed(result) });

wire_struct!(Reads { list });
wire_enum!(Read { 0 => Get(key), 1 => Range(range) });
wire_struct!(RangeRead { start, end, limit_rows, limit_bytes, reverse, key_only });
wire_struct!(Rows { found });
wire_struct!(Found { rows, more });
wire_struct!(Row { key, value });
wire_enum!(ReadError { 0 => TooLarge, 1 => Damaged, 2 => Unavailable });

wire_struct!(Check { key, expect });
wire_enum!(Expect { 0 => Absent, 1 => Equals(value) });
wire_enum!(Mutation { 0 => Set(key, value), 1 => Delete(key), 2 => DeleteRange(start, end) });
wire_enum!(CommitError {
    0 => Fenced(keys),
    1 => CheckFailed(keys),
    2 => Unknown,
    3 => TooLarge,
    4 => BadKey,
    5 => Unavailable,
});

/// By what its own verbs take, so that its account of its bytes is right again.
impl Wire for Batch {
    fn put(&self, out: &mut Out<'_>) {
        out.put(&self.op_id());
        list(self.fences(), out);
        list(self.checks(), out);
        list(self.mutations(), out);
    }

    fn take(from: &mut Take<'_>) -> Result<Self, BadFrame> {
        let mut batch = Batch::new(from.take()?);
        for fence in from.take::<Vec<Check>>()? {
            batch.fence(fence.key, fence.expect);
        }
        for check in from.take::<Vec<Check>>()? {
            batch.check(check.key, check.expect);
        }
        for mutation in from.take::<Vec<Mutation>>()? {
            batch.mutate(mutation);
        }
        Ok(batch)
    }
}

fn list<T: Wire>(items: &[T], out: &mut Out<'_>) {
    out.count(items.len());
    items.iter().for_each(|item| out.put(item));
}
