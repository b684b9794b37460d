//! What is known of a running node: its status, its health, its metrics.

use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use edge::{Drain, Edge};
use router::Router;
use serde_json::json;
use store::embedded::BUCKETS_US;

use super::parts::Backing;
use crate::admin::protocol::Status;
use crate::http::{Pages, Response};
use crate::metrics::{self, Kind, Page, Process, VERSION};

/// Where the figures of a running node come from.
pub struct Figures {
    pub(super) process: Process,
    pub(super) domains: Vec<String>,
    /// In a cluster: which node, and what it does.
    pub(super) node: Option<String>,
    pub(super) data: String,
    pub(super) addresses: Vec<(&'static str, SocketAddr)>,
    pub(super) edge: Edge,
    pub(super) router: Arc<Router>,
    pub(super) store: Backing,
}

impl Figures {
    /// Addresses listened on, with their kind: `c2s`, `c2s_tls`, `http`.
    #[must_use]
    pub fn addresses(&self) -> &[(&'static str, SocketAddr)] {
        &self.addresses
    }

    /// The domains served.
    #[must_use]
    pub fn domains(&self) -> &[String] {
        &self.domains
    }

    /// In a cluster: which node this is, and what it does.
    #[must_use]
    pub fn node(&self) -> Option<&str> {
        self.node.as_deref()
    }

    /// The data folder.
    #[must_use]
    pub fn data(&self) -> &str {
        &self.data
    }

    /// For `carillon status`.
    pub(super) fn status(&self) -> Status {
        let listener =
            |(kind, address): &(&str, SocketAddr)| ((*kind).to_owned(), address.to_string());
        Status {
            version: VERSION.to_owned(),
            pid: std::process::id(),
            uptime_s: self.process.uptime_s(),
            domains: self.domains.clone(),
            listeners: self.addresses.iter().map(listener).collect(),
            data: self.data.clone(),
            connections: self.edge.connections(),
            sessions: self.router.metrics().sessions.load(Ordering::Relaxed),
            store_bytes: self.store.embedded().map_or(0, |store| store.size_on_disk()),
            memory_bytes: metrics::memory().map_or(0, |it| it.resident),
            draining: self.is_draining(),
        }
    }

    fn is_draining(&self) -> bool {
        self.edge.drain_state() != Drain::Serving
    }

    /// The pages of the HTTP port.
    pub(super) fn pages(self: Rc<Self>) -> Pages {
        Rc::new(move |path| match path {
            "/metrics" => Some(Response { status: 200, kind: metrics::KIND, body: self.metrics() }),
            "/health" => Some(self.health()),
            "/" => Some(Response::text(200, "Carillon. See /metrics and /health.")),
            _ => None,
        })
    }

    /// 200 if clients are served, else 503; both say why.
    fn health(&self) -> Response {
        let (store, draining) = (!self.store.is_poisoned(), self.is_draining());
        let fine = store && !draining;
        let body = json!({
            "status": if fine { "ok" } else if draining { "draining" } else { "failed" },
            "store": if store { "ok" } else { "failed" },
            "listeners": self.addresses.len(),
            "draining": draining,
        });
        let status = if fine { 200 } else { 503 };
        Response { status, kind: "application/json", body: format!("{body}\n") }
    }

    fn metrics(&self) -> String {
        let mut page = Page::new();
        self.process.write(&mut page);
        self.write_edge(&mut page);
        self.write_router(&mut page);
        self.write_store(&mut page);
        page.finish()
    }

    fn write_edge(&self, page: &mut Page) {
        let edge = self.edge.metrics();
        let help = "Client connections open.";
        page.single("carillon_connections", Kind::Gauge, help, edge.connections.value());
        let name = "carillon_accepts_total";
        page.family(name, Kind::Counter, "Client connections by what became of them on arrival.");
        for (result, counter) in [
            ("served", &edge.accepted),
            ("source_count", &edge.refused_source_count),
            ("source_rate", &edge.refused_source_rate),
            ("full", &edge.refused_full),
            ("busy", &edge.refused_busy),
            ("error", &edge.accept_errors),
        ] {
            page.sample(name, &[("result", result)], counter.value());
        }
        let name = "carillon_tls_total";
        page.family(name, Kind::Counter, "TLS handshakes by kind, and connections that broke TLS.");
        for (result, counter) in
            [("full", &edge.tls_full), ("resumed", &edge.tls_resumed), ("fault", &edge.tls_faults)]
        {
            page.sample(name, &[("result", result)], counter.value());
        }
        let name = "carillon_lost_connections_total";
        page.family(name, Kind::Counter, "Connections that the server gave up, by reason.");
        for (reason, counter) in [
            ("login_time", &edge.handshake_timeouts),
            ("silent", &edge.silent),
            ("slow_reader", &edge.slow_readers),
            ("bug", &edge.panics),
        ] {
            page.sample(name, &[("reason", reason)], counter.value());
        }
        let help = "Connections that went to the core of their account's owner.";
        page.single("carillon_moved_connections_total", Kind::Counter, help, edge.moved.value());
        let help = "Logins that were refused because too many were under way.";
        page.single(
            "carillon_logins_refused_total",
            Kind::Counter,
            help,
            edge.refused_logins.value(),
        );
        self.write_kept(page);
        let name = "carillon_client_bytes_total";
        page.family(name, Kind::Counter, "Bytes from and to clients, TLS included.");
        page.sample(name, &[("direction", "in")], edge.bytes_in.value());
        page.sample(name, &[("direction", "out")], edge.bytes_out.value());
        let name = "carillon_in_flight_bytes";
        let help = "Bytes of stanzas from clients that are not confirmed yet.";
        page.single(name, Kind::Gauge, help, edge.in_flight_bytes.value());
    }

    /// What an edge of a cluster does for sessions that outlive their owner or their socket.
    fn write_kept(&self, page: &mut Page) {
        let edge = self.edge.metrics();
        let help = "Connections that are lost, and whose sessions may be resumed.";
        page.single("carillon_lost_kept", Kind::Gauge, help, edge.lost_kept.value());
        for (name, help, counter) in [
            (
                "carillon_lost_dropped_total",
                "Lost connections that were not kept until their time.",
                &edge.lost_dropped,
            ),
            (
                "carillon_reports_total",
                "Sessions that were reported to a new owner.",
                &edge.reports,
            ),
            (
                "carillon_shards_moved_total",
                "Shards of which this edge heard that they have a new owner.",
                &edge.shards_moved,
            ),
            (
                "carillon_stale_frames_total",
                "Frames of owners that were none any more.",
                &edge.stale_frames,
            ),
        ] {
            page.single(name, Kind::Counter, help, counter.value());
        }
    }

    fn write_router(&self, page: &mut Page) {
        let router = self.router.metrics();
        let value = |it: &AtomicU64| it.load(Ordering::Relaxed);
        let help = "Sessions, those that wait to be resumed included.";
        page.single("carillon_sessions", Kind::Gauge, help, value(&router.sessions));
        let help = "Accounts in memory.";
        page.single("carillon_accounts_loaded", Kind::Gauge, help, value(&router.accounts));
        let help = "Bytes that wait for clients to take them.";
        page.single("carillon_queue_bytes", Kind::Gauge, help, value(&router.queue_bytes));
        let name = "carillon_logins_total";
        page.family(name, Kind::Counter, "Logins by result.");
        for (result, counter) in ["ok", "refused", "unavailable"].into_iter().zip(&router.logins) {
            page.sample(name, &[("result", result)], value(counter));
        }
        let name = "carillon_stanzas_total";
        page.family(name, Kind::Counter, "Stanzas from and to clients, by kind.");
        for (direction, counters) in [("in", &router.stanzas), ("out", &router.stanzas_out)] {
            for (kind, counter) in ["message", "presence", "iq"].into_iter().zip(counters) {
                page.sample(name, &[("direction", direction), ("kind", kind)], value(counter));
            }
        }
        let help = "Bytes committed.";
        page.single(
            "carillon_commit_bytes_total",
            Kind::Counter,
            help,
            value(&router.commit_bytes),
        );
        let help = "Shards that panicked and were opened again. Each one is a bug: see the log.";
        let fallen = value(&router.shards_fallen);
        page.single("carillon_shards_fallen_total", Kind::Counter, help, fallen);
        let name = "carillon_commit_retries_total";
        let help = "Commits that did not succeed at first.";
        page.single(name, Kind::Counter, help, value(&router.commit_retries));
    }

    fn write_store(&self, page: &mut Page) {
        let Some(store) = self.store.embedded() else { return };
        let latency = store.latency();
        let help = "Time from a commit to its answer.";
        let (counts, total) = (latency.counts(), latency.total_us());
        page.times("carillon_commit_seconds", help, &BUCKETS_US, &counts, total);
        let help = "Bytes of the store on disk.";
        page.single("carillon_store_bytes", Kind::Gauge, help, store.size_on_disk());
        let (name, help) = ("carillon_store_up", "Whether the store can write.");
        page.single(name, Kind::Gauge, help, u8::from(!store.is_poisoned()));
    }
}
