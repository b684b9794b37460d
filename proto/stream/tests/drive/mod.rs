//! Drives a client's stream with arbitrary bytes and checks what must hold whatever comes. Used by
//! the fuzz targets, by the replay of their corpus and by the property tests.
//!
//! The input is what the client sends. Its first byte says how the stream begins; control bytes,
//! which XML cannot have, stand for everything else that happens, see [`Drive::event`].

use std::fmt::Write;
use std::sync::Arc;

use stream::c2s::C2s;
use stream::{Answer, Ask, AuthRefusal, BindRefusal, Config, Output, Random, ResumeRefusal};
use stream::{TlsInfo, Transport};
use xmpp::blocks::base64;
use xmpp::error::StreamCondition;
use xmpp::limits::ReadLimits;
use xmpp::scram::{Hash, Keys};
use xmpp::stanza::{Kind, MessageType, Stanza};
use xmpp::xml::Reader;

/// The client's header.
pub(crate) const OPEN: &str = "<stream:stream xmlns='jabber:client' \
    xmlns:stream='http://etherx.jabber.org/streams' to='a.example' version='1.0'>";

/// A stream, its owner, and what is known of them.
struct Drive {
    stream: C2s,
    out: Vec<u8>,
    /// Everything that came out, in order.
    said: String,
    question: Option<Question>,
    /// What was proved: by this the stream may speak for somebody.
    secured: bool,
    verified: bool,
    bound: bool,
    /// The owner's count of both directions.
    received: u64,
    sent: u64,
    handshake: bool,
    closed: bool,
}

/// What the owner, or the CPU pool, was asked and has not answered.
#[derive(Debug)]
enum Question {
    Salt,
    Keys(String),
    Proof,
    Bind,
    Resume,
    Enable,
}

/// Target `c2s`: any order of anything. Gives what came out. `cut` says how many of the client's
/// bytes are handed over next.
pub(crate) fn c2s(data: &[u8], mut cut: impl FnMut(usize) -> usize) -> String {
    let Some((first, mut rest)) = data.split_first() else { return String::new() };
    let mut drive = Drive::new(*first);
    while let Some(next) = rest.first() {
        let is_event = |b: &u8| matches!(b, 1..=8 | 11 | 12 | 14..=18);
        if is_event(next) {
            drive.event(*next);
            drive.settle();
            rest = &rest[1..];
            continue;
        }
        let run = rest.iter().position(is_event).unwrap_or(rest.len());
        let (mut run, after) = rest.split_at(run);
        while !run.is_empty() {
            let (piece, more) = run.split_at(cut(run.len()).clamp(1, run.len()));
            drive.stream.handle_bytes(piece, &mut drive.out);
            run = more;
        }
        drive.settle();
        rest = after;
    }
    drive.said
}

/// Target `sasl`: one message, then another, by each mechanism.
pub(crate) fn sasl(data: &[u8]) {
    let Some((which, rest)) = data.split_first() else { return };
    let mechanism = stream::Mechanism::ALL[usize::from(*which) % stream::Mechanism::ALL.len()];
    let mut parts = rest.splitn(2, |b| *b == 0xff);
    let (first, last) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
    let (first, last) = (base64::encode(first), base64::encode(last));
    let ns = xmpp::ns::SASL;
    let auth = format!("<auth xmlns='{ns}' mechanism='{}'>{first}</auth>", mechanism.name());
    let response = format!("<response xmlns='{ns}'>{last}</response>");
    let all =
        format!("t{OPEN}{auth}\u{2}\u{2}{response}\u{3}{auth}\u{2}\u{2}\u{2}{OPEN}<presence/>");
    c2s(all.as_bytes(), |all| all);
}

impl Drive {
    fn new(first: u8) -> Self {
        let mut config = Config::new(vec!["a.example".into(), "b.example".into()]);
        config.require_tls = first != b'n';
        let transport = match first {
            b't' => Transport::Tls(tls_info()),
            _ => Transport::Plain,
        };
        Self {
            secured: first == b't' || first == b'n',
            stream: C2s::new(Arc::new(config), transport, Random::new([7; Random::BYTES])),
            out: Vec::new(),
            said: String::new(),
            question: None,
            verified: false,
            bound: false,
            received: 0,
            sent: 0,
            handshake: false,
            closed: false,
        }
    }

    fn event(&mut self, event: u8) {
        let out = &mut self.out;
        match event {
            1 => {
                self.secured |= self.handshake;
                self.handshake = false;
                self.stream.handle_tls(tls_info());
            }
            2 => self.agree(),
            3 => self.refuse(),
            4 if self.bound => {
                self.sent += 1;
                self.answer(Answer::Stanza { number: self.sent, stanza: message() });
            }
            5 => self.answer(Answer::Handled { number: self.received }),
            6 => self.stream.handle_written(),
            7 => self.stream.handle_idle(out),
            8 => self.stream.handle_eof(),
            11 => self.stream.handle_shutdown(StreamCondition::SystemShutdown, out),
            // Words of an owner that nobody asked for, or that come too late.
            12 => self.stray(Answer::Verified { signature: "s".into(), generation: 1 }),
            14 => self.stray(Answer::Bound { jid: "juliet@a.example/x".parse().unwrap() }),
            15 => self.stray(Answer::Enabled { id: "id".into(), resume_s: 600 }),
            16 => self.stray(Answer::Challenge { salt: "salt".into(), iterations: 1 }),
            17 => self.stray(Answer::Stanza { number: self.sent + 2, stanza: message() }),
            18 => self.stray(Answer::Close { condition: StreamCondition::Conflict }),
            _ => {}
        }
    }

    fn answer(&mut self, answer: Answer) {
        self.stream.handle_answer(answer, &mut self.out);
    }

    /// The same as an answer that was asked for, where it was.
    fn stray(&mut self, answer: Answer) {
        match (&answer, &self.question) {
            (Answer::Verified { .. }, Some(Question::Proof))
            | (Answer::Bound { .. }, Some(Question::Bind))
            | (Answer::Enabled { .. }, Some(Question::Enable))
            | (Answer::Challenge { .. }, Some(Question::Salt)) => self.agree(),
            _ => self.answer(answer),
        }
    }

    fn agree(&mut self) {
        let jid = "juliet@a.example/x";
        let answer = match self.question.take() {
            None => return,
            Some(Question::Salt) => Answer::Challenge { salt: "salt".into(), iterations: 1 },
            Some(Question::Keys(password)) => {
                let keys = Keys::derive(Hash::Sha256, &password, b"salt", 1);
                return self.stream.handle_derived(keys, &mut self.out);
            }
            Some(Question::Proof) => {
                self.verified = true;
                Answer::Verified { signature: "s".into(), generation: 1 }
            }
            Some(Question::Bind) => {
                self.bound = true;
                Answer::Bound { jid: jid.parse().unwrap() }
            }
            Some(Question::Resume) => {
                self.bound = true;
                let wrap = u64::from(u32::MAX) - 1;
                (self.received, self.sent) = (wrap, wrap);
                let (handled, taken) = (wrap, wrap);
                Answer::Resumed { id: "id".into(), jid: jid.parse().unwrap(), handled, taken }
            }
            Some(Question::Enable) => {
                (self.received, self.sent) = (0, 0);
                Answer::Enabled { id: "id".into(), resume_s: 600 }
            }
        };
        self.answer(answer);
    }

    fn refuse(&mut self) {
        // Nobody refuses to enable: that question stays open.
        if matches!(self.question, Some(Question::Enable)) {
            return;
        }
        let answer = match self.question.take() {
            None | Some(Question::Enable) => return,
            Some(Question::Salt | Question::Keys(_) | Question::Proof) => {
                Answer::Refused(AuthRefusal::NotAuthorized)
            }
            Some(Question::Bind) => Answer::BindRefused(BindRefusal::ResourceConstraint),
            Some(Question::Resume) => {
                Answer::ResumeFailed { why: ResumeRefusal::ItemNotFound, handled: Some(7) }
            }
        };
        self.answer(answer);
    }

    /// Takes all that came out and checks it.
    fn settle(&mut self) {
        if self.closed {
            assert!(self.out.is_empty(), "words after the end");
            assert!(self.stream.poll().is_none(), "deeds after the end");
            return;
        }
        let out = String::from_utf8(std::mem::take(&mut self.out)).expect("UTF-8");
        self.said += &out;
        while let Some(output) = self.stream.poll() {
            assert!(!self.closed, "nothing comes after the end: {output:?}");
            let _ = writeln!(self.said, "\n{output:?}");
            self.handle(output);
        }
        assert_eq!(self.closed, self.stream.is_closed());
        if self.closed || self.said.contains("</stream:stream>") {
            assert!(self.closed, "who says goodbye closes");
            self.check_words();
        }
    }

    fn handle(&mut self, output: Output) {
        let question = match output {
            Output::Close => {
                self.closed = true;
                return;
            }
            Output::StartTls => {
                assert!(!self.verified);
                self.handshake = true;
                return;
            }
            Output::Derive { password, .. } => {
                Question::Keys(password.expose_str().expect("a password is text").into())
            }
            Output::Ask(ask) => match self.judge(ask) {
                Some(question) => question,
                None => return,
            },
        };
        assert!(self.question.is_none(), "one question at a time: {question:?}");
        self.question = Some(question);
    }

    /// Security cases 12 and 57: nothing is accepted before its time.
    fn judge(&mut self, ask: Ask) -> Option<Question> {
        match &ask {
            Ask::Challenge { account, .. } | Ask::Verify { account, .. } => {
                assert!(self.secured && !self.verified, "{ask:?}");
                // Security case 32: nobody logs in outside of the stream's domain.
                assert_eq!((account.domain(), account.is_bare()), ("a.example", true));
            }
            Ask::Bind { .. } | Ask::Resume { .. } => {
                assert!(self.secured && self.verified && !self.bound, "{ask:?}");
            }
            Ask::Enable { .. } | Ask::Taken { .. } | Ask::Ended => {
                assert!(self.secured && self.verified && self.bound, "{ask:?}");
            }
            Ask::Stanza { number, .. } | Ask::Judged { number, .. } => {
                assert!(self.secured && self.verified && self.bound, "{ask:?}");
                self.received += 1;
                assert_eq!(*number, self.received, "without gaps");
            }
        }
        match ask {
            Ask::Challenge { .. } => Some(Question::Salt),
            Ask::Verify { .. } => Some(Question::Proof),
            Ask::Bind { .. } => Some(Question::Bind),
            Ask::Resume { .. } => Some(Question::Resume),
            Ask::Enable { .. } => Some(Question::Enable),
            Ask::Taken { number } => {
                assert!(number <= self.sent);
                None
            }
            Ask::Stanza { .. } | Ask::Judged { .. } | Ask::Ended => None,
        }
    }

    /// What the stream wrote is XML that our own reader takes.
    fn check_words(&self) {
        let is_word = |line: &&str| line.starts_with('<');
        let words: Vec<&str> = self.said.split('\n').filter(is_word).collect();
        for stream in words.concat().split("<?xml version='1.0'?>").skip(1) {
            let mut reader = Reader::new(ReadLimits::OWN);
            let mut rest = stream.as_bytes();
            loop {
                match reader.read(&mut rest) {
                    Ok(Some(_)) => {}
                    Ok(None) => break,
                    Err(error) => panic!("{error:?} in {stream}"),
                }
            }
            assert!(reader.is_at_rest(), "half an element: {stream}");
        }
    }
}

fn tls_info() -> TlsInfo {
    TlsInfo { tls_exporter: Some([7; 32]), server_end_point: Some("hash".into()) }
}

fn message() -> Stanza {
    Stanza::new(Kind::Message(MessageType::Chat))
}
