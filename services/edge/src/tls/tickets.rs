//! Session tickets that every node with the same key accepts.
//!
//! A ticket is `span (8) ‖ nonce (12) ‖ sealed ‖ tag (16)`. The key of a span of time is derived
//! from the node's ticket key, so that nodes agree on it by their clocks alone. AES-256-GCM-SIV,
//! because many nodes draw nonces for one key. The certificate that the handshake was made for is
//! authenticated with the ticket: a new certificate ends resumption, so that `tls-server-end-point`
//! always means the certificate that the client saw.

use std::fmt;
use std::sync::{Mutex, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use aws_lc_rs::aead::{AES_256_GCM_SIV, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use aws_lc_rs::{hkdf, rand};
use rustls::server::ProducesTickets;

use super::with_handshake;
use crate::limits::{TICKET_BYTES_MAX, TICKET_KEY_LIFETIME_S};

const SPAN_LEN: usize = 8;

/// The secret that all ticket keys of a node, or of a cluster, are derived from.
#[derive(Clone)]
pub struct TicketKey([u8; 32]);

impl TicketKey {
    /// A key given from outside, to share it between nodes or to keep it over a restart.
    pub fn new(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// A fresh random key.
    ///
    /// # Errors
    /// Where the system has no random numbers.
    pub fn random() -> Result<Self, aws_lc_rs::error::Unspecified> {
        let mut bytes = [0; 32];
        rand::fill(&mut bytes)?;
        Ok(Self(bytes))
    }

    /// The key of one span of time, derived with HKDF-SHA-256.
    fn of_span(&self, span: u64) -> Option<LessSafeKey> {
        let salt = hkdf::Salt::new(hkdf::HKDF_SHA256, b"carillon session tickets 1");
        let span = span.to_be_bytes();
        let prk = salt.extract(&self.0);
        let info = [span.as_slice()];
        let okm = prk.expand(&info, &AES_256_GCM_SIV).ok()?;
        Some(LessSafeKey::new(UnboundKey::from(okm)))
    }
}

impl fmt::Debug for TicketKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TicketKey(…)")
    }
}

/// Makes and takes session tickets without keeping them.
pub struct Ticketer {
    state: Mutex<State>,
    now_s: fn() -> u64,
}

struct State {
    current: TicketKey,
    /// The key before the last change: its tickets are still taken.
    previous: Option<TicketKey>,
    /// Derived keys of `current` and `previous` by span; at most [`DERIVED_MAX`].
    derived: Vec<(u64, [Option<LessSafeKey>; 2])>,
}

/// The previous span, this one, and the next, which a node with a clock ahead of ours may be in.
const DERIVED_MAX: usize = 3;

impl Ticketer {
    /// Seals with `key`, and with keys derived from it as time goes on.
    pub fn new(key: TicketKey) -> Self {
        Self::with_clock(key, || {
            SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
        })
    }

    fn with_clock(key: TicketKey, now_s: fn() -> u64) -> Self {
        let state = State { current: key, previous: None, derived: Vec::new() };
        Self { state: Mutex::new(state), now_s }
    }

    /// Changes the key. Tickets of the one before are still taken; those of any earlier one are
    /// not.
    pub fn change(&self, key: TicketKey) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let previous = std::mem::replace(&mut state.current, key);
        state.previous = Some(previous);
        state.derived.clear();
    }

    /// Runs `f` with the keys of `span`, current first.
    fn with_keys<R>(&self, span: u64, f: impl FnOnce(&[Option<LessSafeKey>; 2]) -> R) -> R {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, keys)) = state.derived.iter().find(|(known, _)| *known == span) {
            return f(keys);
        }
        let current = state.current.of_span(span);
        let previous = state.previous.as_ref().and_then(|key| key.of_span(span));
        let keys = [current, previous];
        let result = f(&keys);
        let oldest_wanted = self.span().saturating_sub(1);
        state.derived.retain(|(known, _)| *known >= oldest_wanted);
        if state.derived.len() < DERIVED_MAX {
            state.derived.push((span, keys));
        }
        result
    }

    fn span(&self) -> u64 {
        (self.now_s)() / TICKET_KEY_LIFETIME_S
    }

    fn seal(&self, content: &[u8], certificate: &[u8]) -> Option<Vec<u8>> {
        let span = self.span();
        let mut nonce = [0; NONCE_LEN];
        rand::fill(&mut nonce).ok()?;
        let mut sealed = content.to_vec();
        self.with_keys(span, |keys| {
            let key = keys[0].as_ref()?;
            let nonce = Nonce::assume_unique_for_key(nonce);
            key.seal_in_place_append_tag(nonce, Aad::from(certificate), &mut sealed).ok()
        })?;
        let mut ticket = Vec::with_capacity(SPAN_LEN + NONCE_LEN + sealed.len());
        ticket.extend_from_slice(&span.to_be_bytes());
        ticket.extend_from_slice(&nonce);
        ticket.extend_from_slice(&sealed);
        (ticket.len() <= TICKET_BYTES_MAX).then_some(ticket)
    }

    fn open(&self, ticket: &[u8], certificate: &[u8]) -> Option<Vec<u8>> {
        if ticket.len() > TICKET_BYTES_MAX {
            return None;
        }
        let (span, rest) = ticket.split_first_chunk::<SPAN_LEN>()?;
        let (nonce, sealed) = rest.split_first_chunk::<NONCE_LEN>()?;
        let (span, here) = (u64::from_be_bytes(*span), self.span());
        if span < here.saturating_sub(1) || span > here.saturating_add(1) {
            return None;
        }
        self.with_keys(span, |keys| {
            keys.iter().flatten().find_map(|key| {
                let mut content = sealed.to_vec();
                let nonce = Nonce::assume_unique_for_key(*nonce);
                let opened = key.open_in_place(nonce, Aad::from(certificate), &mut content).ok()?;
                let length = opened.len();
                content.truncate(length);
                Some(content)
            })
        })
    }
}

impl fmt::Debug for Ticketer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Ticketer(…)")
    }
}

/// The certificate of the handshake that asks.
fn certificate() -> Option<[u8; 32]> {
    with_handshake(|scratch| scratch.leaf.as_ref().map(|leaf| leaf.fingerprint)).flatten()
}

impl ProducesTickets for Ticketer {
    fn enabled(&self) -> bool {
        true
    }

    fn lifetime(&self) -> u32 {
        // A ticket made at the end of a span is taken to the end of the next.
        u32::try_from(TICKET_KEY_LIFETIME_S).unwrap_or(u32::MAX)
    }

    fn encrypt(&self, plain: &[u8]) -> Option<Vec<u8>> {
        self.seal(plain, &certificate()?)
    }

    fn decrypt(&self, cipher: &[u8]) -> Option<Vec<u8>> {
        self.open(cipher, &certificate()?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SPAN: u64 = TICKET_KEY_LIFETIME_S;

    fn at<const NOW_S: u64>(key: u8) -> Ticketer {
        Ticketer::with_clock(TicketKey::new([key; 32]), || NOW_S)
    }

    #[test]
    fn a_ticket_is_taken_by_who_has_the_key_and_while_it_lasts() {
        let ticket = at::<{ 10 * SPAN }>(1).seal(b"state", b"cert").expect("a ticket");
        let state = Some(b"state".to_vec());
        assert_eq!(at::<{ 10 * SPAN }>(1).open(&ticket, b"cert"), state);
        assert_eq!(at::<{ 12 * SPAN - 1 }>(1).open(&ticket, b"cert"), state, "the span after");
        assert_eq!(at::<{ 10 * SPAN - 1 }>(1).open(&ticket, b"cert"), state, "a clock behind");
        assert_eq!(at::<{ 12 * SPAN }>(1).open(&ticket, b"cert"), None, "too old");
        assert_eq!(at::<{ 9 * SPAN - 1 }>(1).open(&ticket, b"cert"), None, "from the future");
        assert_eq!(at::<{ 10 * SPAN }>(2).open(&ticket, b"cert"), None, "another key");
        assert_eq!(at::<{ 10 * SPAN }>(1).open(&ticket, b"CERT"), None, "another certificate");
    }

    #[test]
    fn a_changed_key_still_takes_the_tickets_of_the_one_before() {
        let node = at::<SPAN>(1);
        let first = node.seal(b"state", b"cert").expect("a ticket");
        node.change(TicketKey::new([2; 32]));
        assert!(node.open(&first, b"cert").is_some());
        assert!(at::<SPAN>(2).open(&first, b"cert").is_none());
        node.change(TicketKey::new([3; 32]));
        assert!(node.open(&first, b"cert").is_none());
    }

    #[test]
    fn changed_and_cut_tickets_are_refused() {
        let node = at::<SPAN>(1);
        let ticket = node.seal(b"state", b"cert").expect("a ticket");
        for at in 0..ticket.len() {
            let mut changed = ticket.clone();
            changed[at] ^= 1;
            assert_eq!(node.open(&changed, b"cert"), None, "byte {at}");
            assert_eq!(node.open(&ticket[..at], b"cert"), None, "cut at {at}");
        }
        assert_eq!(node.open(&vec![0; TICKET_BYTES_MAX + 1], b"cert"), None);
    }
}
