//! What surrounds a first-level element: the start tag of the stream, as far as names need it.

use crate::ns;

/// The content namespaces that XMPP knows (RFC 6120 §4.8.2, XEP-0114).
const CONTENT: [&str; 3] = [ns::CLIENT, ns::SERVER, ns::COMPONENT];

/// The scope in which first-level elements stand.
#[derive(Debug)]
pub(super) enum Root {
    /// Nothing surrounds them: each is a document (RFC 7395 §3.3).
    None,
    /// The content namespace as default and no prefix: where bodies stand.
    Bare,
    /// `<stream:stream>` with the usual two declarations; costs an idle stream no memory.
    Usual(&'static &'static str),
    /// Any other stream header.
    Other(Box<Scope>),
}

/// An unusual stream header.
#[derive(Debug)]
pub(super) struct Scope {
    pub(super) name: Box<str>,
    pub(super) bindings: Box<[(Box<str>, Box<str>)]>,
    pub(super) content: Option<&'static str>,
}

/// The content namespace that a name stands for.
pub(super) fn content(name: &str) -> Option<&'static &'static str> {
    CONTENT.iter().find(|known| **known == name)
}

impl Root {
    /// The root that a stream header makes. `bindings` are prefixes and namespaces, the default one
    /// with an empty prefix.
    pub(super) fn of(name: &str, bindings: Vec<(Box<str>, Box<str>)>) -> Root {
        let default = bindings.iter().find(|(prefix, _)| prefix.is_empty()).map(|(_, ns)| &**ns);
        let known = default.and_then(content);
        if let (Some(known), "stream:stream", 2) = (known, name, bindings.len()) {
            return Root::Usual(known);
        }
        let content = known.or_else(|| bindings.iter().find_map(|(_, ns)| content(ns))).copied();
        Root::Other(Box::new(Scope { name: name.into(), bindings: bindings.into(), content }))
    }

    /// The content namespace that the header declares, as default or for a prefix.
    pub(super) fn declared_content(&self) -> Option<&'static str> {
        match self {
            Root::None | Root::Bare => Some(ns::CLIENT),
            Root::Usual(content) => Some(content),
            Root::Other(scope) => scope.content,
        }
    }

    /// The same, with `jabber:client` where the header declares none.
    pub(super) fn content(&self) -> &'static str {
        self.declared_content().unwrap_or(ns::CLIENT)
    }

    /// The default namespace; empty if none is declared.
    pub(super) fn default_ns(&self) -> &str {
        match self {
            Root::None => "",
            Root::Bare => ns::CLIENT,
            Root::Usual(content) => content,
            Root::Other(scope) => scope.find("").unwrap_or(""),
        }
    }

    /// What a prefix stands for.
    pub(super) fn lookup(&self, prefix: &[u8]) -> Option<&str> {
        match self {
            Root::None | Root::Bare => None,
            Root::Usual(_) => (prefix == b"stream").then_some(ns::STREAM),
            Root::Other(scope) => std::str::from_utf8(prefix).ok().and_then(|p| scope.find(p)),
        }
    }

    /// The name in the end tag, if there is one.
    pub(super) fn end_name(&self) -> Option<&str> {
        match self {
            Root::None | Root::Bare => None,
            Root::Usual(_) => Some("stream:stream"),
            Root::Other(scope) => Some(&scope.name),
        }
    }
}

impl Scope {
    fn find(&self, prefix: &str) -> Option<&str> {
        self.bindings.iter().find(|(p, _)| **p == *prefix).map(|(_, ns)| &**ns)
    }
}
