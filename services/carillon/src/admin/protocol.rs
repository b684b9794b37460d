//! What the commands and the server say to each other: one JSON object a line, with a version.
//!
//! `{"v":1,"request":{…}}` is answered by `{"v":1,"reply":{…}}`, any number of times on one
//! connection. Passwords are not part of it: the command derives the verifiers.

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use xmpp::blocks::base64;
use xmpp::scram;

pub use crate::cluster::{ClusterView, MemberView};
use crate::limits::ADMIN_LINE_MAX;

/// The version spoken here. A change that an older side would misread raises it.
pub const VERSION: u32 = 1;

/// What a command asks for. Addresses are bare JIDs in their normal form.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "do", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Request {
    /// Make an account.
    Add {
        /// Its address.
        jid: String,
        /// One for each mechanism.
        verifiers: Vec<Verifier>,
    },
    /// Change the password; sessions end.
    SetPassword {
        /// Its address.
        jid: String,
        /// One for each mechanism.
        verifiers: Vec<Verifier>,
    },
    /// Refuse logins and end the sessions; nothing is deleted.
    Disable {
        /// Its address.
        jid: String,
    },
    /// Undo `Disable`.
    Enable {
        /// Its address.
        jid: String,
    },
    /// End the sessions and delete all the account has.
    Delete {
        /// Its address.
        jid: String,
    },
    /// A page of the accounts of a domain, by name.
    List {
        /// The domain.
        domain: String,
        /// The last address of the page before.
        after: Option<String>,
    },
    /// How the server is.
    Status,
    /// Something about the cluster that the server is a node of.
    Cluster(ClusterRequest),
}

/// What is asked about a cluster. Nodes go by their names.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "about", rename_all = "kebab-case", deny_unknown_fields)]
pub enum ClusterRequest {
    /// How it is.
    Status,
    /// A token with which one node may join.
    Token {
        /// What that node may do, joined by `+`; all roles where it is left out.
        roles: Option<String>,
    },
    /// A node is to give its shards and clients away.
    Drain {
        /// Which.
        node: String,
    },
    /// It may take its part again.
    Undrain {
        /// Which.
        node: String,
    },
    /// A node that is down is no member any more.
    Remove {
        /// Which.
        node: String,
    },
    /// Even the shards out.
    Rebalance,
    /// A domain is served from now on, or no more.
    Domain {
        /// Its name.
        domain: String,
        /// Whether it is served.
        served: bool,
    },
    /// A setting has a value, or none.
    Set {
        /// Its name.
        name: String,
        /// Its value.
        value: Option<String>,
    },
}

/// What the server answers.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "is", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Reply {
    /// It was done, and is durable.
    Done,
    /// A page of accounts.
    Accounts {
        /// The accounts, by name.
        accounts: Vec<Account>,
        /// There are more after the last.
        more: bool,
    },
    /// How the server is.
    Status(Box<Status>),
    /// How the cluster is.
    Cluster(Box<ClusterView>),
    /// A join token, which is shown once, and where it may be used.
    Token {
        /// Its line.
        token: String,
        /// The address of the control node that was asked.
        host: String,
    },
    /// It was not done.
    Refused {
        /// Why.
        fault: Fault,
        /// The same, as a sentence.
        text: String,
    },
}

/// An account in a list.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Account {
    /// Its bare JID.
    pub jid: String,
    /// It may not log in.
    pub disabled: bool,
}

/// Why a request was not done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Fault {
    /// The account exists.
    Exists,
    /// There is no such account.
    Unknown,
    /// The address or the domain is none of this server.
    Address,
    /// The store, or another part of the server, cannot do it now.
    Unavailable,
    /// The line is not understood.
    Protocol,
}

/// How a running server is.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Status {
    /// Its release.
    pub version: String,
    /// Its process.
    pub pid: u32,
    /// Seconds since it started.
    pub uptime_s: u64,
    /// The domains served.
    pub domains: Vec<String>,
    /// Addresses listened on, by kind: `c2s`, `c2s_tls`, `http`.
    pub listeners: Vec<(String, String)>,
    /// The data folder.
    pub data: String,
    /// Client connections.
    pub connections: u64,
    /// Sessions, those that wait to be resumed included.
    pub sessions: u64,
    /// Bytes of the store on disk.
    pub store_bytes: u64,
    /// Bytes of memory in use.
    pub memory_bytes: u64,
    /// The server is stopping.
    pub draining: bool,
}

/// A SCRAM verifier (RFC 5802 §3) in transit. Its keys show nothing when printed.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Verifier {
    mechanism: String,
    iterations: u32,
    salt: String,
    stored_key: String,
    server_key: String,
}

impl std::fmt::Debug for Verifier {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Verifier").field("mechanism", &self.mechanism).finish_non_exhaustive()
    }
}

impl From<&scram::Verifier> for Verifier {
    fn from(verifier: &scram::Verifier) -> Self {
        Self {
            mechanism: verifier.hash().mechanism().to_owned(),
            iterations: verifier.iterations(),
            salt: base64::encode(verifier.salt()),
            stored_key: base64::encode(verifier.stored_key().expose()),
            server_key: base64::encode(verifier.server_key().expose()),
        }
    }
}

impl Verifier {
    /// The verifier itself; `None` where it is not whole.
    #[must_use]
    pub fn read(&self) -> Option<scram::Verifier> {
        let (hash, false) = scram::Hash::from_mechanism(&self.mechanism)? else { return None };
        scram::Verifier::from_stored(
            hash,
            &base64::decode(&self.salt)?,
            self.iterations,
            &base64::decode(&self.stored_key)?,
            &base64::decode(&self.server_key)?,
        )
    }
}

#[derive(Serialize, Deserialize)]
struct Version {
    v: u32,
}

#[derive(Serialize, Deserialize)]
struct Asked<T> {
    v: u32,
    request: T,
}

#[derive(Serialize, Deserialize)]
struct Answered<T> {
    v: u32,
    reply: T,
}

/// A request as a line.
#[must_use]
pub fn write_request(request: &Request) -> String {
    line(&Asked { v: VERSION, request })
}

/// A reply as a line.
#[must_use]
pub fn write_reply(reply: &Reply) -> String {
    line(&Answered { v: VERSION, reply })
}

fn line(value: &impl Serialize) -> String {
    // Writing these types to memory cannot fail: no maps with odd keys, no foreign code.
    let mut text = serde_json::to_string(value).unwrap_or_default();
    text.push('\n');
    text
}

/// A line as a request.
///
/// # Errors
/// A sentence for the other side.
pub fn read_request(line: &[u8]) -> Result<Request, String> {
    read::<Asked<Request>>(line).map(|it| it.request)
}

/// A line as a reply.
///
/// # Errors
/// A sentence for the user.
pub fn read_reply(line: &[u8]) -> Result<Reply, String> {
    read::<Answered<Reply>>(line).map(|it| it.reply)
}

fn read<T: DeserializeOwned>(line: &[u8]) -> Result<T, String> {
    let version: Version =
        serde_json::from_slice(line).map_err(|why| format!("not a line of the protocol: {why}"))?;
    if version.v != VERSION {
        return Err(format!(
            "this side speaks version {VERSION} of the admin protocol and the other version {}: \
             use the command of the release that runs",
            version.v
        ));
    }
    serde_json::from_slice(line).map_err(|why| format!("not understood: {why}"))
}

/// Reads a line into `line`, without its end. `None` at the end of the stream.
///
/// # Errors
/// Those of the stream; `InvalidData` for a line that is too long or cut.
pub async fn read_line<'a>(
    stream: &mut (impl AsyncRead + Unpin),
    line: &'a mut Vec<u8>,
) -> std::io::Result<Option<&'a [u8]>> {
    // Both sides wait for each other, so nothing follows a line before its answer.
    line.clear();
    let bad = |why| Err(std::io::Error::new(std::io::ErrorKind::InvalidData, why));
    loop {
        let before = line.len();
        if stream.read_buf(line).await? == 0 {
            return if line.is_empty() { Ok(None) } else { bad("the line is cut") };
        }
        let end = line.iter().skip(before).position(|byte| *byte == b'\n').map(|it| it + before);
        match end {
            Some(end) if end + 1 == line.len() => return Ok(line.get(..end)),
            Some(_) => return bad("there is something after the line"),
            None if line.len() > ADMIN_LINE_MAX => return bad("the line is too long"),
            None => {}
        }
    }
}

/// Writes a line.
///
/// # Errors
/// Those of the stream.
pub async fn write_line(stream: &mut (impl AsyncWrite + Unpin), line: &str) -> std::io::Result<()> {
    stream.write_all(line.as_bytes()).await?;
    stream.flush().await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        let jid = || "anna@localhost".to_owned();
        let real = scram::Verifier::derive(scram::Hash::Sha256, "canary", &[7; 16], 10).unwrap();
        let verifiers = || vec![Verifier::from(&real)];
        for request in [
            Request::Add { jid: jid(), verifiers: verifiers() },
            Request::SetPassword { jid: jid(), verifiers: verifiers() },
            Request::Disable { jid: jid() },
            Request::Enable { jid: jid() },
            Request::Delete { jid: jid() },
            Request::List { domain: "localhost".to_owned(), after: Some(jid()) },
            Request::List { domain: "localhost".to_owned(), after: None },
            Request::Status,
        ] {
            let line = write_request(&request);
            assert!(line.starts_with("{\"v\":1,\"request\":{\"do\":\"") && line.ends_with("}\n"));
            assert_eq!(line.matches('\n').count(), 1);
            assert_eq!(read_request(line.as_bytes()), Ok(request));
        }
        let account = Account { jid: jid(), disabled: true };
        for reply in [
            Reply::Done,
            Reply::Accounts { accounts: vec![account], more: true },
            Reply::Status(Box::new(Status { pid: 7, ..Status::default() })),
            Reply::Refused { fault: Fault::Exists, text: "two\nlines".to_owned() },
        ] {
            let line = write_reply(&reply);
            assert_eq!(line.matches('\n').count(), 1);
            assert_eq!(read_reply(line.as_bytes()), Ok(reply));
        }
    }

    #[test]
    fn a_verifier_survives_and_shows_nothing() {
        for hash in scram::Hash::ALL {
            let real = scram::Verifier::derive(hash, "canary", &[7; 16], 10).unwrap();
            let sent = Verifier::from(&real);
            let back = sent.read().unwrap();
            assert_eq!(back.hash(), hash);
            assert_eq!((back.salt(), back.iterations()), (real.salt(), 10));
            assert!(back.stored_key().matches(real.stored_key().expose()));
            assert!(back.server_key().matches(real.server_key().expose()));
            let shown = format!("{sent:?}");
            assert!(!shown.contains(&sent.stored_key) && !shown.contains(&sent.server_key));
            let mut cut = sent.clone();
            cut.stored_key = base64::encode(&[1; 3]);
            assert!(cut.read().is_none());
            let mut odd = sent.clone();
            odd.mechanism = hash.mechanism_plus().to_owned();
            assert!(odd.read().is_none());
        }
    }

    #[test]
    fn other_lines_are_refused() {
        for (line, told) in [
            ("", "not a line"),
            ("hello", "not a line"),
            ("{}", "not a line"),
            (
                r#"{"v":2,"ask":"anything"}"#,
                "version 1 of the admin protocol and the other version 2",
            ),
            (r#"{"v":1}"#, "not understood"),
            (r#"{"v":1,"request":{"do":"dance"}}"#, "not understood"),
            (r#"{"v":1,"request":{"do":"disable"}}"#, "not understood"),
            (r#"{"v":1,"request":{"do":"delete","jid":"a@b","password":"x"}}"#, "not understood"),
        ] {
            let why = read_request(line.as_bytes()).unwrap_err();
            assert!(why.contains(told), "{line}: {why}");
        }
        let deep = format!("{{\"v\":1,\"request\":{}", "[".repeat(100_000));
        assert!(read_request(deep.as_bytes()).is_err());
    }
}
