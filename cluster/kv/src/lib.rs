//! The ordered store as data: keys, reads, batches, and the trait with two verbs that every backend
//! has.
//!
//! A store holds rows, sorted by key. It is read by saying what is wanted ([`Reads`]) and written
//! by one [`Batch`], which is applied whole or not at all. There is no open transaction and no
//! callback, so the embedded store, a store on another machine, FoundationDB and the simulation are
//! the same to a caller.
//!
//! What every backend promises, and [`conformance`] tests:
//!
//! - a read sees only what is durable, and everything whose commit was acknowledged before the read
//!   began;
//! - all reads of one call see one moment;
//! - a batch whose checks all held is durable as a whole when its commit is acknowledged;
//! - a batch that answered anything but `Ok` or [`CommitError::Unknown`] has changed nothing, ever;
//! - rows, pages and limits are exactly those of [`MemTable`].

mod batch;
#[cfg(feature = "conformance")]
pub mod conformance;
mod error;
mod fields;
pub mod key;
pub mod limits;
mod mem;
mod overlay;
mod read;
pub mod split;
pub mod value;

pub use batch::{Batch, Check, Expect, MergeConflict, Mutation};
pub use error::{CommitError, ReadError};
pub use fields::Fields;
pub use key::{BadKey, KeyReader, KeyWriter};
pub use mem::{Fault, MemStore, MemTable};
pub use overlay::{Overlay, overlay};
pub use read::{Found, Page, RangeRead, Read, Reads, Row, Rows};
pub use value::{BadValue, ValueReader, ValueWriter};

use std::future::Future;
use std::pin::Pin;

/// The name of a row: not empty, at most [`limits::KEY_BYTES_MAX`], below
/// [`limits::KEY_RESERVED_FROM`].
pub type Key = bytes::Bytes;

/// What a row holds: at most [`limits::VALUE_BYTES_MAX`] bytes.
pub type Value = bytes::Bytes;

/// The answer to [`Store::read`], later.
pub type ReadFuture = Pin<Box<dyn Future<Output = Result<Rows, ReadError>> + Send + 'static>>;

/// The answer to [`Store::commit`], later.
pub type CommitFuture = Pin<Box<dyn Future<Output = Result<(), CommitError>> + Send + 'static>>;

/// An ordered store. The futures need no particular runtime; a commit that was begun goes on even
/// if its future is dropped.
pub trait Store: Send + Sync + 'static {
    /// Answers all reads from one snapshot.
    fn read(&self, reads: Reads) -> ReadFuture;

    /// Applies the batch if its fences and checks hold, durably, and only then answers.
    fn commit(&self, batch: Batch) -> CommitFuture;
}
