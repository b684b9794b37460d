//! One XML stream as a state machine: negotiation, SASL, binding, stream management, framing.
//!
//! Nothing here reads a socket, a clock or a random source. [`c2s::C2s`] is one client's stream:
//! bytes of the client and answers of the account's owner go in by `handle_*`; bytes for the client
//! and [`Output`]s come out.
//!
//! ```text
//! Plain ─ header ─ starttls ─┐
//! Tls ───────────────────────┴─ header ─ SASL ─ header ─ bind or resume ─ session
//! ```
//!
//! Where the next parts go: SASL2, Bind 2 and FAST (XEP-0388, 0386, 0484) are further `Expect…`
//! states beside those in `c2s/auth.rs`, ending in the same proof values; WebSocket and BOSH differ
//! only in what `framing.rs` writes; streams between servers are a module `s2s` beside [`c2s`].

mod answer;
mod ask;
pub mod c2s;
mod config;
mod features;
mod framing;
pub mod limits;
mod sasl;
mod sm;

pub use answer::{Answer, AuthRefusal, BindRefusal, ResumeRefusal};
pub use ask::{Ask, Output};
pub use config::{Config, Feature, Random, StreamManagement, TlsInfo, Transport};
pub use sasl::Mechanism;
