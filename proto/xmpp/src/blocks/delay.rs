//! XEP-0203 2.0: Delayed Delivery, as the server writes it.

use super::datetime;
use crate::Jid;
use crate::ns;
use crate::xml::Writer;

/// Writes `<delay/>`: the stanza around it was sent at `stamp_us` and held back by `from` (§4).
pub fn write(out: &mut Writer, stamp_us: u64, from: Option<&Jid>) {
    out.start_ns("delay", ns::DELAY)
        .attr_opt("from", from.map(Jid::as_str))
        .attr("stamp", &datetime::format(stamp_us))
        .end();
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn says_when_and_who() {
        let mut out = Writer::new();
        write(&mut out, 1_031_699_305_000_000, Some(&Jid::parse("capulet.com").unwrap()));
        write(&mut out, 0, None);
        assert_eq!(
            out.finish(),
            "<delay xmlns='urn:xmpp:delay' from='capulet.com' stamp='2002-09-10T23:08:25Z'/>\
             <delay xmlns='urn:xmpp:delay' stamp='1970-01-01T00:00:00Z'/>"
        );
    }
}
