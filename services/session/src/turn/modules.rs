//! Running the modules of a phase, and carrying out what they want.

use kv::{ReadError, Rows};
use xmpp::error::Condition;

use super::Turn;
use crate::account::State;
use crate::limits;
use crate::module::{Cx, Draft, Event, Op, Outcome, Phase, Verdict};
use crate::recent::Known;
use crate::session::InLog;
use crate::shard::{Again, Step, Ticket};

/// What a phase has come to.
pub(super) enum Flow {
    /// Every module passed.
    Pass,
    /// A module has dealt with the stanza, or refused it.
    Done,
    /// A module waits for rows; the rest follows when they come.
    Waits,
}

impl Turn<'_, '_> {
    /// Runs a phase whose modules never ask for rows and never end it.
    pub(super) fn run(&mut self, at: Phase, mut event: Event) -> Event {
        let mut index = 0;
        while let Some(module) = self.core.config.clone().modules.at(at, index) {
            let mut out = Outcome::default();
            module.decide(at, &event, &self.cx(&[]), &mut out);
            self.apply(out, &mut event);
            index += 1;
        }
        event
    }

    /// Runs a phase from one of its modules on. `rows`: what that module has asked for so far.
    pub(super) fn phase(
        &mut self,
        step: Step,
        event: &mut Event,
        from: usize,
        rows: Vec<Rows>,
    ) -> Flow {
        let at = step.phase();
        let config = self.core.config.clone();
        let mut rows = rows;
        let mut index = from;
        while let Some(module) = config.modules.at(at, index) {
            let mut out = Outcome::default();
            let verdict = module.decide(at, event, &self.cx(&rows), &mut out);
            match verdict {
                Verdict::Again(reads) if rows.len() < limits::ROUNDS_MAX => {
                    let blocks = at != Phase::Iq;
                    if blocks {
                        self.account.state = State::Busy;
                    }
                    let account = self.account.jid.clone();
                    let event = event.clone();
                    let again = Again { account, step, event, index, rows, blocks };
                    self.core.read(Ticket::Again(Box::new(again)), reads);
                    return Flow::Waits;
                }
                Verdict::Again(_) => {
                    // A module that never has enough is a bug; its stanza pays for it, nothing else
                    // does.
                    self.bounce(&event.stanza, Condition::InternalServerError);
                    return Flow::Done;
                }
                Verdict::Refuse(error) => {
                    self.bounce(&event.stanza, error);
                    return Flow::Done;
                }
                Verdict::Done => {
                    self.apply(out, event);
                    return Flow::Done;
                }
                Verdict::Pass => self.apply(out, event),
            }
            rows = Vec::new();
            index += 1;
            if at == Phase::Iq {
                // One module answers a namespace; the next ones are not asked.
                break;
            }
        }
        Flow::Pass
    }

    /// The rows have come that a module asked for.
    pub(crate) fn again(&mut self, again: Again, found: Result<Rows, ReadError>) {
        let Again { step, mut event, index, mut rows, blocks, .. } = again;
        let Ok(found) = found else {
            self.bounce(&event.stanza, Condition::InternalServerError);
            self.finish(step, &event, Flow::Done);
            if blocks {
                self.unblock();
            }
            return;
        };
        if blocks {
            self.account.state = State::Ready;
        }
        rows.push(found);
        let next = step.clone();
        let flow = self.phase(step, &mut event, index, rows);
        self.finish(next, &event, flow);
        if blocks && self.account.state == State::Ready {
            self.core.ready.push_back(self.account.jid.clone());
        }
    }

    /// Goes on behind a phase.
    pub(super) fn finish(&mut self, step: Step, event: &Event, flow: Flow) {
        match (flow, step) {
            (Flow::Waits, _) => {}
            (flow, Step::Outbound(number)) => self.sent(number, event, matches!(flow, Flow::Pass)),
            (flow, Step::Inbound(arrival)) => {
                self.came(*arrival, event.clone(), matches!(flow, Flow::Pass));
            }
            (flow, Step::Iq(number)) => {
                if matches!(flow, Flow::Pass) {
                    self.bounce(&event.stanza, Condition::ServiceUnavailable);
                }
                self.asked(number, event);
            }
        }
    }

    fn cx<'c>(&'c self, rows: &'c [Rows]) -> Cx<'c> {
        Cx {
            now: self.core.now,
            account: self.account,
            config: &self.core.config,
            rows,
            last_id: self.core.last_id,
        }
    }

    fn apply(&mut self, out: Outcome, event: &mut Event) {
        for op in out.ops {
            match op {
                Op::Log(draft) => self.log(draft, event),
                Op::Set(key, value) => self.set(key, value),
                Op::Delete(key) => self.delete(key),
                Op::Replace(stanza) => event.stanza = stanza,
                Op::Deliver(session, stanza) => self.deliver(session, stanza, copied(event)),
                Op::Reply(stanza) => self.answer(stanza),
                Op::Slot(id, value) => self.account.slots.set(id, value),
                Op::Mark(id, mark, set) => {
                    if let Some(session) = self.account.session_mut(id) {
                        session.marks.set(mark, set);
                        session.changed = true;
                    }
                }
            }
        }
    }

    /// Puts an event's message into the account's log.
    fn log(&mut self, draft: Draft, event: &mut Event) {
        let stanza = &event.stanza;
        let (Some(from), Some(to)) = (&stanza.from, &stanza.to) else { return };
        let (from, to) = (from.clone(), to.clone());
        let outgoing = event.own_session().is_some();
        let Some(mut row) = crate::rows::LogRow::of(stanza, from.as_str(), to.as_str()) else {
            return;
        };
        row.outgoing = outgoing;
        row.archived = draft.archived;
        row.offline = draft.offline && !outgoing;
        row.ingest = event.ingest;
        if let Some(id) = event.own_session()
            && let Some(session) = self.account.session(id)
        {
            row.confirmed = session.inbound.durable();
        }
        let id = self.core.next_id();
        if let Some(recent) = &mut self.account.recent
            && let Some(known) = Known::of(&row, &self.core.config.hash)
        {
            recent.insert(id, known);
        }
        let value = row.encode();
        if !outgoing && self.may_pass(draft, event) {
            self.pass_by(id, value);
        } else {
            // What came before is not behind it, whatever happens next.
            self.write_passing();
            self.set(self.account.entity.log(id), value);
            if row_waits(draft, outgoing) && !draft.archived {
                self.account.passing.written(id);
            }
        }
        if draft.archived {
            let contact = if outgoing { &to } else { &from };
            let contact = crate::keys::Entity::of(&self.core.config.hash, contact);
            let day = crate::keys::day(id);
            if self.account.days.first(day, contact) {
                let key = self.account.entity.contact_day(&contact, day);
                self.set(key, crate::rows::encode_mark());
            }
        }
        event.stored = Some(id);
        event.archived = draft.archived;
        event.offline = row_waits(draft, outgoing);
    }
}

/// What of the log a stanza is that a module gives to a session because of an event. Where nobody
/// gets the message itself, a copy is no delivery: the message waits.
fn copied(event: &Event) -> InLog {
    match event.stored {
        Some(id) if event.offline && !event.targets.is_empty() => InLog::Copy(id),
        _ => InLog::No,
    }
}

fn row_waits(draft: Draft, outgoing: bool) -> bool {
    draft.offline && !outgoing
}
