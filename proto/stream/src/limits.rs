//! Limits of a stream, each with its reason. What XML may look like is limited in `xmpp::limits`.

/// How often a client may try to authenticate on one stream. RFC 6120 §6.4.5 wants 2 to 5; people
/// mistype, and a client may walk down the list of mechanisms by itself.
pub const AUTH_ATTEMPTS_MAX: u8 = 5;

/// How often a client may ask for a resource or a resumption in vain. Each try costs its owner
/// work; a client that resumes, fails and binds needs two.
pub const BIND_ATTEMPTS_MAX: u8 = 8;

/// Stream headers of one client: at first, after TLS, after SASL.
pub const HEADERS_MAX: usize = 3;

/// Random bytes of a stream id (RFC 6120 §4.7.3 wants it unpredictable) and of a SCRAM nonce (RFC
/// 5802 §5.1): 144 bits, which base64 writes without padding.
pub const RANDOM_TEXT_BYTES: usize = 18;

/// Bytes that may wait before authentication while the owner is asked. Clients that send ahead
/// (XEP-0305) send a few hundred; a shell that respects `wants_input` leaves at most one read here.
pub const PENDING_BEFORE_AUTH_BYTES_MAX: usize = 8 * 1024;

/// The same afterwards: what one large read may bring behind a bind request.
pub const PENDING_BYTES_MAX: usize = 64 * 1024;

/// Stanzas to a client without its acknowledgement before it is asked again. XEP-0198 §7.2 proposes
/// this number.
pub const STANZAS_PER_REQUEST: u32 = 5;

/// Bytes of an SM-ID that are looked at; ours have 32 digits. XEP-0198 §5 allows 4000.
pub const SM_ID_BYTES_MAX: usize = 128;

const _: () = {
    let element = xmpp::limits::ReadLimits::BEFORE_AUTH.element_bytes as usize;
    assert!(PENDING_BEFORE_AUTH_BYTES_MAX >= element);
    assert!(PENDING_BYTES_MAX > PENDING_BEFORE_AUTH_BYTES_MAX);
    assert!(AUTH_ATTEMPTS_MAX >= 2 && AUTH_ATTEMPTS_MAX <= 5);
};
