//! What a module says of itself. It feeds service discovery, `docs/XEPS.md` and `doap.xml`.

/// One extension (or RFC) that the server implements.
#[derive(Clone, Copy, Debug)]
pub struct Spec {
    /// The XEP's number.
    pub number: u16,
    /// The XEP's title.
    pub name: &'static str,
    /// The version of the XEP that was read.
    pub version: &'static str,
    /// How much of it there is.
    pub status: Status,
    /// What is left out, in a sentence; empty if nothing is.
    pub gaps: &'static str,
    /// Features that the server's domain has (XEP-0030).
    pub domain_features: &'static [&'static str],
    /// Features that an account's bare JID has.
    pub account_features: &'static [&'static str],
    /// Namespaces of the IQ payloads that it answers.
    pub iqs: &'static [&'static str],
    /// Tags of the rows that it writes (see `keys::tag`).
    pub tags: &'static [u8],
}

/// How much of an extension is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    /// All of it that a server does.
    Complete,
    /// The part that clients need; `gaps` says what is missing.
    Partial,
}

impl Spec {
    /// A specification with no features, answers or rows.
    pub const fn new(number: u16, name: &'static str, version: &'static str) -> Self {
        Self {
            number,
            name,
            version,
            status: Status::Complete,
            gaps: "",
            domain_features: &[],
            account_features: &[],
            iqs: &[],
            tags: &[],
        }
    }
}
