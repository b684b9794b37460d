//! Dialogues: scripts of what a client and an owner say to a stream, with all that it says and
//! does.
//!
//! ```text
//! ## title              a new dialogue, on a stream at its beginning
//! given …               what to begin with, see `Dialogue::given`
//! C: bytes              from the client; lines that follow behind three spaces belong to it
//! S: bytes              what the stream writes; nothing is left out
//! -> output             what `poll` gives; nothing is left out
//! <- answer             from the owner
//! tls, written, …       other inputs, see `Dialogue::input`
//! ```
//!
//! `{b64:…}` stands for base64 of its text (`\0` is NUL), `{open}` for the client's header,
//! `{header N}` for the server's with the N-th random text, `{sasl}` and the like for namespaces.
//! Each dialogue is played as it is written and again with the client's bytes one by one: nothing
//! may differ (`uncut` exempts one).

use std::sync::Arc;

use stream::c2s::C2s;
use stream::{
    Answer, Ask, AuthRefusal, BindRefusal, Config, Output, Random, ResumeRefusal, TlsInfo,
    Transport,
};
use xmpp::blocks::base64;
use xmpp::error::StreamCondition;
use xmpp::ns;
use xmpp::scram::client::ExpectServerFirst;
use xmpp::scram::message::Binding;
use xmpp::scram::{Hash, Keys, Verifier};
use xmpp::stanza::Stanza;
use xmpp::xml::{Item, Reader};

pub(crate) const OPEN: &str = "<stream:stream xmlns='jabber:client' \
    xmlns:stream='http://etherx.jabber.org/streams' to='a.example' version='1.0'>";
pub(crate) const EXPORTER: [u8; 32] = [7; 32];
pub(crate) const END_POINT: &[u8] = b"hash of the certificate";
pub(crate) const SALT: &[u8] = b"salt";
pub(crate) const PASSWORD: &str = "pencil";

/// Plays all dialogues of a file.
pub(crate) fn play(file: &str) {
    let mut played = 0;
    for dialogue in file.split("\n## ").skip(1) {
        let (title, script) = dialogue.split_once('\n').unwrap();
        for cut in [false, true] {
            if cut && script.contains("\nuncut") {
                continue;
            }
            Dialogue::new(title, cut).play(script);
        }
        played += 1;
    }
    assert!(played > 0, "no dialogue in the file");
}

pub(crate) fn random() -> Random {
    let mut bytes = [0; Random::BYTES];
    bytes.iter_mut().zip(0..).for_each(|(byte, n)| *byte = n);
    Random::new(bytes)
}

/// The N-th random text, from 1.
pub(crate) fn random_text(n: u8) -> String {
    let bytes: Vec<u8> = (18 * (n - 1)..18 * n).collect();
    base64::encode(&bytes)
}

pub(crate) fn config() -> Config {
    Config::new(vec!["a.example".into(), "b.example".into()])
}

pub(crate) fn tls_info() -> TlsInfo {
    TlsInfo { tls_exporter: Some(EXPORTER), server_end_point: Some(END_POINT.into()) }
}

/// Reads one stanza.
pub(crate) fn stanza(text: &str) -> Stanza {
    let mut reader = Reader::new(xmpp::limits::ReadLimits::OWN);
    let all = format!("{OPEN}{text}");
    let mut rest = all.as_bytes();
    assert!(matches!(reader.read(&mut rest), Ok(Some(Item::Open(_)))));
    match reader.read(&mut rest) {
        Ok(Some(Item::Element(element))) => Stanza::from_element(element, ns::CLIENT).unwrap(),
        other => panic!("{text}: {other:?}"),
    }
}

pub(crate) struct Dialogue {
    title: String,
    cut: bool,
    config: Config,
    transport: Option<Transport>,
    stream: Option<C2s>,
    pub(crate) out: Vec<u8>,
}

impl Dialogue {
    pub(crate) fn new(title: &str, cut: bool) -> Self {
        let title = title.to_owned();
        let transport = Some(Transport::Plain);
        Self { title, cut, config: config(), transport, stream: None, out: Vec::new() }
    }

    pub(crate) fn stream(&mut self) -> &mut C2s {
        let transport = &mut self.transport;
        let config = &self.config;
        self.stream.get_or_insert_with(|| {
            C2s::new(Arc::new(config.clone()), transport.take().unwrap(), random())
        })
    }

    fn play(&mut self, script: &str) {
        let mut lines: Vec<String> = Vec::new();
        for line in script.lines().filter(|line| !line.trim_start().starts_with('#')) {
            match line.strip_prefix("   ") {
                Some(more) => lines.last_mut().unwrap().push_str(more),
                None if line.trim().is_empty() => {}
                None => lines.push(line.trim_end().to_owned()),
            }
        }
        for line in lines {
            let context = format!("## {} (cut: {})\n{line}\n", self.title, self.cut);
            if let Some(text) = line.strip_prefix("S: ") {
                self.expect_bytes(&expand(text), &context);
            } else if let Some(text) = line.strip_prefix("-> ") {
                let output = self.stream().poll();
                let output = output.as_ref().map_or("nothing".into(), show);
                assert_eq!(output, expand(text), "\n{context}");
            } else {
                if line != "given forgotten" {
                    self.expect_silence(&context);
                }
                self.input(&line);
            }
        }
        self.expect_silence(&format!("## {} (cut: {})\nthe end\n", self.title, self.cut));
    }

    fn expect_bytes(&mut self, text: &str, context: &str) {
        let out = String::from_utf8(std::mem::take(&mut self.out)).unwrap();
        match out.strip_prefix(text) {
            Some(rest) => self.out = rest.into(),
            None => panic!("\n{context}wanted {text}\ngot    {out}"),
        }
    }

    fn expect_silence(&mut self, context: &str) {
        if self.stream.is_none() {
            return;
        }
        let left = String::from_utf8_lossy(&self.out).into_owned();
        assert_eq!(left, "", "\nbefore {context}the stream wrote more");
        let output = self.stream().poll().map(|output| show(&output));
        assert_eq!(output, None, "\nbefore {context}the stream did more");
    }

    fn input(&mut self, line: &str) {
        let (verb, rest) = line.split_once(' ').unwrap_or((line, ""));
        match verb {
            "uncut" => {}
            "given" => self.given(rest),
            "C:" => self.client(&expand(rest)),
            "<-" => self.answer(&expand(rest)),
            "tls" => self.stream().handle_tls(tls_info()),
            "written" => self.stream().handle_written(),
            "eof" => self.stream().handle_eof(),
            "idle" => {
                let mut out = std::mem::take(&mut self.out);
                self.stream().handle_idle(&mut out);
                self.out = out;
            }
            "shutdown" => {
                let condition = StreamCondition::from_name(rest).unwrap();
                let mut out = std::mem::take(&mut self.out);
                self.stream().handle_shutdown(condition, &mut out);
                self.out = out;
            }
            "redirect" => {
                let mut out = std::mem::take(&mut self.out);
                self.stream().handle_redirect(rest, &mut out);
                self.out = out;
            }
            "derived" => self.derived(),
            _ => panic!("unknown line: {line}"),
        }
    }

    pub(crate) fn client(&mut self, text: &str) {
        let mut out = std::mem::take(&mut self.out);
        if self.cut {
            for byte in text.as_bytes() {
                self.stream().handle_bytes(&[*byte], &mut out);
            }
        } else {
            self.stream().handle_bytes(text.as_bytes(), &mut out);
        }
        self.out = out;
    }

    pub(crate) fn answer(&mut self, text: &str) {
        let mut out = std::mem::take(&mut self.out);
        self.stream().handle_answer(answer(text), &mut out);
        self.out = out;
    }

    pub(crate) fn derived(&mut self) {
        let keys = Keys::derive(Hash::Sha256, PASSWORD, SALT, 2);
        let mut out = std::mem::take(&mut self.out);
        self.stream().handle_derived(keys, &mut out);
        self.out = out;
    }

    /// What a dialogue begins with. Whatever is said on the way is checked elsewhere and forgotten.
    pub(crate) fn given(&mut self, what: &str) {
        match what {
            "direct tls" => self.transport = Some(Transport::Tls(tls_info())),
            "direct tls without bindings" => {
                self.transport = Some(Transport::Tls(TlsInfo::default()));
            }
            "only scram-sha-1" => {
                self.config.mechanisms = vec![stream::Mechanism::Scram(Hash::Sha1)];
            }
            "tls is not required" => self.config.require_tls = false,
            "a location" => self.config.location = Some("[2001:db8::1]:5222".into()),
            "no stream management" => self.config.sm.offered = false,
            "an authenticated client" => {
                self.given("direct tls");
                self.client(OPEN);
                self.plain("juliet");
                self.client(OPEN);
                self.forget();
            }
            "a session" => {
                self.given("an authenticated client");
                let bind = "<iq type='set' id='b'><bind xmlns='{bind}'/></iq>";
                self.client(&expand(bind));
                self.input("<- bound juliet@a.example/balcony");
                self.forget();
            }
            "a managed session" => {
                self.given("a session");
                self.client(&expand("<enable xmlns='{sm}' resume='true'/>"));
                self.input("<- enabled 5e551017 600");
                self.forget();
            }
            // What was said so far is checked elsewhere.
            "forgotten" => self.forget(),
            "underivable keys" => {
                let mut out = std::mem::take(&mut self.out);
                self.stream().handle_derived(None, &mut out);
                self.out = out;
            }
            _ => panic!("unknown beginning: {what}"),
        }
    }

    /// Logs in with PLAIN.
    pub(crate) fn plain(&mut self, name: &str) {
        let message = format!("{{b64:\\0{name}\\0{PASSWORD}}}");
        self.client(&expand(&format!("<auth xmlns='{{sasl}}' mechanism='PLAIN'>{message}</auth>")));
        self.input("<- challenge salt 2");
        self.derived();
        self.input("<- verified signature 1");
    }

    pub(crate) fn forget(&mut self) {
        self.out.clear();
        while self.stream().poll().is_some() {}
    }

    /// Logs in with SCRAM as a client does that checks everything. Gives what the server wrote at
    /// last.
    pub(crate) fn scram(&mut self, mechanism: &str, name: &str, binding: Binding<'_>) -> String {
        let (hash, _) = Hash::from_mechanism(mechanism).unwrap();
        let channel = match binding {
            Binding::Used("tls-exporter") => &EXPORTER[..],
            Binding::Used("tls-server-end-point") => END_POINT,
            _ => b"",
        };
        let client = ExpectServerFirst::new(hash, name, "abc", binding);
        let first = base64::encode(client.client_first().as_bytes());
        let sasl = ns::SASL;
        self.client(&format!("<auth xmlns='{sasl}' mechanism='{mechanism}'>{first}</auth>"));
        match self.stream().poll() {
            Some(Output::Ask(Ask::Challenge { hash: asked, .. })) => assert_eq!(asked, hash),
            other => panic!("{other:?}: {}", String::from_utf8_lossy(&self.out)),
        }
        self.input("<- challenge salt 2");
        let text = self.between("<challenge xmlns='urn:ietf:params:xml:ns:xmpp-sasl'>", "</");
        let (client, last) = client.handle_server_first(&text, PASSWORD, channel).unwrap();
        let last = base64::encode(last.as_bytes());
        self.client(&format!("<response xmlns='{sasl}'>{last}</response>"));
        let signature = match self.stream().poll() {
            Some(Output::Ask(Ask::Verify { hash: asked, auth_message, proof, .. })) => {
                assert_eq!(asked, hash);
                let verifier = Verifier::derive(hash, PASSWORD, SALT, 2).unwrap();
                verifier.verify(&auth_message, proof.expose()).expect("the proof is right")
            }
            other => panic!("{other:?}: {}", String::from_utf8_lossy(&self.out)),
        };
        let mut out = std::mem::take(&mut self.out);
        let verified = Answer::Verified { signature: signature.into(), generation: 1 };
        self.stream().handle_answer(verified, &mut out);
        self.out = out;
        let text = self.between("<success xmlns='urn:ietf:params:xml:ns:xmpp-sasl'>", "</");
        client.handle_server_final(&text).unwrap();
        text
    }

    /// Takes what the stream wrote and decodes what is between two marks.
    fn between(&mut self, from: &str, to: &str) -> String {
        let out = String::from_utf8(std::mem::take(&mut self.out)).unwrap();
        let text = out.split_once(from).and_then(|(_, rest)| rest.split_once(to));
        let (text, _) = text.unwrap_or_else(|| panic!("no {from} in {out}"));
        String::from_utf8(base64::decode(text).unwrap()).unwrap()
    }
}

/// Replaces what stands in braces.
pub(crate) fn expand(text: &str) -> String {
    let Some((before, rest)) = text.split_once('{') else { return text.to_owned() };
    let (name, after) = rest.split_once('}').expect("a brace is closed");
    let value = match name {
        "open" => OPEN.to_owned(),
        "sasl" => ns::SASL.to_owned(),
        "tls" => ns::TLS.to_owned(),
        "bind" => ns::BIND.to_owned(),
        "sm" => ns::SM.to_owned(),
        "streams" => ns::STREAM_ERRORS.to_owned(),
        "stanzas" => ns::STANZA_ERRORS.to_owned(),
        "session" => ns::SESSION.to_owned(),
        _ => match name.split_once([':', ' ']) {
            Some(("b64", text)) => base64::encode(text.replace("\\0", "\0").as_bytes()),
            Some(("random", n)) => random_text(n.parse().unwrap()),
            Some(("x", n)) => "x".repeat(n.parse().unwrap()),
            Some(("header", n)) => format!(
                "<?xml version='1.0'?><stream:stream xmlns='jabber:client' \
                 xmlns:stream='http://etherx.jabber.org/streams' version='1.0' xml:lang='en' \
                 id='{}' from='a.example'>",
                random_text(n.parse().unwrap())
            ),
            Some(("error", condition)) => format!(
                "<stream:error><{condition} xmlns='{}'/></stream:error></stream:stream>",
                ns::STREAM_ERRORS
            ),
            Some(("failure", condition)) => {
                format!("<failure xmlns='{}'><{condition}/></failure>", ns::SASL)
            }
            _ => panic!("unknown name in braces: {name}"),
        },
    };
    format!("{before}{value}{}", expand(after))
}

fn show(output: &Output) -> String {
    let hash = |hash: &Hash| format!("{hash:?}").to_lowercase();
    match output {
        Output::StartTls => "start tls".into(),
        Output::Close => "close".into(),
        Output::Derive { password, salt, iterations, hash: which } => {
            let (password, salt) = (password.expose_str().unwrap(), String::from_utf8_lossy(salt));
            format!(
                "derive {} {salt} {iterations} {}",
                password.replace(char::is_control, "^"),
                hash(which)
            )
        }
        Output::Ask(ask) => match ask {
            Ask::Challenge { account, hash: which } => {
                format!("ask challenge {account} {}", hash(which))
            }
            Ask::Verify { account, hash: which, auth_message, proof } => {
                let verifier = Verifier::derive(*which, PASSWORD, SALT, 2).unwrap();
                let right = verifier.verify(auth_message, proof.expose()).is_some();
                let right = if right { "right" } else { "wrong" };
                format!("ask verify {account} {} {right}", hash(which))
            }
            Ask::Bind { account, generation, resource } => {
                format!("ask bind {account} {generation} {}", resource.as_deref().unwrap_or("-"))
            }
            Ask::Resume { account, generation, session, h } => {
                let session = session.expose_str().unwrap();
                format!("ask resume {account} {generation} {session} {h}")
            }
            Ask::Enable { resume } => format!("ask enable {resume}"),
            Ask::Stanza { number, stanza } => format!("ask stanza {number} {}", written(stanza)),
            Ask::Judged { number, reply: None } => format!("ask judged {number} -"),
            Ask::Judged { number, reply: Some(reply) } => {
                format!("ask judged {number} {}", written(reply))
            }
            Ask::Taken { number } => format!("ask taken {number}"),
            Ask::Ended => "ask ended".into(),
        },
    }
}

fn written(stanza: &Stanza) -> String {
    let mut out = Vec::new();
    stanza.write(&mut out);
    String::from_utf8(out).unwrap()
}

fn answer(text: &str) -> Answer {
    let words: Vec<&str> = text.split(' ').collect();
    let number = |i: usize| words[i].parse().unwrap();
    let maybe = |i: usize| words.get(i).map(|word| word.parse().unwrap());
    match words[0] {
        "challenge" => Answer::Challenge {
            salt: words[1].as_bytes().to_vec().into(),
            iterations: words[2].parse().unwrap(),
        },
        "refused" => Answer::Refused(match words[1] {
            "not-authorized" => AuthRefusal::NotAuthorized,
            "account-disabled" => AuthRefusal::AccountDisabled,
            "temporary-auth-failure" => AuthRefusal::TemporaryAuthFailure,
            other => panic!("{other}"),
        }),
        "verified" => Answer::Verified {
            signature: words[1].as_bytes().to_vec().into(),
            generation: number(2),
        },
        "bound" => Answer::Bound { jid: words[1].parse().unwrap() },
        "bind-refused" => Answer::BindRefused(match words[1] {
            "bad-request" => BindRefusal::BadRequest,
            "resource-constraint" => BindRefusal::ResourceConstraint,
            "not-allowed" => BindRefusal::NotAllowed,
            "internal-server-error" => BindRefusal::InternalServerError,
            other => panic!("{other}"),
        }),
        "enabled" => Answer::Enabled { id: words[1].into(), resume_s: words[2].parse().unwrap() },
        "resumed" => Answer::Resumed {
            id: words[1].into(),
            jid: words[2].parse().unwrap(),
            handled: number(3),
            taken: number(4),
        },
        "resume-failed" => Answer::ResumeFailed {
            why: match words[1] {
                "item-not-found" => ResumeRefusal::ItemNotFound,
                "unexpected-request" => ResumeRefusal::UnexpectedRequest,
                "internal-server-error" => ResumeRefusal::InternalServerError,
                "too-high" => {
                    let sent = number(2);
                    return Answer::ResumeFailed {
                        why: ResumeRefusal::HandledCountTooHigh { sent },
                        handled: None,
                    };
                }
                other => panic!("{other}"),
            },
            handled: maybe(2),
        },
        "stanza" => {
            let (number, text) = text["stanza ".len()..].split_once(' ').unwrap();
            Answer::Stanza { number: number.parse().unwrap(), stanza: stanza(text) }
        }
        "handled" => Answer::Handled { number: number(1) },
        "close" => Answer::Close { condition: StreamCondition::from_name(words[1]).unwrap() },
        other => panic!("unknown answer: {other}"),
    }
}
