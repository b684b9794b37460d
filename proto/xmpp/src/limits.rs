//! Limits of this crate, each with its reason. Bytes and counts, nothing else.

/// What one XML stream may send before it is refused with `policy-violation`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ReadLimits {
    /// Bytes of the stream header: byte order mark, XML declaration, white space and start tag.
    pub header_bytes: u32,
    /// Bytes of one first-level element, from its `<` to its last `>`. It is also what its copy may
    /// take, which matters where declarations are inserted or CDATA is escaped.
    pub element_bytes: u32,
    /// Elements inside each other, the first-level element counted.
    pub depth: u16,
    /// Attributes of one start tag, namespace declarations counted. Duplicates are found by
    /// comparing pairs, so this bounds that work too.
    pub attributes: u16,
    /// Elements in one first-level element, itself counted.
    pub elements: u32,
    /// Namespace declarations in scope at one place of a first-level element. Prefixes are looked
    /// up in a list, so this bounds the work per name.
    pub namespaces: u16,
}

impl ReadLimits {
    /// Before authentication. 8 KiB hold every SASL exchange; no legitimate element has 32 children
    /// then.
    pub const BEFORE_AUTH: ReadLimits = ReadLimits {
        header_bytes: HEADER_BYTES,
        element_bytes: 8 * 1024,
        depth: 8,
        attributes: 16,
        elements: 32,
        namespaces: 16,
    };

    /// After authentication: 256 KiB is what the large servers accept, so clients rely on it
    /// (vCards with avatars, PEP items). 8192 elements let a roster or bookmark push of a few
    /// thousand items pass.
    pub const AFTER_AUTH: ReadLimits = ReadLimits {
        header_bytes: HEADER_BYTES,
        element_bytes: 256 * 1024,
        depth: 64,
        attributes: 48,
        elements: 8192,
        namespaces: 48,
    };

    /// Bytes that this server wrote itself: a stanza that was accepted, wrapped (forwarded,
    /// archived) and with elements of ours added, must never be refused when it is read again.
    pub const OWN: ReadLimits = ReadLimits {
        header_bytes: HEADER_BYTES,
        element_bytes: 1024 * 1024,
        depth: 80,
        attributes: 112,
        elements: 16 * 1024,
        namespaces: 112,
    };
}

/// A stream header with every attribute of RFC 6120 §4.7 and two JIDs of the largest size (3,071
/// bytes each) would be larger; headers seen in the wild stay below 500 bytes.
pub const HEADER_BYTES: u32 = 8 * 1024;

/// `<?xml version='1.0' encoding='utf-8' standalone='yes'?>` is 56 bytes; the rest is room for
/// white space.
pub const XML_DECLARATION_BYTES: usize = 128;

/// Bytes of a stanza's `id`. Clients send 36 and mean it to be handed back, so every answer, queue
/// and row would carry what a hostile one sends; the RFC sets no limit, and nothing honest comes
/// near this one. A longer one is `policy-violation` (RFC 6120 §8.3.3.12).
pub const ID_BYTES_MAX: usize = 1023;

/// A language tag of RFC 5646 §4.4.1 fits in 35 characters; a longer one is dropped (security case
/// 26).
pub const LANG_BYTES: usize = 35;

const _: () = {
    let (before, after, own) = (ReadLimits::BEFORE_AUTH, ReadLimits::AFTER_AUTH, ReadLimits::OWN);
    assert!(before.element_bytes < after.element_bytes && after.element_bytes < own.element_bytes);
    assert!(before.depth < after.depth && after.depth < own.depth);
    assert!(before.elements < after.elements && after.elements < own.elements);
    // Standing alone may add every declaration in scope to one start tag.
    assert!(own.attributes >= after.attributes + after.namespaces);
    assert!(own.namespaces >= 2 * after.namespaces);
    // Positions are kept in 32 bits.
    assert!(own.element_bytes < u32::MAX / 8);
};
