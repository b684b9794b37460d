//! XMPP addresses (RFC 7622): parsed and normalised once, then cheap to clone, cut, compare and
//! hash.
//!
//! A [`Jid`] is one shared immutable text and four offsets into it, so its bare form and its domain
//! are the same text seen through other offsets, without an allocation. ASCII addresses take a path
//! that validates and folds case without Unicode tables ([`ascii`]); all others are prepared by
//! PRECIS and IDNA ([`prep`]).

mod ascii;
mod escape;
mod prep;

pub use escape::{escape_local, unescape_local};
pub use prep::{prepare_password, prepare_username, resourceprep};

use std::borrow::{Borrow, Cow};
use std::cmp::Ordering;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::str::FromStr;
use std::sync::Arc;

/// The most bytes that one part of an address may have (RFC 7622 §3.2 to §3.4), before and after
/// preparation.
pub const PART_BYTES_MAX: usize = 1023;

/// The most bytes that a whole address may have: three parts, `@` and `/`.
pub const JID_BYTES_MAX: usize = 3 * PART_BYTES_MAX + 2;

const _: () = assert!(JID_BYTES_MAX < u16::MAX as usize, "offsets are u16");

/// A part of an address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// What stands before `@`.
    Local,
    /// The domain name or address literal.
    Domain,
    /// What stands after the first `/`.
    Resource,
}

/// Why a part was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reason {
    /// The part is there, but empty.
    Empty,
    /// The part has more than [`PART_BYTES_MAX`] bytes.
    TooLong,
    /// A character that the part may not contain, or a breach of the bidi or context rules.
    Forbidden,
    /// PRECIS and stringprep prepare this localpart differently: servers would disagree about whose
    /// it is.
    Ambiguous,
}

/// An address that is none. Maps to the stanza error `jid-malformed`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct JidError {
    /// The part at fault.
    pub part: Part,
    /// What is wrong with it.
    pub reason: Reason,
}

impl fmt::Display for JidError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.part {
            Part::Local => "localpart ",
            Part::Domain => "domainpart ",
            Part::Resource => "resourcepart ",
        })?;
        f.write_str(match self.reason {
            Reason::Empty => "is empty",
            Reason::TooLong => "has more than 1023 bytes",
            Reason::Forbidden => "has a character that it may not contain",
            Reason::Ambiguous => "is read differently by older servers",
        })
    }
}

impl std::error::Error for JidError {}

/// An XMPP address in normalised form. 24 bytes; a clone raises a reference count.
///
/// Equality, order and hash are those of the text that [`Jid::as_str`] gives, so a map keyed by
/// `Jid` can be searched by `&str` (of a normalised address).
#[derive(Clone)]
pub struct Jid {
    text: Arc<str>,
    /// Where this address begins in `text`: not 0 only in the domain of an address with a
    /// localpart.
    start: u16,
    /// Where its domain begins: `start`, or one after the `@`.
    domain: u16,
    /// Where its domain ends: `end`, or at the `/`.
    slash: u16,
    /// Where it ends.
    end: u16,
}

impl Jid {
    /// Reads an address and normalises it.
    ///
    /// # Errors
    /// The part that RFC 7622 does not allow, and why. Nothing is ever truncated.
    pub fn parse(text: &str) -> Result<Jid, JidError> {
        let (local, domain, resource) = parts(text);
        match ascii::judge(local, domain, resource)? {
            ascii::Judged::Normal => Ok(Jid::assembled(Arc::from(text), local, domain)),
            ascii::Judged::Folds => Ok(Jid::folded(text, local, domain)),
            ascii::Judged::Unknown => Jid::prepared(local, domain, resource),
        }
    }

    /// Reads an address that [`Jid::as_str`] gave: by this server or another node of it, in a row
    /// or a frame. It is cut into its parts and these are measured; that it is normalised is
    /// trusted, so nothing else is looked at.
    ///
    /// # Errors
    /// A part that is empty or too long.
    pub fn trusted(text: &str) -> Result<Jid, JidError> {
        let (local, domain, resource) = parts(text);
        measured(Part::Domain, domain)?;
        local.map_or(Ok(()), |local| measured(Part::Local, local))?;
        resource.map_or(Ok(()), |resource| measured(Part::Resource, resource))?;
        Ok(Jid::assembled(Arc::from(text), local, domain))
    }

    /// Makes an address of its parts, each prepared as [`Jid::parse`] does.
    ///
    /// # Errors
    /// As for [`Jid::parse`]; a domain with `@` or `/` in it is refused too.
    pub fn from_parts(
        local: Option<&str>,
        domain: &str,
        resource: Option<&str>,
    ) -> Result<Jid, JidError> {
        Jid::prepared(local, domain, resource)
    }

    /// The localpart, if there is one.
    pub fn local(&self) -> Option<&str> {
        (self.domain > self.start).then(|| self.slice(self.start, self.domain - 1))
    }

    /// The domainpart: lower case, U-labels, no trailing dot.
    pub fn domain(&self) -> &str {
        self.slice(self.domain, self.slash)
    }

    /// The domainpart as DNS, TLS and certificates name it: A-labels.
    pub fn domain_ascii(&self) -> Cow<'_, str> {
        prep::domain_to_ascii(self.domain())
    }

    /// The resourcepart, if there is one.
    pub fn resource(&self) -> Option<&str> {
        (self.end > self.slash).then(|| self.slice(self.slash + 1, self.end))
    }

    /// Whether there is no resourcepart.
    pub fn is_bare(&self) -> bool {
        self.end == self.slash
    }

    /// The whole address, normalised.
    pub fn as_str(&self) -> &str {
        self.slice(self.start, self.end)
    }

    /// The address without its resourcepart, as text.
    pub fn bare_str(&self) -> &str {
        self.slice(self.start, self.slash)
    }

    /// The address without its resourcepart. Shares the text: no allocation.
    pub fn to_bare(&self) -> Jid {
        Jid { end: self.slash, ..self.clone() }
    }

    /// The domain alone. Shares the text: no allocation.
    pub fn domain_jid(&self) -> Jid {
        Jid { start: self.domain, end: self.slash, ..self.clone() }
    }

    /// This address with another resourcepart.
    ///
    /// # Errors
    /// What [`resourceprep`] refuses.
    pub fn with_resource(&self, resource: &str) -> Result<Jid, JidError> {
        let resource = resourceprep(resource)?;
        Ok(Jid::joined(self.local(), self.domain(), Some(&resource)))
    }

    /// Whether both are the same address when resourceparts are left out.
    pub fn same_bare(&self, other: &Jid) -> bool {
        self.bare_str() == other.bare_str()
    }

    fn slice(&self, from: u16, to: u16) -> &str {
        // Offsets are only ever made from the parts of `text`, so the range always exists.
        self.text.get(usize::from(from)..usize::from(to)).unwrap_or_default()
    }

    /// The slow way: each part is prepared by itself, then they are put together.
    fn prepared(
        local: Option<&str>,
        domain: &str,
        resource: Option<&str>,
    ) -> Result<Jid, JidError> {
        let domain = prep::domain(domain)?;
        let local = local.map(prep::local).transpose()?;
        let resource = resource.map(resourceprep).transpose()?;
        Ok(Jid::joined(local.as_deref(), &domain, resource.as_deref()))
    }

    /// Joins parts that are normalised already.
    fn joined(local: Option<&str>, domain: &str, resource: Option<&str>) -> Jid {
        let mut text = String::with_capacity(
            local.map_or(0, |l| l.len() + 1) + domain.len() + resource.map_or(0, |r| r.len() + 1),
        );
        if let Some(local) = local {
            text.push_str(local);
            text.push('@');
        }
        text.push_str(domain);
        if let Some(resource) = resource {
            text.push('/');
            text.push_str(resource);
        }
        Jid::assembled(Arc::from(text), local, domain)
    }

    /// `text` in one allocation, its localpart and domain in lower case.
    fn folded(text: &str, local: Option<&str>, domain: &str) -> Jid {
        let mut buffer: Arc<str> = Arc::from(text);
        let bare = domain_start(local) + domain.len();
        // The buffer is new, so this is its only reference.
        if let Some(part) = Arc::get_mut(&mut buffer).and_then(|all| all.get_mut(..bare)) {
            part.make_ascii_lowercase();
        }
        Jid::assembled(buffer, local, domain)
    }

    fn assembled(text: Arc<str>, local: Option<&str>, domain: &str) -> Jid {
        debug_assert!(text.len() <= JID_BYTES_MAX);
        let start = domain_start(local);
        let slash = start + domain.len();
        let end = offset(text.len());
        Jid { text, start: 0, domain: offset(start), slash: offset(slash), end }
    }
}

/// What stands before and after the first such byte, which is ASCII.
fn cut(text: &str, byte: u8) -> Option<(&str, &str)> {
    let at = memchr::memchr(byte, text.as_bytes())?;
    Some((text.get(..at)?, text.get(at + 1..)?))
}

/// Localpart, domainpart and resourcepart, as the first `/` and the `@` before it part them.
#[inline]
fn parts(text: &str) -> (Option<&str>, &str, Option<&str>) {
    let (bare, resource) = match cut(text, b'/') {
        Some((bare, resource)) => (bare, Some(resource)),
        None => (text, None),
    };
    match cut(bare, b'@') {
        Some((local, domain)) => (Some(local), domain, resource),
        None => (None, bare, resource),
    }
}

fn measured(part: Part, text: &str) -> Result<(), JidError> {
    match text.len() {
        0 => Err(JidError { part, reason: Reason::Empty }),
        1..=PART_BYTES_MAX => Ok(()),
        _ => Err(JidError { part, reason: Reason::TooLong }),
    }
}

fn domain_start(local: Option<&str>) -> usize {
    local.map_or(0, |l| l.len() + 1)
}

/// Every part was checked against [`PART_BYTES_MAX`] before, so nothing is lost here.
fn offset(at: usize) -> u16 {
    u16::try_from(at).unwrap_or(u16::MAX)
}

impl PartialEq for Jid {
    fn eq(&self, other: &Jid) -> bool {
        self.as_str() == other.as_str()
    }
}

impl Eq for Jid {}

impl PartialOrd for Jid {
    fn partial_cmp(&self, other: &Jid) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Jid {
    fn cmp(&self, other: &Jid) -> Ordering {
        self.as_str().cmp(other.as_str())
    }
}

impl Hash for Jid {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.as_str().hash(state);
    }
}

impl Borrow<str> for Jid {
    fn borrow(&self) -> &str {
        self.as_str()
    }
}

impl AsRef<str> for Jid {
    fn as_ref(&self) -> &str {
        self.as_str()
    }
}

impl fmt::Display for Jid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Debug for Jid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Jid({})", self.as_str())
    }
}

impl FromStr for Jid {
    type Err = JidError;

    fn from_str(text: &str) -> Result<Jid, JidError> {
        Jid::parse(text)
    }
}

/// For fuzz targets: reads any bytes as an address and checks what must hold of the result.
///
/// # Panics
/// If a normalised address is not parsed back as itself: that is a bug.
pub fn fuzz(bytes: &[u8]) {
    let Some(jid) = std::str::from_utf8(bytes).ok().and_then(|text| Jid::parse(text).ok()) else {
        return;
    };
    assert_eq!(Jid::parse(jid.as_str()).as_ref(), Ok(&jid));
    assert_eq!(Jid::from_parts(jid.local(), jid.domain(), jid.resource()).as_ref(), Ok(&jid));
    assert!(jid.as_str().len() <= JID_BYTES_MAX);
}

#[cfg(test)]
mod tests;
