//! XMPP's words and grammar: XML, JIDs, namespaces, stanza heads, errors, SCRAM arithmetic,
//! building blocks.

pub mod blocks;
pub mod error;
pub mod jid;
pub mod limits;
pub mod ns;
pub mod scram;
pub mod secret;
pub mod stanza;
pub mod text;
pub mod xml;

pub use jid::Jid;
pub use secret::Secret;
pub use stanza::Stanza;
pub use text::Text;
