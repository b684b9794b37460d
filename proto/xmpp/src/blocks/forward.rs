//! XEP-0297 1.0: Stanza Forwarding, as the server writes it.

use super::delay;
use crate::ns;
use crate::xml::Writer;

/// Writes `<forwarded/>`, with the time at which the stanza was received if it was not just now
/// (§3). `stanza` writes the stanza: one element, whose namespace it has to name (`start_ns` with
/// `jabber:client`).
pub fn write(out: &mut Writer, stamp_us: Option<u64>, stanza: impl FnOnce(&mut Writer)) {
    out.start_ns("forwarded", ns::FORWARD);
    if let Some(stamp_us) = stamp_us {
        delay::write(out, stamp_us, None);
    }
    stanza(out);
    out.end();
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wraps_a_stanza_of_its_own_namespace() {
        let mut out = Writer::new();
        write(&mut out, Some(0), |out| {
            out.start_ns("message", ns::CLIENT).attr("to", "a@b").leaf("body", "<3").end();
        });
        write(&mut out, None, |out| {
            out.empty("message", ns::CLIENT);
        });
        assert_eq!(
            out.finish(),
            "<forwarded xmlns='urn:xmpp:forward:0'>\
             <delay xmlns='urn:xmpp:delay' stamp='1970-01-01T00:00:00Z'/>\
             <message xmlns='jabber:client' to='a@b'><body>&lt;3</body></message></forwarded>\
             <forwarded xmlns='urn:xmpp:forward:0'><message xmlns='jabber:client'/></forwarded>"
        );
    }
}
