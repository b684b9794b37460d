//! Who is let in while many want to: decided before a connection costs anything, and again before
//! its login costs its account's owner anything (design: "Overload").
//!
//! What is counted is work that clients wait for, not clients that we wait for: questions of logins
//! that owners have not answered, and passwords that wait for a CPU. They grow when the server is
//! slower than its clients come, whatever is slow, and a client that stalls holds nothing of it.
//! Only who begins is refused: whoever got his first answer is let through to his session.

use crate::limits::{ARRIVING_MIN, DERIVATIONS_BUSY, RETURNING_SHARE};

/// How many are on their way in.
#[derive(Debug)]
pub(crate) struct Admission {
    arriving_max: u64,
    logins_max: u64,
    /// Connections without a session.
    arriving: u64,
    /// Of these, with a question at an owner.
    asking: u64,
}

/// Where one connection is on its way in.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Pass {
    stage: Stage,
    /// It has been here before, and most likely has a session to resume: its TLS was resumed.
    returning: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Arriving,
    Asking,
    Inside,
}

impl Pass {
    /// Its TLS is there.
    pub(crate) fn has_tls(&mut self, resumed: bool) {
        self.returning = resumed;
    }

    /// Whether it waits for an owner.
    pub(crate) fn is_asking(self) -> bool {
        self.stage == Stage::Asking
    }
}

impl Admission {
    /// At most half of the node's connections may be without a session, or those who never log in
    /// would take the places of all others.
    pub(crate) fn new(connections_max: u64, logins_max: u64) -> Self {
        let arriving_max = (connections_max / 2).max(ARRIVING_MIN);
        Self { arriving_max, logins_max, arriving: 0, asking: 0 }
    }

    /// A socket was accepted, while so many passwords wait for a CPU. `None`: it is to be closed.
    ///
    /// Nobody knows yet what it wants: even when no login may begin, as many may come as there may
    /// be questions, for some of them resume sessions.
    pub(crate) fn arrives(&mut self, derivations: usize) -> Option<Pass> {
        let busy = self.asking >= self.room(false) || derivations >= DERIVATIONS_BUSY;
        let most = if busy { self.logins_max.min(self.arriving_max) } else { self.arriving_max };
        if self.arriving >= most {
            return None;
        }
        self.arriving += 1;
        Some(Pass { stage: Stage::Arriving, returning: false })
    }

    /// Its first question: a login begins. `false`: not now.
    pub(crate) fn begins(&mut self, pass: &mut Pass) -> bool {
        let has_room = self.asking < self.room(pass.returning);
        if has_room {
            self.asks(pass);
        }
        has_room
    }

    /// A further question of a login that has begun.
    pub(crate) fn asks(&mut self, pass: &mut Pass) {
        if pass.stage == Stage::Arriving {
            pass.stage = Stage::Asking;
            self.asking += 1;
        }
    }

    /// The owner has answered.
    pub(crate) fn answered(&mut self, pass: &mut Pass) {
        if pass.stage == Stage::Asking {
            pass.stage = Stage::Arriving;
            self.asking -= 1;
        }
    }

    /// It has a session, or is gone.
    pub(crate) fn leaves(&mut self, pass: &mut Pass) {
        self.answered(pass);
        if pass.stage == Stage::Arriving {
            pass.stage = Stage::Inside;
            self.arriving -= 1;
        }
    }

    /// How many questions there may be when one more login begins: a share is for who returns.
    fn room(&self, returning: bool) -> u64 {
        match returning {
            true => self.logins_max,
            false => self.logins_max - self.logins_max / RETURNING_SHARE,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// So many that came and have begun.
    fn begun(admission: &mut Admission, count: u64, returning: bool) -> Vec<Pass> {
        let begin = |_| {
            let mut pass = admission.arrives(0).expect("room");
            pass.has_tls(returning);
            assert!(admission.begins(&mut pass));
            pass
        };
        (0..count).map(begin).collect()
    }

    #[test]
    fn half_of_all_connections_may_be_on_their_way_in() {
        for (connections_max, most) in [(10_000, 5_000), (2, ARRIVING_MIN)] {
            let mut admission = Admission::new(connections_max, 10_000);
            let mut passes: Vec<_> =
                (0..most).map(|_| admission.arrives(0).expect("room")).collect();
            assert!(admission.arrives(0).is_none());
            admission.leaves(&mut passes[0]);
            admission.leaves(&mut passes[0]);
            assert!(admission.arrives(0).is_some(), "one has a session");
            assert!(admission.arrives(0).is_none(), "and only one");
        }
    }

    #[test]
    fn a_share_of_all_logins_is_for_who_returns() {
        let mut admission = Admission::new(10_000, 8);
        let mut fresh = begun(&mut admission, 6, false);
        let mut pass = admission.arrives(0).expect("room");
        assert!(!admission.begins(&mut pass) && !pass.is_asking());
        let _returning = begun(&mut admission, 1, true);
        pass.has_tls(true);
        assert!(admission.begins(&mut pass), "the eighth");
        let mut one_more = Pass { stage: Stage::Arriving, returning: true };
        assert!(!admission.begins(&mut one_more), "the ninth");
        // One goes on: it is let through even when all are busy again.
        admission.answered(&mut fresh[0]);
        assert!(admission.begins(&mut one_more));
        admission.asks(&mut fresh[0]);
        assert_eq!(admission.asking, 9);
    }

    #[test]
    fn as_many_may_come_as_may_ask_when_no_login_may_begin() {
        let mut admission = Admission::new(10_000, 8);
        let mut asking = begun(&mut admission, 6, false);
        assert!(admission.arrives(0).is_some() && admission.arrives(0).is_some());
        assert!(admission.arrives(0).is_none(), "the ninth");
        admission.answered(&mut asking[0]);
        assert!(admission.arrives(0).is_some(), "a login may begin");
        assert!(admission.begins(&mut asking[0]));
        assert!(admission.arrives(0).is_none());
        // Those that are in leave room too.
        asking.iter_mut().take(2).for_each(|pass| admission.leaves(pass));
        assert_eq!((admission.arriving, admission.asking), (7, 4));
    }

    #[test]
    fn passwords_that_wait_for_a_cpu_hold_others_back() {
        let mut admission = Admission::new(10_000, 8);
        for _ in 0..8 {
            assert!(admission.arrives(DERIVATIONS_BUSY).is_some());
        }
        assert!(admission.arrives(DERIVATIONS_BUSY).is_none());
        assert!(admission.arrives(DERIVATIONS_BUSY - 1).is_some());
    }

    #[test]
    fn who_is_gone_counts_nowhere() {
        let mut admission = Admission::new(10_000, 8);
        let mut passes = begun(&mut admission, 6, false);
        for pass in &mut passes {
            admission.leaves(pass);
            admission.answered(pass);
            admission.asks(pass);
        }
        assert_eq!((admission.arriving, admission.asking), (0, 0));
    }
}
