//! From a socket to a bound session.

use std::cell::Cell;

use xmpp::blocks::base64;
use xmpp::scram::Hash;

use super::scram::Exchange;
use super::socket::shown;
use super::{Conn, Shared};
use crate::target::{Protocol, Sasl, Transport};
use crate::{Failure, frames};

const SASL: &str = "urn:ietf:params:xml:ns:xmpp-sasl";
const SM: &str = "urn:xmpp:sm:3";

thread_local! {
    static LOGINS: Cell<u64> = const { Cell::new(0) };
}

/// A client that is logged in and bound.
pub struct Client {
    /// Its connection.
    pub conn: Conn,
    /// Its full JID.
    pub jid: String,
    /// Whether its TLS session went on from an earlier one.
    pub tls_resumed: bool,
}

/// What a session needs to be resumed (XEP-0198).
#[derive(Clone, Debug)]
pub struct Resumable {
    /// The account's number.
    pub user: usize,
    /// The session's id.
    pub id: String,
    /// Stanzas that the client took.
    pub taken: u32,
}

impl Client {
    /// Connects, logs in and binds the resource that all clients have who are alone.
    ///
    /// # Errors
    /// What the server refused, or a socket that failed.
    pub async fn login(shared: &Shared, user: usize) -> Result<Self, Failure> {
        Self::login_as(shared, user, "load").await
    }

    /// Connects, logs in and binds a resource: sessions of one account that are there together need
    /// different ones.
    ///
    /// # Errors
    /// What the server refused, or a socket that failed.
    pub async fn login_as(shared: &Shared, user: usize, resource: &str) -> Result<Self, Failure> {
        let (mut conn, tls_resumed) = authenticate(shared, user).await?;
        if shared.target.protocol == Protocol::Lines {
            return Ok(Self { conn, jid: shared.target.name(user), tls_resumed });
        }
        let bind = format!(
            "<iq type='set' id='b'><bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'>\
             <resource>{resource}</resource></bind></iq>"
        );
        conn.say(bind.as_bytes()).await?;
        let answer = conn.wait(|frame| frames::is(frame, "iq")).await?;
        if frames::attribute(&answer, "type") != Some(b"result") {
            return Err(shown("binding was refused", &answer));
        }
        let jid = jid(&answer).ok_or_else(|| shown("binding gave no JID", &answer))?;
        Ok(Self { conn, jid, tls_resumed })
    }

    /// Enables stream management; gives the session's id, if it may be resumed.
    ///
    /// # Errors
    /// If the server refuses.
    pub async fn enable(&mut self, resume: bool) -> Result<Option<String>, Failure> {
        let resume = if resume { " resume='true'" } else { "" };
        self.conn.say(format!("<enable xmlns='{SM}'{resume}/>").as_bytes()).await?;
        let answer = self
            .conn
            .wait(|frame| frames::is(frame, "enabled") || frames::is(frame, "failed"))
            .await?;
        if frames::is(&answer, "failed") {
            return Err(shown("stream management was refused", &answer));
        }
        let id = frames::attribute(&answer, "id");
        Ok(id.map(|id| String::from_utf8_lossy(id).into_owned()))
    }

    /// Connects, logs in and resumes a session. `Ok(None)`: the server does not have it any more.
    ///
    /// # Errors
    /// What the server refused, or a socket that failed.
    pub async fn resume(shared: &Shared, session: &Resumable) -> Result<Option<Self>, Failure> {
        let (mut conn, tls_resumed) = authenticate(shared, session.user).await?;
        let (id, taken) = (&session.id, session.taken);
        conn.say(format!("<resume xmlns='{SM}' previd='{id}' h='{taken}'/>").as_bytes()).await?;
        let answer =
            conn.wait(|frame| frames::is(frame, "resumed") || frames::is(frame, "failed")).await?;
        if frames::is(&answer, "failed") {
            return Ok(None);
        }
        Ok(Some(Self { conn, jid: shared.target.jid(session.user), tls_resumed }))
    }

    /// Says something and waits for a frame.
    ///
    /// # Errors
    /// If the socket fails or the server ends the stream.
    pub async fn ask(
        &mut self,
        text: &str,
        fits: impl Fn(&[u8]) -> bool,
    ) -> Result<Vec<u8>, Failure> {
        self.conn.say(text.as_bytes()).await?;
        self.conn.wait(fits).await
    }

    /// Becomes available, and waits until the server says so.
    ///
    /// # Errors
    /// If the socket fails or the server ends the stream.
    pub async fn available(&mut self, shared: &Shared) -> Result<(), Failure> {
        if shared.target.protocol == Protocol::Lines {
            return Ok(());
        }
        let own = self.jid.clone();
        self.ask("<presence/>", |frame| {
            frames::is(frame, "presence")
                && frames::attribute(frame, "from") == Some(own.as_bytes())
        })
        .await
        .map(|_| ())
    }
}

/// A connection whose stream is authenticated and open again, and whether TLS was resumed.
async fn authenticate(shared: &Shared, user: usize) -> Result<(Conn, bool), Failure> {
    let (mut conn, resumed) = connect(shared, user).await?;
    if shared.target.protocol == Protocol::Lines {
        conn.say(format!("{}\n", shared.target.name(user)).as_bytes()).await?;
        conn.wait(|frame| frames::is(frame, "ok")).await?;
        return Ok((conn, resumed));
    }
    let name = shared.target.name(user);
    match shared.target.sasl {
        Sasl::Plain => plain(&mut conn, shared, &name).await?,
        Sasl::ScramSha1 => scram(&mut conn, shared, &name, Hash::Sha1).await?,
        Sasl::ScramSha256 => scram(&mut conn, shared, &name, Hash::Sha256).await?,
    }
    conn.restart();
    open(&mut conn, shared).await?;
    Ok((conn, resumed))
}

/// A connection with TLS, if it is to have it, and an open stream.
pub(super) async fn connect(shared: &Shared, index: usize) -> Result<(Conn, bool), Failure> {
    let stream = shared.tcp(index).await?;
    let lines = shared.target.protocol == Protocol::Lines;
    let (mut conn, resumed) = match shared.target.transport {
        Transport::Plain => (Conn::plain(stream), false),
        Transport::Tls => {
            let (stream, resumed) = shared.tls.connect(stream).await?;
            (Conn::tls(stream), resumed)
        }
        Transport::Starttls if lines => return Err("lines have no STARTTLS".into()),
        Transport::Starttls => {
            let mut conn = Conn::plain(stream);
            open(&mut conn, shared).await?;
            conn.say(b"<starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>").await?;
            conn.wait(|frame| frames::is(frame, "proceed")).await?;
            let stream = conn.into_tcp().ok_or("TLS inside TLS")?;
            let (stream, resumed) = shared.tls.connect(stream).await?;
            (Conn::tls(stream), resumed)
        }
    };
    if !lines {
        open(&mut conn, shared).await?;
    }
    Ok((conn, resumed))
}

async fn open(conn: &mut Conn, shared: &Shared) -> Result<(), Failure> {
    let header = format!(
        "<stream:stream xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams' \
         to='{}' version='1.0'>",
        shared.target.domain
    );
    conn.say(header.as_bytes()).await?;
    conn.wait(|frame| frames::is(frame, "stream:features")).await.map(|_| ())
}

async fn plain(conn: &mut Conn, shared: &Shared, name: &str) -> Result<(), Failure> {
    let text = base64::encode(format!("\0{name}\0{}", shared.target.password).as_bytes());
    conn.say(format!("<auth xmlns='{SASL}' mechanism='PLAIN'>{text}</auth>").as_bytes()).await?;
    outcome(conn, name).await.map(|_| ())
}

async fn scram(conn: &mut Conn, shared: &Shared, name: &str, hash: Hash) -> Result<(), Failure> {
    let number = LOGINS.replace(LOGINS.get() + 1);
    let exchange = Exchange::new(hash, name, number);
    let (mechanism, first) = (hash.mechanism(), exchange.first());
    let auth = format!("<auth xmlns='{SASL}' mechanism='{mechanism}'>{first}</auth>");
    conn.say(auth.as_bytes()).await?;
    let challenge =
        conn.wait(|frame| frames::is(frame, "challenge") || frames::is(frame, "failure")).await?;
    if frames::is(&challenge, "failure") {
        return Err(shown(&format!("{name} may not log in"), &challenge));
    }
    let text = frames::text(&challenge).unwrap_or_default();
    let (answer, proof) = exchange.answer(text, &shared.target.password, &shared.keys)?;
    conn.say(format!("<response xmlns='{SASL}'>{answer}</response>").as_bytes()).await?;
    proof.check(&outcome(conn, name).await?)
}

/// The text of `<success/>`.
async fn outcome(conn: &mut Conn, name: &str) -> Result<String, Failure> {
    let answer =
        conn.wait(|frame| frames::is(frame, "success") || frames::is(frame, "failure")).await?;
    if frames::is(&answer, "failure") {
        return Err(shown(&format!("{name} may not log in"), &answer));
    }
    Ok(frames::text(&answer).unwrap_or_default().to_owned())
}

/// The JID in the answer to a binding.
fn jid(answer: &[u8]) -> Option<String> {
    let text = std::str::from_utf8(answer).ok()?;
    let from = text.find("<jid>")? + 5;
    let length = text[from..].find("</jid>")?;
    Some(text[from..from + length].to_owned())
}
