//! How a stream begins and ends on a TCP connection (RFC 6120 §4.2 and §4.4). Over WebSocket (RFC
//! 7395) and BOSH (XEP-0124) the same states speak other frames: these three functions are what
//! differs.

use xmpp::ns;
use xmpp::xml::push_value;

/// The server's stream header.
pub(crate) struct Opening<'a> {
    /// The domain that speaks.
    pub(crate) from: &'a str,
    /// Whom the client says it is, if it does (RFC 6120 §4.7.2).
    pub(crate) to: Option<&'a str>,
    /// Unpredictable.
    pub(crate) id: &'a str,
}

/// Writes the server's stream header.
pub(crate) fn open(out: &mut Vec<u8>, opening: &Opening<'_>) {
    put(out, &["<?xml version='1.0'?><stream:stream xmlns='", ns::CLIENT, "' xmlns:stream='"]);
    put(out, &[ns::STREAM, "' version='1.0' xml:lang='en' id='"]);
    push_value(out, opening.id);
    put(out, &["' from='"]);
    push_value(out, opening.from);
    if let Some(to) = opening.to {
        put(out, &["' to='"]);
        push_value(out, to);
    }
    put(out, &["'>"]);
}

/// Writes the end of the stream.
pub(crate) fn close(out: &mut Vec<u8>) {
    put(out, &["</stream:stream>"]);
}

/// Writes a stream error and the end of the stream, which always follows it (RFC 6120 §4.9.1.1).
pub(crate) fn fail(out: &mut Vec<u8>, error: impl FnOnce(&mut Vec<u8>)) {
    error(out);
    close(out);
}

/// Appends pieces that need no escaping.
pub(crate) fn put(out: &mut Vec<u8>, pieces: &[&str]) {
    for piece in pieces {
        out.extend_from_slice(piece.as_bytes());
    }
}
