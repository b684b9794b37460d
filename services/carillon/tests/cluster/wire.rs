//! A stream over a bare socket: what the server says, element by element.

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{Ipv4Addr, TcpStream};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use xmpp::blocks::base64;
use xmpp::limits::ReadLimits;
use xmpp::ns;
use xmpp::scram::message::{ServerFirst, auth_message};
use xmpp::scram::{Hash, Keys};
use xmpp::xml::{Element, Item, Reader};

/// The stream or its socket ended, or the server said something that ends it; what.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Broken(pub(crate) String);

impl From<std::io::Error> for Broken {
    fn from(why: std::io::Error) -> Self {
        Self(why.to_string())
    }
}

/// How long the server may take for an answer. Whoever waits tries again elsewhere.
const ANSWER: Duration = Duration::from_secs(15);

pub(crate) struct Wire {
    socket: TcpStream,
    reader: Reader,
    bytes: Vec<u8>,
    read: usize,
}

impl Wire {
    /// A connection to an edge, whose stream is open.
    pub(crate) fn connect(port: u16) -> Result<Self, Broken> {
        let socket = TcpStream::connect((Ipv4Addr::LOCALHOST, port))?;
        socket.set_nodelay(true)?;
        socket.set_write_timeout(Some(ANSWER))?;
        let reader = Reader::new(ReadLimits::OWN);
        let mut wire = Self { socket, reader, bytes: Vec::new(), read: 0 };
        wire.open()?;
        Ok(wire)
    }

    /// Opens the stream, or opens it anew, and waits for its features.
    fn open(&mut self) -> Result<(), Broken> {
        self.reader.reset();
        self.bytes.clear();
        self.read = 0;
        self.say(
            "<?xml version='1.0'?><stream:stream to='localhost' version='1.0' \
             xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams'>",
        )?;
        self.answer(|it| it.is("features", ns::STREAM)).map(drop)
    }

    pub(crate) fn say(&mut self, text: &str) -> Result<(), Broken> {
        Ok(self.socket.write_all(text.as_bytes())?)
    }

    /// Logs in, with the password that all accounts have.
    pub(crate) fn log_in(&mut self, user: &str) -> Result<(), Broken> {
        static LOGINS: AtomicU32 = AtomicU32::new(0);
        let nonce = format!("n{}x{}", std::process::id(), LOGINS.fetch_add(1, Ordering::Relaxed));
        let bare = format!("n={user},r={nonce}");
        let first = base64::encode(format!("n,,{bare}").as_bytes());
        let mechanism = Hash::Sha256.mechanism();
        self.say(&format!("<auth xmlns='{}' mechanism='{mechanism}'>{first}</auth>", ns::SASL))?;
        let challenge = self.sasl("challenge")?;
        let wrong = |_| Broken(format!("wrong challenge: {challenge}"));
        let first = ServerFirst::parse(&challenge).map_err(wrong)?;
        let keys = Keys::derive(Hash::Sha256, "secret", &first.salt, first.iterations);
        let keys = keys.ok_or_else(|| Broken("no keys".to_owned()))?;
        let without = format!("c=biws,r={}", first.nonce);
        let proof = keys.client_proof(&auth_message(&bare, &challenge, &without));
        let last = format!("{without},p={}", base64::encode(&proof));
        let last = base64::encode(last.as_bytes());
        self.say(&format!("<response xmlns='{}'>{last}</response>", ns::SASL))?;
        self.sasl("success")?;
        self.open()
    }

    /// The text of what SASL says, if it is this.
    fn sasl(&mut self, name: &str) -> Result<String, Broken> {
        let said = self.answer(|it| it.ns() == ns::SASL)?;
        if !said.is(name, ns::SASL) {
            return Err(Broken(format!("no login: {said:?}")));
        }
        let text = base64::decode(&said.body().text()).unwrap_or_default();
        Ok(String::from_utf8_lossy(&text).into_owned())
    }

    /// Waits for an element while nothing else may come.
    pub(crate) fn answer(&mut self, is_it: impl Fn(&Element) -> bool) -> Result<Element, Broken> {
        match self.next(ANSWER)? {
            Some(element) if is_it(&element) => Ok(element),
            Some(element) => Err(Broken(format!("unexpected: {element:?}"))),
            None => Err(Broken("no answer".to_owned())),
        }
    }

    /// The next element, if one comes within this time.
    pub(crate) fn next(&mut self, within: Duration) -> Result<Option<Element>, Broken> {
        let until = Instant::now() + within;
        loop {
            let mut input = &self.bytes[self.read..];
            let item = self.reader.read(&mut input);
            self.read = self.bytes.len() - input.len();
            match item.map_err(|why| Broken(format!("not XML: {why:?}")))? {
                Some(Item::Element(it)) if it.is("error", ns::STREAM) => {
                    return Err(Broken(format!("stream error: {:?}", it.body())));
                }
                Some(Item::Element(element)) => return Ok(Some(element)),
                Some(Item::Close) => return Err(Broken("the stream was closed".to_owned())),
                Some(Item::Open(_)) => {}
                None => {
                    self.bytes.clear();
                    self.read = 0;
                    let left = until.saturating_duration_since(Instant::now());
                    if left.is_zero() || !self.fill(left)? {
                        return Ok(None);
                    }
                }
            }
        }
    }

    /// Reads what is there. `false`: nothing came in time.
    fn fill(&mut self, within: Duration) -> Result<bool, Broken> {
        self.socket.set_read_timeout(Some(within.max(Duration::from_millis(1))))?;
        let mut bytes = [0; 16 << 10];
        match self.socket.read(&mut bytes) {
            Ok(0) => Err(Broken("the socket was closed".to_owned())),
            Ok(length) => {
                self.bytes.extend_from_slice(&bytes[..length]);
                Ok(true)
            }
            Err(why) if [ErrorKind::WouldBlock, ErrorKind::TimedOut].contains(&why.kind()) => {
                Ok(false)
            }
            Err(why) => Err(why.into()),
        }
    }

    /// Binds a resource and asks for a session that can be resumed; its id.
    pub(crate) fn bind(&mut self, resource: &str) -> Result<String, Broken> {
        self.say(&format!(
            "<iq type='set' id='bind'><bind xmlns='{}'><resource>{resource}</resource></bind></iq>\
             <enable xmlns='{}' resume='true'/>",
            ns::BIND,
            ns::SM
        ))?;
        let bound = self.answer(|it| it.name() == "iq")?;
        if bound.attr("type") != Some("result") {
            return Err(Broken(format!("not bound: {bound:?}")));
        }
        let enabled = self.answer(|it| it.is("enabled", ns::SM))?;
        let id = enabled.attr("id").ok_or_else(|| Broken("no id to resume by".to_owned()))?;
        Ok(id.to_owned())
    }

    /// Asks for a session to go on here; what was said to that.
    pub(crate) fn resume(&mut self, id: &str, handled: u32) -> Result<Element, Broken> {
        self.say(&format!("<resume xmlns='{}' h='{handled}' previd='{id}'/>", ns::SM))?;
        self.answer(|it| it.is("resumed", ns::SM) || it.is("failed", ns::SM))
    }
}
