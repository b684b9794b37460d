//! A small server for tests, and the dialogues that are held with it.
//!
//! [`Server`] runs workers, an in-memory store and clients in one thread, step by step; nothing in
//! it waits for a clock. [`play`] reads dialogues like this one:
//!
//! ```text
//! ## a message waits for its reader
//! given alice, bob
//! alice/phone logs in
//! alice/phone gets <presence from='alice@a/phone'/>
//! alice/phone sends <message to='bob@a' type='chat'><body>hi</body></message>
//! given bob/laptop logs in
//! bob/laptop gets nothing
//! ```
//!
//! Each line is one thing that somebody does, carried through to its end, or one thing that a
//! client gets, in order; nothing that it gets may be left out. After `given`, what comes of it is
//! not looked at. A line that begins with three spaces goes on with the one before. All accounts
//! are on the domain `a`. In XML that is expected, `{any}` stands for any value or text, `{name}`
//! for one that is the same everywhere in the dialogue, and `{...}` for any content; of the
//! outermost element only `type` and what is written there is compared.
//!
//! Each dialogue is held several times: with one worker and with more, with a store that answers at
//! once and with one that answers when there is nothing else to do, and with all that is under way
//! in random order.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a test says what is wrong by failing"
)]

mod client;
mod order;
mod pattern;
mod script;
mod server;

pub use self::client::{Client, Happened};
pub use self::order::Order;
pub use self::pattern::{Names, matches, stanza};
pub use self::script::play;
pub use self::server::Server;
