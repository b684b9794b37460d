//! The fast path for addresses of ASCII: one look at each byte, no Unicode tables, nothing
//! allocated.

use super::{JidError, PART_BYTES_MAX, Part, Reason};

/// What a look at the bytes of an address has shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Judged {
    /// It is valid and normalised as it stands.
    Normal,
    /// It is valid; localpart and domain become normalised when ASCII letters are folded to lower
    /// case.
    Folds,
    /// It is not plain ASCII, or has a rare form (A-label, trailing dot, address literal): prepare
    /// it by the book.
    Unknown,
}

const NOT_LOCAL: u8 = 1;
const NOT_DOMAIN: u8 = 2;
const NOT_RESOURCE: u8 = 4;
const UPPER: u8 = 8;
const BEYOND_ASCII: u8 = 16;
/// Of a domain: an address literal, an empty label, or what may be an A-label. The slow path judges
/// these.
const RARE: u8 = 32;

/// What each byte may not be part of. Indexed by `u8`, so every index exists.
const CLASS: [u8; 256] = classes();

const fn classes() -> [u8; 256] {
    let mut table = [0; 256];
    let mut at = 0;
    while at < 256 {
        table[at] = class(at as u8);
        at += 1;
    }
    table
}

const fn class(byte: u8) -> u8 {
    let local = match byte {
        // RFC 7622 §3.3.1, and no space or control character (IdentifierClass).
        0..=0x20 | b'"' | b'&' | b'\'' | b'/' | b':' | b'<' | b'>' | b'@' | 0x7f => NOT_LOCAL,
        _ => 0,
    };
    let domain = match byte {
        b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | 0x80.. => 0,
        // COMPAT: no host name has it (STD 3), but internal networks do, and it cannot be mistaken.
        b'_' => 0,
        _ => NOT_DOMAIN,
    };
    let resource = if byte < 0x20 || byte == 0x7f { NOT_RESOURCE } else { 0 };
    let upper = if byte.is_ascii_uppercase() { UPPER } else { 0 };
    let beyond = if byte >= 0x80 { BEYOND_ASCII } else { 0 };
    local | domain | resource | upper | beyond
}

/// Judges the three parts of an address.
pub(super) fn judge(
    local: Option<&str>,
    domain: &str,
    resource: Option<&str>,
) -> Result<Judged, JidError> {
    let mut seen = look(Part::Domain, domain)?;
    if seen & RARE != 0 {
        return Ok(Judged::Unknown);
    }
    if let Some(local) = local {
        seen |= look(Part::Local, local)?;
    }
    if let Some(resource) = resource {
        // The case of a resourcepart is kept, so its letters do not count.
        seen |= look(Part::Resource, resource)? & !UPPER;
    }
    Ok(match (seen & BEYOND_ASCII != 0, seen & UPPER != 0) {
        (true, _) => Judged::Unknown,
        (false, true) => Judged::Folds,
        (false, false) => Judged::Normal,
    })
}

/// Whether this part is ASCII, valid, and normalised as it stands but for case (`Some(folds)`).
pub(super) fn part(part: Part, text: &str) -> Result<Option<bool>, JidError> {
    let seen = look(part, text)?;
    Ok((seen & (RARE | BEYOND_ASCII) == 0).then_some(seen & UPPER != 0))
}

/// The classes of all bytes of a part together; an error if one may not be there.
fn look(part: Part, text: &str) -> Result<u8, JidError> {
    if text.is_empty() {
        return Err(JidError { part, reason: Reason::Empty });
    }
    if text.len() > PART_BYTES_MAX {
        return Err(JidError { part, reason: Reason::TooLong });
    }
    let forbidden = match part {
        Part::Local => NOT_LOCAL,
        Part::Domain => NOT_DOMAIN,
        Part::Resource => NOT_RESOURCE,
    };
    let mut seen = text.bytes().fold(0, |seen, byte| seen | CLASS[usize::from(byte)]);
    if part == Part::Domain {
        seen |= rarity(text.as_bytes());
    }
    if seen & forbidden != 0 && !(part == Part::Domain && text.starts_with('[')) {
        return Err(JidError { part, reason: Reason::Forbidden });
    }
    Ok(seen)
}

fn rarity(domain: &[u8]) -> u8 {
    let mut last = b'.';
    let mut is_rare = domain.first() == Some(&b'[');
    for byte in domain {
        // Two hyphens together: nearly always `xn--`.
        is_rare |= *byte == last && matches!(last, b'.' | b'-');
        last = *byte;
    }
    if is_rare || last == b'.' { RARE } else { 0 }
}
