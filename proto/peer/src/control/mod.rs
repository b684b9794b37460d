//! The control plane as a pure state machine: members, the shard map, domains, settings, gates.

pub mod map;
pub mod member;

pub use map::{Behind, Change, Delta, Feed, Hold, Map, MapSaid, Slot};
pub use member::{Fingerprint, Member, Standing};
