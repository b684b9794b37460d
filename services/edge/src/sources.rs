//! Limits per source address, before TLS and before any memory for the connection: the cheapest
//! refusal.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;

use parking_lot::Mutex;

use crate::limits::{SOURCES_PURGE_US, SOURCES_SPARE};

/// What one source may do.
#[derive(Clone, Copy, Debug)]
pub struct SourceLimits {
    /// Connections at a time.
    pub connections_max: u32,
    /// New connections per second, on average.
    pub rate: u32,
    /// New connections at once, after a rest.
    pub burst: u32,
}

impl Default for SourceLimits {
    /// For a carrier's NAT with a few thousand phones behind it, whose connections come back at
    /// once after a break of the network.
    fn default() -> Self {
        Self { connections_max: 10_000, rate: 100, burst: 2_000 }
    }
}

/// Why a connection was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SourceRefusal {
    TooMany,
    TooFast,
}

/// Counts connections by source: an IPv4 address, or the /64 of an IPv6 address, which is what one
/// subscriber gets.
#[derive(Debug)]
pub(crate) struct Sources {
    limits: SourceLimits,
    /// Sources that are told apart.
    known_max: usize,
    known: Mutex<Known>,
}

#[derive(Debug, Default)]
struct Known {
    accounts: HashMap<Source, Account>,
    /// When those at rest were last forgotten.
    purged_us: Option<u64>,
}

/// IPv4 as it is, IPv6 by its upper half. Hashed with the standard library's random keys: the map
/// is fed by strangers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Source {
    V4(u32),
    V6(u64),
    /// All that came when the map was full, together.
    Rest,
}

#[derive(Clone, Copy, Debug)]
struct Account {
    connections: u32,
    /// Thousandths of a connection that may come at once.
    tokens: u64,
    seen_us: u64,
}

/// The place of one connection in the count of its source; dropping it gives the place back.
#[derive(Debug)]
pub(crate) struct Place {
    sources: Arc<Sources>,
    source: Source,
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut known = self.sources.known.lock();
        if let Some(account) = known.accounts.get_mut(&self.source) {
            account.connections = account.connections.saturating_sub(1);
        }
    }
}

impl Sources {
    /// `connections_max`: of the node. Each of them may come from a source of its own.
    pub(crate) fn new(limits: SourceLimits, connections_max: u64) -> Self {
        let connections_max = usize::try_from(connections_max).unwrap_or(usize::MAX);
        let known_max = connections_max.saturating_add(SOURCES_SPARE);
        Self { limits, known_max, known: Mutex::default() }
    }

    /// Counts a new connection from `address`, or refuses it.
    pub(crate) fn admit(
        self: &Arc<Self>,
        address: IpAddr,
        now_us: u64,
    ) -> Result<Place, SourceRefusal> {
        let mut source = source_of(address);
        let full = u64::from(self.limits.burst) * 1000;
        let mut known = self.known.lock();
        if known.accounts.len() >= self.known_max && !known.accounts.contains_key(&source) {
            known.purge(&self.limits, now_us);
            if known.accounts.len() >= self.known_max {
                source = Source::Rest;
            }
        }
        let account = known.accounts.entry(source).or_insert(Account {
            connections: 0,
            tokens: full,
            seen_us: now_us,
        });
        account.tokens = account.filled(&self.limits, now_us);
        account.seen_us = account.seen_us.max(now_us);
        if account.connections >= self.limits.connections_max {
            return Err(SourceRefusal::TooMany);
        }
        let Some(left) = account.tokens.checked_sub(1000) else {
            return Err(SourceRefusal::TooFast);
        };
        account.tokens = left;
        account.connections += 1;
        Ok(Place { sources: Arc::clone(self), source })
    }
}

impl Known {
    /// Forgets who is at rest, unless that was done just now.
    fn purge(&mut self, limits: &SourceLimits, now_us: u64) {
        if self.purged_us.is_some_and(|at_us| now_us < at_us + SOURCES_PURGE_US) {
            return;
        }
        self.purged_us = Some(now_us);
        self.accounts
            .retain(|_, account| account.connections > 0 || !account.rested(limits, now_us));
    }
}

impl Account {
    fn filled(&self, limits: &SourceLimits, now_us: u64) -> u64 {
        let rest_ms = now_us.saturating_sub(self.seen_us) / 1000;
        let gained = rest_ms.saturating_mul(u64::from(limits.rate));
        self.tokens.saturating_add(gained).min(u64::from(limits.burst) * 1000)
    }

    fn rested(&self, limits: &SourceLimits, now_us: u64) -> bool {
        self.filled(limits, now_us) == u64::from(limits.burst) * 1000
    }
}

fn source_of(address: IpAddr) -> Source {
    match address.to_canonical() {
        IpAddr::V4(v4) => Source::V4(v4.to_bits()),
        IpAddr::V6(v6) => Source::V6((v6.to_bits() >> 64) as u64),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().expect("an address")
    }

    #[test]
    fn a_source_has_a_number_of_places_and_gets_them_back() {
        let limits = SourceLimits { connections_max: 3, rate: 1000, burst: 1000 };
        let sources = Arc::new(Sources::new(limits, 100));
        let mut places: Vec<_> =
            (0..3).map(|_| sources.admit(ip("192.0.2.1"), 0).expect("a place")).collect();
        let mapped = sources.admit(ip("::ffff:192.0.2.1"), 0).map(|_| ());
        assert_eq!(mapped, Err(SourceRefusal::TooMany), "the same host");
        assert!(sources.admit(ip("192.0.2.2"), 0).is_ok(), "another host");
        places.pop();
        assert!(sources.admit(ip("192.0.2.1"), 0).is_ok());
    }

    #[test]
    fn a_subscriber_with_a_whole_prefix_is_one_source() {
        let limits = SourceLimits { connections_max: 1, rate: 1000, burst: 1000 };
        let sources = Arc::new(Sources::new(limits, 100));
        let _held = sources.admit(ip("2001:db8::1"), 0).expect("a place");
        assert!(sources.admit(ip("2001:db8::ffff:2"), 0).is_err());
        assert!(sources.admit(ip("2001:db8:0:1::1"), 0).is_ok());
    }

    #[test]
    fn a_burst_is_followed_by_the_rate() {
        let limits = SourceLimits { connections_max: 100, rate: 2, burst: 5 };
        let sources = Arc::new(Sources::new(limits, 100));
        let admitted =
            |now_us| (0..10).filter(|_| sources.admit(ip("192.0.2.1"), now_us).is_ok()).count();
        assert_eq!(admitted(0), 5);
        assert_eq!(admitted(499_000), 0);
        assert_eq!(admitted(1_000_000), 2);
        assert_eq!(admitted(100_000_000), 5, "no more than a burst after a long rest");
        assert_eq!(admitted(0), 0, "a clock that goes back gives nothing");
    }

    fn nth(n: usize) -> IpAddr {
        IpAddr::V4(std::net::Ipv4Addr::from_bits(n as u32))
    }

    #[test]
    fn the_map_is_bounded_and_forgets_the_rested() {
        let limits = SourceLimits { connections_max: 2, rate: 1, burst: 1 };
        let sources = Arc::new(Sources::new(limits, 10));
        let max = 10 + SOURCES_SPARE;
        let held: Vec<_> = (0..max).filter_map(|n| sources.admit(nth(n), 0).ok()).collect();
        assert_eq!(held.len(), max);
        assert!(sources.admit(nth(max), 0).is_ok(), "the rest shares one account");
        assert!(sources.admit(nth(max + 1), 0).is_err());
        assert!(sources.known.lock().accounts.len() <= max + 1);
        drop(held);
        assert!(sources.admit(nth(max + 2), 2_000_000).is_ok());
        assert!(sources.known.lock().accounts.len() <= 2);
    }

    /// A full node whose clients come each from somewhere else: all are told apart, whoever came
    /// and went before.
    #[test]
    fn each_connection_may_have_a_source_of_its_own() {
        let limits = SourceLimits { connections_max: 1, rate: 1, burst: 1 };
        let connections_max = 2 * SOURCES_SPARE;
        let sources = Arc::new(Sources::new(limits, connections_max as u64));
        let held: Vec<_> =
            (0..connections_max).filter_map(|n| sources.admit(nth(n), 0).ok()).collect();
        assert_eq!(held.len(), connections_max);
        assert_eq!(sources.known.lock().accounts.len(), connections_max);
    }

    #[test]
    fn a_full_map_is_looked_through_once_a_second() {
        let limits = SourceLimits { connections_max: 1, rate: 1, burst: 1 };
        let sources = Arc::new(Sources::new(limits, 0));
        let fill = |now_us| (0..SOURCES_SPARE).for_each(|n| drop(sources.admit(nth(n), now_us)));
        let full = || sources.known.lock().accounts.len() >= SOURCES_SPARE;
        fill(0);
        drop(sources.admit(nth(SOURCES_SPARE), 900_000));
        assert!(full(), "nobody has rested yet");
        drop(sources.admit(nth(SOURCES_SPARE), 900_000 + SOURCES_PURGE_US - 1));
        assert!(full(), "it was done just now");
        drop(sources.admit(nth(SOURCES_SPARE), 900_000 + SOURCES_PURGE_US));
        assert!(!full());
    }
}
