//! Stream features (RFC 6120 §4.3.2): what a client may do next, per phase of the negotiation.

use xmpp::ns;
use xmpp::xml::push_value;

use crate::Config;
use crate::framing::put;
use crate::sasl::{self, Secured};

/// Before TLS, where it is required: STARTTLS and nothing else (RFC 6120 §5.3.1, security case 54).
pub(crate) fn before_tls(out: &mut Vec<u8>) {
    put(out, &["<stream:features><starttls xmlns='", ns::TLS, "'><required/></starttls>"]);
    put(out, &["</stream:features>"]);
}

/// Before authentication: the mechanisms, and what they can be bound to (XEP-0440). SASL2 stands
/// here too one day.
pub(crate) fn before_auth(out: &mut Vec<u8>, config: &Config, secured: &Secured) {
    put(out, &["<stream:features>"]);
    if !secured.has_tls() {
        put(out, &["<starttls xmlns='", ns::TLS, "'/>"]);
    }
    put(out, &["<mechanisms xmlns='", ns::SASL, "'>"]);
    for mechanism in sasl::offered(config, secured) {
        put(out, &["<mechanism>", mechanism.name(), "</mechanism>"]);
    }
    put(out, &["</mechanisms>"]);
    let mut bindings = sasl::offered_bindings(config, secured).peekable();
    if bindings.peek().is_some() {
        put(out, &["<sasl-channel-binding xmlns='", ns::SASL_CHANNEL_BINDING, "'>"]);
        for (name, _) in bindings {
            put(out, &["<channel-binding type='", name, "'/>"]);
        }
        put(out, &["</sasl-channel-binding>"]);
    }
    put(out, &["</stream:features>"]);
}

/// After authentication: binding, stream management, and what modules advertise.
pub(crate) fn after_auth(out: &mut Vec<u8>, config: &Config) {
    put(out, &["<stream:features><bind xmlns='", ns::BIND, "'/>"]);
    // COMPAT: clients of RFC 3921 ask for a session; `optional` tells all others not to.
    put(out, &["<session xmlns='", ns::SESSION, "'><optional/></session>"]);
    if config.sm.offered {
        put(out, &["<sm xmlns='", ns::SM, "'/>"]);
    }
    for feature in &config.features {
        put(out, &["<", feature.name, " xmlns='", feature.ns, "'"]);
        for (name, value) in &feature.attributes {
            put(out, &[" ", name, "='"]);
            push_value(out, value);
            put(out, &["'"]);
        }
        put(out, &["/>"]);
    }
    put(out, &["</stream:features>"]);
}
