//! Preparation of the parts of an address and of credentials, for what is not plain ASCII.
//!
//! RFC 7622 wants PRECIS where RFC 6122 wanted stringprep, and the two do not always agree. A
//! localpart on which they disagree would name one account here and another one at a server of the
//! other kind, so it is refused. What only one of them defines cannot be mistaken for anything
//! else, and is accepted:
//! - localparts that PRECIS allows and stringprep does not know (letters newer than Unicode 3.2,
//!   other bidi rules);
//! - localparts with symbols, which stringprep leaves as they are and PRECIS wants no new account
//!   to have;
//! - resourceparts with emoji newer than the PRECIS tables, and with the invisible characters that
//!   stringprep removes (variation selectors, joiners).

use std::borrow::Cow;
use std::net::Ipv6Addr;

use idna::AsciiDenyList;
use idna::uts46::{DnsLength, Hyphens, Uts46};
use precis_profiles::precis_core::profile::PrecisFastInvocation;
use precis_profiles::precis_core::{FreeformClass, StringClass};
use precis_profiles::{OpaqueString, UsernameCaseMapped};

use super::{JidError, PART_BYTES_MAX, Part, Reason, ascii};

/// All ASCII that a domain may not have: everything but letters, digits, `-`, `.` and `_`.
const DENIED: AsciiDenyList = AsciiDenyList::new(true, "!\"#$%&'()*+,/:;<=>?@[\\]^`{|}~");

/// The dot, and what UTS 46 maps to it.
const DOTS: [char; 4] = ['.', '\u{3002}', '\u{ff0e}', '\u{ff61}'];

/// Prepares a localpart: UsernameCaseMapped of RFC 8265, without the characters of RFC 7622 §3.3.1.
pub(super) fn local(text: &str) -> Result<Cow<'_, str>, JidError> {
    match ascii::part(Part::Local, text)? {
        Some(false) => return Ok(Cow::Borrowed(text)),
        Some(true) => return Ok(Cow::Owned(text.to_ascii_lowercase())),
        None => {}
    }
    stable(Part::Local, text, local_once).map(Cow::Owned)
}

/// Prepares a domainpart: UTS 46 to U-labels, lower case, no trailing dot; or an address literal.
pub(super) fn domain(text: &str) -> Result<Cow<'_, str>, JidError> {
    // RFC 7622 §3.2: a final dot is dropped before anything else.
    let text = text.strip_suffix(DOTS).unwrap_or(text);
    match ascii::part(Part::Domain, text)? {
        Some(false) => return Ok(Cow::Borrowed(text)),
        Some(true) => return Ok(Cow::Owned(text.to_ascii_lowercase())),
        None => {}
    }
    if let Some(literal) = text.strip_prefix('[') {
        return address_literal(literal).map(Cow::Owned);
    }
    stable(Part::Domain, text, domain_once).map(Cow::Owned)
}

/// Prepares a resourcepart: OpaqueString of RFC 8265. For binding and for any text that becomes a
/// resource.
///
/// # Errors
/// Control characters, unassigned characters, nothing, or more than [`PART_BYTES_MAX`] bytes.
pub fn resourceprep(text: &str) -> Result<Cow<'_, str>, JidError> {
    if ascii::part(Part::Resource, text)?.is_some() {
        return Ok(Cow::Borrowed(text));
    }
    stable(Part::Resource, text, resource_once).map(Cow::Owned)
}

/// The domain in A-labels. A domain that has none (a label over 63 bytes) stays as it is: no
/// certificate names it.
pub(super) fn domain_to_ascii(domain: &str) -> Cow<'_, str> {
    if domain.is_ascii() {
        return Cow::Borrowed(domain);
    }
    Uts46::new()
        .to_ascii(domain.as_bytes(), DENIED, Hyphens::Allow, DnsLength::Ignore)
        .unwrap_or(Cow::Borrowed(domain))
}

/// Prepares a user name that came in a SASL exchange (RFC 5802 §5.1: SASLprep, as a query string).
///
/// What SASLprep does not know is left as it came: the name then becomes a localpart, and
/// [`super::Jid::from_parts`] judges it strictly.
pub fn prepare_username(name: &str) -> Cow<'_, str> {
    match stringprep::saslprep(name) {
        Ok(prepared) if !prepared.is_empty() => prepared,
        _ => Cow::Borrowed(name),
    }
}

/// Prepares a password, when it is set and when it comes in PLAIN, so that both meet what SCRAM
/// clients derive from.
///
/// RFC 5802 §2.2 demands SASLprep (RFC 4013), and clients do it, so it comes first although RFC
/// 8265 has a newer profile. SASLprep refuses what is newer than Unicode 3.2 (emoji, for one);
/// OpaqueString prepares that. `None`: neither allows it (control characters, nothing at all).
pub fn prepare_password(password: &str) -> Option<Cow<'_, str>> {
    let prepared = match stringprep::saslprep(password) {
        Ok(prepared) => prepared,
        Err(_) => OpaqueString::enforce(password).ok()?,
    };
    (!prepared.is_empty()).then_some(prepared)
}

/// Prepares until nothing changes; RFC 8264 §7 warns that once may not be enough. What does not
/// settle at once is too odd to be an address: two servers that prepare it a different number of
/// times would disagree.
fn stable(
    part: Part,
    text: &str,
    once: fn(&str) -> Result<String, Reason>,
) -> Result<String, JidError> {
    let fail = |reason| JidError { part, reason };
    let prepared = once(text).map_err(fail)?;
    if prepared.is_empty() {
        return Err(fail(Reason::Empty));
    }
    if prepared.len() > PART_BYTES_MAX {
        return Err(fail(Reason::TooLong));
    }
    // Mapping may have made an ASCII character that the part may not have, say '@' of U+FF20.
    ascii::part(part, &prepared)?;
    match once(&prepared) {
        Ok(again) if again == prepared => Ok(prepared),
        _ => Err(fail(Reason::Ambiguous)),
    }
}

fn local_once(text: &str) -> Result<String, Reason> {
    let by_stringprep = stringprep::nodeprep(text);
    match (UsernameCaseMapped::enforce(text), by_stringprep) {
        (Ok(precis), Ok(old)) if precis != old => Err(Reason::Ambiguous),
        (Ok(precis), _) => Ok(precis.into_owned()),
        // COMPAT: symbols and punctuation, which RFC 6122 allowed and accounts have.
        (Err(_), Ok(old)) if is_only_lower_cased(text, &old) && is_freeform(&old) => {
            Ok(old.into_owned())
        }
        (Err(_), _) => Err(Reason::Forbidden),
    }
}

fn is_only_lower_cased(text: &str, prepared: &str) -> bool {
    text.chars().flat_map(char::to_lowercase).eq(prepared.chars())
}

fn is_freeform(text: &str) -> bool {
    FreeformClass::default().allows(text).is_ok()
}

fn domain_once(text: &str) -> Result<String, Reason> {
    let (prepared, valid) = Uts46::new().to_unicode(text.as_bytes(), DENIED, Hyphens::Allow);
    valid.map_err(|_| Reason::Forbidden)?;
    if prepared.split('.').any(str::is_empty) {
        return Err(Reason::Forbidden);
    }
    Ok(prepared.into_owned())
}

fn address_literal(rest: &str) -> Result<String, JidError> {
    rest.strip_suffix(']')
        .and_then(|address| address.parse::<Ipv6Addr>().ok())
        .map(|address| format!("[{address}]"))
        .ok_or(JidError { part: Part::Domain, reason: Reason::Forbidden })
}

fn resource_once(text: &str) -> Result<String, Reason> {
    opaque(text)
        .or_else(|| {
            // COMPAT: RFC 3454 table B.1, which RFC 6122 maps to nothing and PRECIS refuses.
            let is_kept = |c: &char| !stringprep::tables::commonly_mapped_to_nothing(*c);
            opaque(&text.chars().filter(is_kept).collect::<String>())
        })
        .ok_or(Reason::Forbidden)
}

/// OpaqueString, with all of the emoji planes taken for assigned.
fn opaque(text: &str) -> Option<String> {
    if let Ok(prepared) = OpaqueString::enforce(text) {
        return Some(prepared.into_owned());
    }
    if !text.contains(is_pictograph) {
        return None;
    }
    // COMPAT: the PRECIS tables know Unicode 6.3. These blocks hold symbols only, which neither
    // decompose nor compose canonically, so any version's preparation leaves them, and prepares
    // what is between them alone.
    let mut prepared = String::with_capacity(text.len());
    for run in text.split_inclusive(is_pictograph) {
        let plain = run.strip_suffix(is_pictograph).unwrap_or(run);
        if !plain.is_empty() {
            prepared.push_str(&OpaqueString::enforce(plain).ok()?);
        }
        prepared.extend(run.chars().next_back().filter(|c| is_pictograph(*c)));
    }
    Some(prepared)
}

fn is_pictograph(c: char) -> bool {
    matches!(c, '\u{1f000}'..='\u{1faff}')
}

/// What the tables alone say of a part, for the test that the fast path says the same.
#[cfg(test)]
pub(super) fn by_tables(part: Part, text: &str) -> Result<String, JidError> {
    stable(
        part,
        text,
        match part {
            Part::Local => local_once,
            Part::Domain => domain_once,
            Part::Resource => resource_once,
        },
    )
}
