//! A module that panics when it is told to: the engine's own code has no such place to reach for.

use std::cell::Cell;
use std::panic::resume_unwind;
use std::sync::OnceLock;

use session::module::{Cx, Event, Module, Outcome, Phase, Verdict};
use session::spec::Spec;

thread_local! {
    /// How often the module is still asked before it panics. A run stays in one thread.
    static FUSE: Cell<Option<u64>> = const { Cell::new(None) };
}

/// Sets the fuse: the module panics when it is asked after it was asked so often.
pub(super) fn arm(steps: Option<u64>) {
    FUSE.set(steps);
}

/// All extensions with a bomb before them and one behind, so that decisions are cut off both before
/// anything came of them and with the archive's row written.
pub(super) fn list() -> &'static [&'static dyn Module] {
    static LIST: OnceLock<Vec<&'static dyn Module>> = OnceLock::new();
    LIST.get_or_init(|| {
        let bomb: &[&dyn Module] = &[&Bomb];
        [bomb, xeps::LIST, bomb].concat()
    })
}

struct Bomb;

impl Module for Bomb {
    fn spec(&self) -> Spec {
        Spec::new(0, "a bomb", "0")
    }

    fn phases(&self) -> &'static [Phase] {
        &[Phase::Outbound, Phase::Inbound, Phase::Deliver, Phase::Close]
    }

    fn decide(&self, _at: Phase, _event: &Event, _cx: &Cx<'_>, _out: &mut Outcome) -> Verdict {
        match FUSE.get() {
            None => {}
            Some(0) => {
                FUSE.set(None);
                // Not `panic!`: nobody is to read of it.
                resume_unwind(Box::new("the bomb"));
            }
            Some(steps) => FUSE.set(Some(steps - 1)),
        }
        Verdict::Pass
    }
}
