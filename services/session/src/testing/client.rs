//! A client as tests know it: one resource, its stream's numbers, what it has got and not looked
//! at.

use std::collections::VecDeque;

use peer::{BindRefusal, ConnId, Down, ResumeRefusal, SessionId};
use xmpp::error::StreamCondition;
use xmpp::jid::Jid;
use xmpp::stanza::{Kind, PresenceType, Stanza};

use crate::attachment::{Addressed, Attachment};

/// Something that happened to a client.
#[derive(Clone, Debug)]
pub enum Happened {
    /// A stanza came.
    Stanza(Stanza),
    /// The resource is bound.
    Bound(Jid),
    /// It is not.
    BindRefused(BindRefusal),
    /// Stream management is on.
    Enabled,
    /// The session goes on; the server has this many of the client's stanzas.
    Resumed(u64),
    /// It does not; the server says how many of the client's stanzas it has, if it knows.
    NotResumed(ResumeRefusal, Option<u64>),
    /// The stream was closed.
    Closed(StreamCondition),
}

/// A client.
pub struct Client {
    /// Its full JID.
    pub jid: Jid,
    /// The edge's half, while there is a connection.
    pub(super) half: Option<Attachment>,
    /// What has happened and was not looked at.
    pub happened: VecDeque<Happened>,
    /// Stream management is on.
    pub managed: bool,
    /// The session, for resuming it.
    pub session: Option<SessionId>,
    /// How many of the server's stanzas it has (XEP-0198 §4).
    pub received: u64,
    /// The number of the last stanza that it sent.
    pub sent: u64,
    /// What it sent and the server has not confirmed, oldest first.
    pub unconfirmed: VecDeque<(u64, Stanza)>,
    /// It confirms what it gets.
    pub confirms: bool,
    /// Its connection looks alive, but nothing comes through any more.
    pub deaf: bool,
    /// Its connection looks alive, but nothing that it sends gets through any more.
    pub mute: bool,
    /// Its socket was lost while a resumption was possible.
    pub resumable: bool,
    /// It does by itself what a good client does: binds where it cannot resume, turns stream
    /// management on, says that it is there, and sends again what is not confirmed.
    pub persists: bool,
    /// What it sends as soon as it can.
    pub rest: VecDeque<Stanza>,
    /// The session that it has bound and not yet turned stream management on for.
    bound: Option<SessionId>,
}

impl Client {
    pub(super) fn new(jid: Jid) -> Self {
        Self {
            jid,
            half: None,
            happened: VecDeque::new(),
            managed: false,
            session: None,
            received: 0,
            sent: 0,
            unconfirmed: VecDeque::new(),
            confirms: true,
            deaf: false,
            mute: false,
            resumable: false,
            persists: false,
            rest: VecDeque::new(),
            bound: None,
        }
    }

    /// Its connection, while there is one.
    pub fn conn(&self) -> Option<ConnId> {
        self.half.as_ref().map(Attachment::conn)
    }

    /// The stanzas that it got and that were not looked at, with everything else.
    pub fn look(&mut self) -> Vec<Happened> {
        self.happened.drain(..).collect()
    }

    /// Sends a stanza, or keeps it if there is no connection.
    pub(super) fn send(&mut self, stanza: Stanza) -> Option<Addressed> {
        if self.persists && !self.managed {
            self.rest.push_back(stanza);
            return None;
        }
        self.sent += 1;
        let frame = self.half.as_mut().and_then(|half| half.stanza(self.sent, stanza.clone()));
        self.unconfirmed.push_back((self.sent, stanza));
        frame.filter(|_| !self.mute)
    }

    /// Hears what the owner says. Returns what the edge answers at once.
    pub(super) fn hear(&mut self, frame: Down) -> Vec<Addressed> {
        if self.deaf {
            return Vec::new();
        }
        let Some(half) = self.half.as_mut() else { return Vec::new() };
        if !half.hear(&frame) {
            return Vec::new();
        }
        match frame {
            Down::Stanza { number, stanza, .. } => {
                assert_eq!(number, self.received + 1, "{}: a number was left out", self.jid);
                self.received = number;
                self.happened.push_back(Happened::Stanza(stanza));
                let confirmed = self.confirms.then(|| half.taken(number)).flatten();
                return confirmed.into_iter().collect();
            }
            Down::Bound { session, jid, .. } => {
                self.received = 0;
                self.happened.push_back(Happened::Bound(jid));
                if self.persists {
                    self.bound = Some(session);
                    return self.manage().into_iter().collect();
                }
                self.session = Some(session);
            }
            Down::BindRefused(why) => self.happened.push_back(Happened::BindRefused(why)),
            Down::Enabled { resume_s, .. } => {
                // The server counts from `<enabled/>` on (XEP-0198 §4).
                self.received = 0;
                self.managed = true;
                self.resumable = resume_s > 0;
                self.happened.push_back(Happened::Enabled);
                if self.persists {
                    // Until here, the session before is the one that it would resume.
                    self.session = self.bound.take();
                    let presence = Stanza::new(Kind::Presence(PresenceType::Available));
                    return self.send(presence).into_iter().chain(self.send_rest()).collect();
                }
            }
            Down::Handled { number } => self.confirm(number),
            Down::Resumed { session, handled, taken, .. } => {
                assert!(taken <= self.received, "{}: more taken than there was", self.jid);
                self.session = Some(session);
                self.confirm(handled);
                self.managed = true;
                self.happened.push_back(Happened::Resumed(handled));
                let again = self.send_again(handled);
                return again.into_iter().chain(self.send_rest()).collect();
            }
            Down::ResumeFailed { why, handled } => {
                // A second answer for the same session says nothing new.
                if let Some(handled) = handled.filter(|_| self.managed) {
                    self.confirm(handled);
                }
                self.happened.push_back(Happened::NotResumed(why, handled));
                if self.persists {
                    return self.bind().into_iter().collect();
                }
                self.session = None;
            }
            Down::Close { condition } => {
                self.half = None;
                self.happened.push_back(Happened::Closed(condition));
            }
            // Logins are not the clients', and snapshots not for them.
            _ => {}
        }
        Vec::new()
    }

    /// Asks for its resource. What is not confirmed waits until it is there again.
    pub(super) fn bind(&mut self) -> Option<Addressed> {
        self.managed = false;
        let resource = self.jid.resource().map(xmpp::text::Text::from);
        self.half.as_mut()?.bind(resource)
    }

    /// Turns stream management on in a new session.
    fn manage(&mut self) -> Option<Addressed> {
        let unconfirmed: Vec<Stanza> = self.take_unconfirmed();
        for stanza in unconfirmed.into_iter().rev() {
            // Each session says for itself that it is there.
            if !matches!(stanza.kind, Kind::Presence(PresenceType::Available)) {
                self.rest.push_front(stanza);
            }
        }
        self.enable(true)
    }

    fn send_rest(&mut self) -> Vec<Addressed> {
        let rest = std::mem::take(&mut self.rest);
        rest.into_iter().filter_map(|stanza| self.send(stanza)).collect()
    }

    fn confirm(&mut self, number: u64) {
        assert!(number <= self.sent, "{}: confirmed what was not sent", self.jid);
        while self.unconfirmed.pop_front_if(|(sent, _)| *sent <= number).is_some() {}
    }

    /// After `handled`, the client sends the rest again (XEP-0198 §5).
    fn send_again(&mut self, handled: u64) -> Vec<Addressed> {
        self.sent = handled;
        let rest: Vec<Stanza> = self.unconfirmed.drain(..).map(|(_, stanza)| stanza).collect();
        rest.into_iter().filter_map(|stanza| self.send(stanza)).collect()
    }

    /// Stream management begins: both sides count from 1.
    pub(super) fn enable(&mut self, resume: bool) -> Option<Addressed> {
        self.sent = 0;
        self.unconfirmed.clear();
        self.half.as_mut()?.enable(resume)
    }

    /// The socket is gone. Returns what the edge says, if it notices.
    pub(super) fn lose(&mut self) -> Option<Addressed> {
        (self.deaf, self.mute) = (false, false);
        let lost = self.half.take()?.lost();
        self.bound = None;
        if !self.resumable && !self.persists {
            self.session = None;
        }
        lost
    }

    /// What it had sent and is not confirmed, to be sent in another session.
    pub(super) fn take_unconfirmed(&mut self) -> Vec<Stanza> {
        self.unconfirmed.drain(..).map(|(_, stanza)| stanza).collect()
    }
}
