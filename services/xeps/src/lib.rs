//! The protocol extensions, one file each, and the one ordered list of them.

mod caps;
mod carbons;
mod datetime;
mod delay;
mod disco;
pub mod docs;
mod forward;
mod hints;
mod limits;
mod mam;
mod offline;
mod ping;
mod rsm;
mod sm;
mod stanza_ids;

use session::module::{Event, Mark, Module, Outcome};
use session::spec::Spec;
use xmpp::xml::Child;

/// All extensions, in the order in which they are asked inside a phase.
pub static LIST: &[&dyn Module] = &[
    // What only this server may say is taken out of what others say, before anything believes it.
    &stanza_ids::StanzaIds,
    &delay::Delay,
    &carbons::Guard,
    // The archive before carbons, so that a copy carries the id that the archive gave.
    &mam::Mam,
    // After the archive: only what it did not keep is refused for want of a place.
    &offline::Offline,
    &carbons::Carbons,
    // From here on nothing depends on the order: one module answers a namespace, and the last ones
    // only say what the engine and the building blocks do.
    &disco::Disco,
    &ping::Ping,
    &caps::CAPS,
    &hints::HINTS,
    &sm::SM,
    &forward::FORWARD,
    &rsm::RSM,
    &datetime::DATETIME,
];

/// A session wants copies of the messages of others (XEP-0280).
const CARBONS: Mark = Mark(0);

/// Goes on without the children of a message that are forged, if there are any.
fn strip(event: &Event, out: &mut Outcome, forged: impl Fn(Child<'_>) -> bool) {
    if event.stanza.body.children().any(&forged) {
        let mut stanza = event.stanza.clone();
        stanza.body = stanza.body.without(&forged);
        out.replace(stanza);
    }
}

/// An extension that is done elsewhere: by the engine, or by the building blocks.
struct Stated(Spec);

impl Module for Stated {
    fn spec(&self) -> Spec {
        self.0
    }
}
