//! An operator's requests about one account.

use peer::SessionId;
use xmpp::error::StreamCondition;
use xmpp::scram::Verifier;

use super::Turn;
use crate::admin::{Failure, Reply, Request};
use crate::deletion;
use crate::keys::{self, tag};
use crate::rows::{self, AccountRow};
use crate::shard::Effect;

impl Turn<'_, '_> {
    /// Carries out a request; the answer waits until it is durable.
    pub(super) fn admin(&mut self, ticket: u64, request: Request) {
        let result = match request {
            Request::Delete { .. } => self.delete_account(ticket),
            request => self.carry_out(request).map(|()| Some(Reply::Done)),
        };
        let reply = match result {
            Ok(Some(reply)) => reply,
            // It is given in the end.
            Ok(None) => return,
            Err(failure) => Reply::Failed(failure),
        };
        let after = self.account.dirty;
        if self.core.passes(after) {
            self.core.out.push_back(crate::shard::Output::Admin(ticket, reply));
        } else {
            self.core.commits.hold(after, Effect::Admin(ticket, reply));
        }
    }

    fn is_account(&self) -> Result<(), Failure> {
        if !self.core.config.serves(&self.account.jid) {
            return Err(Failure::NotServed);
        }
        if self.account.jid.local().is_none() {
            return Err(Failure::NotAnAccount);
        }
        Ok(())
    }

    fn carry_out(&mut self, request: Request) -> Result<(), Failure> {
        self.is_account()?;
        match request {
            Request::Add { verifiers, .. } => self.add_account(&verifiers),
            Request::SetPassword { verifiers, .. } => {
                self.raise(|_| {})?;
                self.set_verifiers(&verifiers);
                Ok(())
            }
            Request::Disable { .. } => self.raise(|row| row.disabled = true),
            Request::Enable { .. } => {
                let mut row = self.account.row.clone().ok_or(Failure::NotFound)?;
                row.disabled = false;
                self.set_row(*row);
                Ok(())
            }
            Request::Delete { .. } | Request::List { .. } => Err(Failure::NotAnAccount),
        }
    }

    fn add_account(&mut self, verifiers: &[Verifier]) -> Result<(), Failure> {
        if self.account.exists() {
            return Err(Failure::Exists);
        }
        if self.account.deleting {
            return Err(Failure::Deleting);
        }
        let row = AccountRow {
            jid: self.account.jid.clone(),
            disabled: false,
            deleted: false,
            // Above that of an account of the same name that was deleted: its logins bind nothing
            // here.
            generation: self.core.next_id(),
            created_us: self.core.now,
        };
        self.set_row(row);
        self.set_verifiers(verifiers);
        Ok(())
    }

    fn set_row(&mut self, row: AccountRow) {
        let value = row.encode();
        self.set(self.account.entity.key(tag::ACCOUNT, &[]), value.clone());
        self.set(keys::directory(&row.jid), value);
        self.account.row = Some(Box::new(row));
    }

    fn set_verifiers(&mut self, verifiers: &[Verifier]) {
        let key = self.account.entity.key(tag::CREDENTIALS, &[]);
        self.set(key, rows::encode_verifiers(verifiers));
    }

    /// Raises the session generation and ends all sessions.
    fn raise(&mut self, change: impl FnOnce(&mut AccountRow)) -> Result<(), Failure> {
        let mut row = self.account.row.clone().ok_or(Failure::NotFound)?;
        row.generation += 1;
        change(&mut row);
        self.set_row(*row);
        self.end_all();
        Ok(())
    }

    fn end_all(&mut self) {
        let all: Vec<SessionId> = self.account.sessions().map(|session| session.id).collect();
        for id in all {
            self.cut(id, StreamCondition::NotAuthorized);
            self.end(id);
        }
    }

    /// Deletes the account and every row of it. The answer is given when nothing is left.
    fn delete_account(&mut self, ticket: u64) -> Result<Option<Reply>, Failure> {
        self.is_account()?;
        if !self.account.deleting {
            let mut row = self.account.row.clone().ok_or(Failure::NotFound)?;
            self.end_all();
            row.deleted = true;
            self.set_row(*row);
            self.delete(self.account.entity.key(tag::CREDENTIALS, &[]));
            self.account.row = None;
            self.leave_contacts();
            self.account.slots = Default::default();
            self.account.inbox = Default::default();
            self.account.passing = Default::default();
            self.account.days = Default::default();
            self.account.deleting = true;
        }
        deletion::begin(self.core, &self.account.jid, self.account.entity, Some(ticket));
        Ok(None)
    }
}
