//! Every XML namespace that Carillon names, in one place. Names of namespaces are compared and
//! written only from here.

macro_rules! namespaces {
    ($($(#[$doc:meta])* $name:ident = $uri:literal;)+) => {
        $($(#[$doc])* pub const $name: &str = $uri;)+

        /// All of them, for tests and for interning.
        pub const ALL: &[&str] = &[$($uri),+];
    };
}

namespaces! {
    /// The `xml` prefix (Namespaces in XML 1.0 §3).
    XML = "http://www.w3.org/XML/1998/namespace";
    /// The `xmlns` prefix (Namespaces in XML 1.0 §3).
    XMLNS = "http://www.w3.org/2000/xmlns/";

    /// The stream element, features and errors (RFC 6120 §4.8.1).
    STREAM = "http://etherx.jabber.org/streams";
    /// Stanzas between client and server (RFC 6120 §4.8.2).
    CLIENT = "jabber:client";
    /// Stanzas between servers (RFC 6120 §4.8.2).
    SERVER = "jabber:server";
    /// Stream error conditions (RFC 6120 §4.9).
    STREAM_ERRORS = "urn:ietf:params:xml:ns:xmpp-streams";
    /// STARTTLS (RFC 6120 §5).
    TLS = "urn:ietf:params:xml:ns:xmpp-tls";
    /// SASL (RFC 6120 §6).
    SASL = "urn:ietf:params:xml:ns:xmpp-sasl";
    /// Resource binding (RFC 6120 §7).
    BIND = "urn:ietf:params:xml:ns:xmpp-bind";
    /// Stanza error conditions (RFC 6120 §8.3).
    STANZA_ERRORS = "urn:ietf:params:xml:ns:xmpp-stanzas";
    /// Session establishment, without meaning but asked for by old clients (RFC 3921 §3).
    SESSION = "urn:ietf:params:xml:ns:xmpp-session";
    /// The roster (RFC 6121 §2).
    ROSTER = "jabber:iq:roster";
    /// Stream feature: roster versioning (RFC 6121 §2.6).
    ROSTER_VERSIONING = "urn:xmpp:features:rosterver";
    /// Stream feature: subscription pre-approval (RFC 6121 §3.4).
    PRE_APPROVAL = "urn:xmpp:features:pre-approval";
    /// Framing over WebSocket (RFC 7395).
    FRAMING = "urn:ietf:params:xml:ns:xmpp-framing";

    /// XEP-0004: Data Forms.
    DATA_FORMS = "jabber:x:data";
    /// XEP-0030: Service Discovery, information.
    DISCO_INFO = "http://jabber.org/protocol/disco#info";
    /// XEP-0030: Service Discovery, items.
    DISCO_ITEMS = "http://jabber.org/protocol/disco#items";
    /// XEP-0045: Multi-User Chat.
    MUC = "http://jabber.org/protocol/muc";
    /// XEP-0045: Multi-User Chat, users.
    MUC_USER = "http://jabber.org/protocol/muc#user";
    /// XEP-0045: Multi-User Chat, administration.
    MUC_ADMIN = "http://jabber.org/protocol/muc#admin";
    /// XEP-0045: Multi-User Chat, ownership.
    MUC_OWNER = "http://jabber.org/protocol/muc#owner";
    /// XEP-0049: Private XML Storage.
    PRIVATE = "jabber:iq:private";
    /// XEP-0054: vcard-temp.
    VCARD = "vcard-temp";
    /// XEP-0059: Result Set Management.
    RSM = "http://jabber.org/protocol/rsm";
    /// XEP-0060: Publish-Subscribe.
    PUBSUB = "http://jabber.org/protocol/pubsub";
    /// XEP-0060: Publish-Subscribe, events.
    PUBSUB_EVENT = "http://jabber.org/protocol/pubsub#event";
    /// XEP-0060: Publish-Subscribe, errors.
    PUBSUB_ERRORS = "http://jabber.org/protocol/pubsub#errors";
    /// XEP-0060: Publish-Subscribe, ownership.
    PUBSUB_OWNER = "http://jabber.org/protocol/pubsub#owner";
    /// XEP-0077: In-Band Registration.
    REGISTER = "jabber:iq:register";
    /// XEP-0085: Chat State Notifications.
    CHAT_STATES = "http://jabber.org/protocol/chatstates";
    /// XEP-0092: Software Version.
    VERSION = "jabber:iq:version";
    /// XEP-0114: Component Protocol.
    COMPONENT = "jabber:component:accept";
    /// XEP-0115: Entity Capabilities.
    CAPS = "http://jabber.org/protocol/caps";
    /// XEP-0122: Data Forms Validation.
    DATA_VALIDATE = "http://jabber.org/protocol/xdata-validate";
    /// XEP-0124: BOSH.
    HTTP_BIND = "http://jabber.org/protocol/httpbind";
    /// XEP-0160: the disco feature of offline messages.
    MSGOFFLINE = "msgoffline";
    /// XEP-0184: Message Delivery Receipts.
    RECEIPTS = "urn:xmpp:receipts";
    /// XEP-0191: Blocking Command.
    BLOCKING = "urn:xmpp:blocking";
    /// XEP-0191: the error condition of blocked contacts.
    BLOCKING_ERRORS = "urn:xmpp:blocking:errors";
    /// XEP-0198: Stream Management.
    SM = "urn:xmpp:sm:3";
    /// XEP-0199: XMPP Ping.
    PING = "urn:xmpp:ping";
    /// XEP-0202: Entity Time.
    TIME = "urn:xmpp:time";
    /// XEP-0203: Delayed Delivery.
    DELAY = "urn:xmpp:delay";
    /// XEP-0206: XMPP over BOSH.
    XBOSH = "urn:xmpp:xbosh";
    /// XEP-0215: External Service Discovery.
    EXTERNAL_SERVICES = "urn:xmpp:extdisco:2";
    /// XEP-0220: Server Dialback.
    DIALBACK = "jabber:server:dialback";
    /// XEP-0220: Server Dialback, the stream feature.
    DIALBACK_FEATURE = "urn:xmpp:features:dialback";
    /// XEP-0249: Direct MUC Invitations.
    CONFERENCE = "jabber:x:conference";
    /// XEP-0280: Message Carbons.
    CARBONS = "urn:xmpp:carbons:2";
    /// XEP-0280: the rules of which messages are copied (§6.1).
    CARBONS_RULES = "urn:xmpp:carbons:rules:0";
    /// XEP-0297: Stanza Forwarding.
    FORWARD = "urn:xmpp:forward:0";
    /// XEP-0313: Message Archive Management.
    MAM = "urn:xmpp:mam:2";
    /// XEP-0313: the extended form fields and metadata.
    MAM_EXTENDED = "urn:xmpp:mam:2#extended";
    /// XEP-0313: the server understands whether messages of rooms are wanted.
    MAM_GROUPCHAT_FIELD = "urn:xmpp:mam:2#groupchat-field";
    /// XEP-0333: Displayed Markers.
    CHAT_MARKERS = "urn:xmpp:chat-markers:0";
    /// XEP-0334: Message Processing Hints.
    HINTS = "urn:xmpp:hints";
    /// XEP-0352: Client State Indication.
    CSI = "urn:xmpp:csi:0";
    /// XEP-0357: Push Notifications.
    PUSH = "urn:xmpp:push:0";
    /// XEP-0359: Unique and Stable Stanza IDs.
    STANZA_ID = "urn:xmpp:sid:0";
    /// XEP-0363: HTTP File Upload.
    HTTP_UPLOAD = "urn:xmpp:http:upload:0";
    /// XEP-0388: Extensible SASL Profile.
    SASL2 = "urn:xmpp:sasl:2";
    /// XEP-0386: Bind 2.
    BIND2 = "urn:xmpp:bind:0";
    /// XEP-0421: Anonymous unique occupant identifiers.
    OCCUPANT_ID = "urn:xmpp:occupant-id:0";
    /// XEP-0440: SASL Channel-Binding Type Capability.
    SASL_CHANNEL_BINDING = "urn:xmpp:sasl-cb:0";
    /// XEP-0484: Fast Authentication Streamlining Tokens.
    FAST = "urn:xmpp:fast:0";
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_namespace_is_listed_twice() {
        let mut sorted = ALL.to_vec();
        sorted.sort_unstable();
        sorted.dedup();
        assert_eq!(sorted.len(), ALL.len());
    }
}
