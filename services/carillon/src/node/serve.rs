//! A node that serves clients: started part by part, watched, stopped in order.
//!
//! Each core has one thread with one runtime, on which one router worker and one core of the edge
//! run: what passes between them stays on the core. The thread that calls `serve` keeps the admin
//! socket, HTTP and the signals.

use std::rc::Rc;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use edge::tls::Entry;
use edge::{Drain, Edge, Hub, Listeners};
use peer::{Downlink, NodeId, Uplink};
use router::{Outside, WorkerDriver};
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio::task::{LocalSet, spawn_local};
use tokio::time::{Instant, interval, sleep, timeout_at};
use tracing::{error, info, warn};

use super::desk::Front;
use super::figures::Figures;
use super::forward::Forward;
use super::joined::Joined;
use super::parts::{NotOpen, Parts};
use super::{ALONE, Engine, Place, tls};
use crate::admin::protocol::Fault;
use crate::cluster::{Asked, Folder, Inflow, Switch};
use crate::config::Config;
use crate::exit::Failure;
use crate::home::Home;
use crate::limits::{CLOSE_TIME, DRAIN_TIME, LOCK_TIME};
use crate::metrics::Process;
use crate::process::{Stop, StopSignal};
use crate::{admin, http};

/// What the threads tell the one that started them.
enum Event {
    /// A core has let go of its last connection, after a drain.
    CoreDone,
    /// A worker has stored what it had, after a stop.
    WorkerDone,
    /// A part that must not end has ended.
    Failed(String),
}

/// How a node is to start.
#[derive(Clone, Copy, Debug, Default)]
pub struct Start<'a> {
    /// Forget commits that the disk has lost.
    pub accept_loss: bool,
    /// `TOKEN@HOST` of the cluster to join, for a node that is of none.
    pub join: Option<&'a str>,
}

/// A running node. Made inside a `LocalSet`.
pub struct Node {
    parts: Parts,
    edge: Edge,
    threads: Vec<JoinHandle<()>>,
    events: mpsc::Receiver<Event>,
    figures: Rc<Figures>,
    engine: Rc<Engine>,
    joined: Option<Joined>,
    /// Cores of the edge that have ended, after a drain.
    cores_done: usize,
    _front: Front,
    _http: Vec<http::Server>,
}

impl Node {
    /// Starts everything. When it returns, clients can connect.
    ///
    /// # Errors
    /// A sentence: the data cannot be opened, an address or a certificate cannot be had. What was
    /// started by then ends with the process.
    pub async fn start(config: &Config, how: Start<'_>) -> Result<Self, Failure> {
        let process = Process::started();
        let cores = cores(config);
        let (parts, mut joined, config) = open(config, cores, how).await?;
        let config = &config;
        if parts.home.is_open_to_others() {
            let folder = parts.home.root().display();
            warn!(%folder, "other users can look into the data folder: chmod 700 closes it");
        }
        let wanted = super::listen::usable(config)?;
        let tls = tls::open(config, &parts.home)?;
        let place = place(&parts, joined.as_ref(), cores)?;
        let config_of_edge = super::edge_config(config, &parts, place, tls)?;
        let ways = Ways::of(&parts, joined.as_ref());
        let (edge, hub) = Edge::new(config_of_edge, ways.up.clone())
            .map_err(|why| Failure::new(format!("the edge cannot start: {why}")))?;
        let listeners = Listeners::bind(&wanted.clients, cores)
            .map_err(|why| Failure::new(format!("cannot listen on {why}")))?;
        let pages = wanted.bind_http().await?;
        let addresses = addresses(&listeners, &pages)?;

        let (tell, events) = mpsc::channel(2 * usize::from(cores) + 1);
        let mut threads = Vec::new();
        for (index, listeners) in (0..cores).zip(listeners) {
            let driver = parts.driver(index, ways.down(&hub), ways.outside.clone());
            threads.push(start_core(
                (index, cores),
                edge.clone(),
                listeners,
                driver,
                tell.clone(),
            )?);
        }
        let figures = Rc::new(Figures {
            process,
            domains: config.domains.clone(),
            node: joined.as_ref().map(Joined::title),
            data: parts.home.root().display().to_string(),
            addresses,
            edge: edge.clone(),
            router: parts.router.clone(),
            store: parts.store.clone(),
        });
        let about = figures.clone();
        let forward = joined.as_ref().map(|it| Forward(it.member.clone()));
        let engine =
            Rc::new(Engine::new(parts.router.clone(), Box::new(move || about.status()), forward));
        let front = match joined.as_mut().and_then(|it| it.front.take()) {
            Some(front) => front,
            None => Front::open(parts.home.root(), None)?,
        };
        front.desk.serve(engine.clone());
        let http = pages.into_iter().map(|it| http::Server::start(it, figures.clone().pages()));
        let http = http.collect();
        if let Some(joined) = &joined {
            joined.serve(&parts, &hub);
        }
        Ok(Self {
            parts,
            edge,
            threads,
            events,
            figures,
            engine,
            joined,
            cores_done: 0,
            _front: front,
            _http: http,
        })
    }

    /// What is known of it.
    #[must_use]
    pub fn figures(&self) -> &Figures {
        &self.figures
    }

    /// Serves until a signal stops it, or a part fails.
    ///
    /// # Errors
    /// A sentence: what failed, or that the stop was not orderly.
    pub async fn run(mut self, stop: &mut Stop) -> Result<(), Failure> {
        let mut look = interval(Duration::from_secs(1));
        loop {
            tokio::select! {
                signal = stop.next() => match signal {
                    StopSignal::Reload => self.reload(),
                    StopSignal::Stop(name) => {
                        info!(signal = name, "stopping");
                        break;
                    }
                },
                // When all cores of a drained edge have ended there are no more events.
                Some(event) = self.events.recv() => match event {
                    Event::Failed(what) => return Err(self.failed(&what)),
                    // After a drain the node goes on without clients.
                    Event::CoreDone => self.cores_done += 1,
                    Event::WorkerDone => {}
                },
                heard = heard(&mut self.joined) => match heard {
                    Heard::Ended(why) => return Err(self.failed(&why)),
                    Heard::Asked(asked) => self.forwarded(asked),
                    Heard::Draining => self.hand_off(),
                },
                _ = look.tick() => if self.parts.store.is_poisoned() {
                    return Err(self.failed("the store could not write; the disk may be full or \
                        broken, and only a new start can tell what was kept"));
                },
            }
        }
        self.stop(stop).await
    }

    /// Answers a request that came by way of another node.
    fn forwarded(&self, asked: Asked) {
        let engine = self.engine.clone();
        // Who asked has given up, and was told so.
        if asked.answer.is_closed() {
            return;
        }
        spawn_local(async move {
            let reply = match serde_json::from_slice(&asked.request) {
                Ok(request) => engine.answer_forwarded(request).await,
                Err(_) => super::engine::refuse(Fault::Protocol, "it cannot be read".to_owned()),
            };
            // Who asked may be gone.
            let _ = asked.answer.send(serde_json::to_vec(&reply).unwrap_or_default().into());
        });
    }

    /// Clients of this node go to other edges. Its shards move by themselves.
    fn hand_off(&self) {
        if let Some(joined) = self.joined.as_ref().filter(|it| it.is_edge()) {
            let (rate, location) = joined.hand_off();
            info!(rate, location, "clients are handed to other edges");
            self.edge.hand_off(rate, location);
        }
    }

    fn reload(&self) {
        let faults = self.edge.reload_certificates();
        for fault in &faults {
            error!(%fault, "a certificate cannot be used; the one before stays");
        }
        info!(faults = faults.len(), "certificates read again");
    }

    fn failed(&self, what: &str) -> Failure {
        error!("the server ends: {what}");
        Failure::new(format!("the server ended: {what}"))
    }

    /// Closes the streams, stores the sessions, closes the store; a second signal ends it at once.
    async fn stop(mut self, stop: &mut Stop) -> Result<(), Failure> {
        let orderly = tokio::select! {
            orderly = self.stop_parts() => orderly,
            () = second(stop) => false,
        };
        if let Some(joined) = self.joined.take() {
            joined.leave().await;
        }
        if !orderly {
            warn!("the stop was cut short: clients find what was acknowledged, not their sessions");
            return Err(Failure::new("the server was stopped before all sessions were stored"));
        }
        for thread in self.threads {
            let _ = thread.join();
        }
        self.parts.store.close();
        info!("stopped");
        Ok(())
    }

    /// Closes the streams, lets the shards go, stores the sessions. `false`: it took too long.
    async fn stop_parts(&mut self) -> bool {
        let cores = self.threads.len();
        let end = Instant::now() + DRAIN_TIME;
        self.edge.drain(DRAIN_TIME.saturating_sub(CLOSE_TIME));
        let open = cores.saturating_sub(self.cores_done);
        let closed = self.wait(open, end, |it| matches!(it, Event::CoreDone)).await;
        if let Some(joined) = &self.joined {
            joined.give_up().await;
        }
        let end = Instant::now() + CLOSE_TIME;
        self.parts.router.stop();
        let workers = if self.parts.store.store().is_some() { cores } else { 0 };
        let stored = self.wait(workers, end, |it| matches!(it, Event::WorkerDone)).await;
        closed && stored
    }

    /// Waits until as many events of a kind came; `false` if the time is up or something failed.
    async fn wait(&mut self, mut many: usize, end: Instant, is: impl Fn(&Event) -> bool) -> bool {
        while many > 0 {
            match timeout_at(end, self.events.recv()).await {
                Ok(Some(Event::Failed(what))) => {
                    error!("while stopping: {what}");
                    return false;
                }
                Ok(Some(event)) => many -= usize::from(is(&event)),
                Ok(None) | Err(_) => return false,
            }
        }
        true
    }
}

/// Opens the data; waits a little for a command that has it open.
async fn open(
    config: &Config,
    cores: u16,
    how: Start<'_>,
) -> Result<(Parts, Option<Joined>, Config), Failure> {
    let give_up = Instant::now() + LOCK_TIME;
    let is_clustered = how.join.is_some() || Folder::exists(&config.data);
    loop {
        let opened = match is_clustered {
            false => {
                let parts = Parts::open(config, cores, how.accept_loss).await;
                parts.map(|parts| (parts, None, config.clone()))
            }
            true => {
                let opened = super::joined::open(config, cores, how.accept_loss, how.join).await;
                opened.map(|(parts, joined, config)| (parts, Some(joined), config))
            }
        };
        match opened {
            Ok(opened) => return Ok(opened),
            Err(NotOpen::Failed(why)) => return Err(why),
            Err(NotOpen::InUse(_)) if is_served(config).await => {
                let data = config.data.display();
                return Err(Failure::new(format!("a server is running on this data ({data})")));
            }
            Err(NotOpen::InUse(why)) if Instant::now() > give_up => return Err(why),
            Err(NotOpen::InUse(_)) => sleep(LOCK_TIME / 100).await,
        }
    }
}

/// Which node this is: of its cluster, or on its own.
fn place(parts: &Parts, joined: Option<&Joined>, cores: u16) -> Result<Place, Failure> {
    if let Some(joined) = joined {
        return Ok(Place { node: joined.member.me, is_clustered: true, cores });
    }
    let incarnation = parts.home.count_start().map_err(Failure::new)?;
    Ok(Place { node: NodeId { number: ALONE, incarnation }, is_clustered: false, cores })
}

/// How the parts of a node reach each other.
struct Ways {
    up: Arc<dyn Uplink>,
    outside: Arc<dyn Outside>,
    switch: Option<Arc<Switch>>,
}

impl Ways {
    fn of(parts: &Parts, joined: Option<&Joined>) -> Self {
        match joined.map(|it| it.member.switch.clone()) {
            Some(switch) => {
                Self { up: switch.clone(), outside: switch.clone(), switch: Some(switch) }
            }
            None => {
                let router = &parts.router;
                Self { up: router.clone(), outside: router.clone(), switch: None }
            }
        }
    }

    fn down(&self, hub: &Arc<Hub>) -> Arc<dyn Downlink> {
        match &self.switch {
            Some(switch) => switch.clone(),
            None => hub.clone(),
        }
    }
}

/// What a node hears of its cluster.
enum Heard {
    /// It is a member no more; why.
    Ended(String),
    /// An operator asks by way of another node.
    Asked(Asked),
    /// It is to give its clients away.
    Draining,
}

async fn heard(joined: &mut Option<Joined>) -> Heard {
    let Some(joined) = joined else { return std::future::pending().await };
    let Inflow { ended, drains, asked } = &mut joined.inflow;
    tokio::select! {
        why = ended => Heard::Ended(why.unwrap_or_default()),
        Some(asked) = asked.recv() => Heard::Asked(asked),
        Some(()) = drains.recv() => Heard::Draining,
    }
}

async fn is_served(config: &Config) -> bool {
    admin::Client::connect(&Home::socket(&config.data)).await.is_ok()
}

/// The next signal that stops.
async fn second(stop: &mut Stop) {
    while let StopSignal::Reload = stop.next().await {}
}

fn cores(config: &Config) -> u16 {
    let wanted = match config.workers {
        0 => std::thread::available_parallelism().map_or(1, usize::from),
        given => given,
    };
    u16::try_from(wanted).unwrap_or(u16::MAX)
}

/// Addresses by kind, for people.
fn addresses(
    listeners: &[Listeners],
    pages: &[TcpListener],
) -> Result<Vec<(&'static str, std::net::SocketAddr)>, Failure> {
    let mut all = Vec::new();
    for listen in listeners.first().map(Listeners::addresses).unwrap_or_default() {
        let kind = if listen.entry == Entry::Direct { "c2s_tls" } else { "c2s" };
        all.push((kind, listen.address));
    }
    for listener in pages {
        let address = listener.local_addr().map_err(|why| Failure::new(why.to_string()))?;
        all.push(("http", address));
    }
    Ok(all)
}

/// Starts the thread of one of so many cores.
fn start_core(
    (index, cores): (u16, u16),
    edge: Edge,
    listeners: Listeners,
    driver: Option<WorkerDriver>,
    tell: mpsc::Sender<Event>,
) -> Result<JoinHandle<()>, Failure> {
    let no_thread = |why| Failure::new(format!("a worker thread cannot start: {why}"));
    let mut runtime = tokio::runtime::Builder::new_current_thread();
    super::pace::keep(&mut runtime, index, cores);
    let runtime = runtime.enable_all().build().map_err(no_thread)?;
    let core = move || {
        LocalSet::new().block_on(&runtime, async {
            tokio::join!(watch(index, driver, tell.clone()), serve(index, edge, listeners, tell));
        });
    };
    std::thread::Builder::new().name(format!("core-{index}")).spawn(core).map_err(no_thread)
}

/// Runs the worker of a core, and tells how it ended.
async fn watch(index: u16, driver: Option<WorkerDriver>, tell: mpsc::Sender<Event>) {
    let Some(driver) = driver else { return };
    let event = match spawn_local(driver.run()).await {
        Ok(()) => Event::WorkerDone,
        Err(_) => Event::Failed(format!("worker {index} panicked, which is a bug")),
    };
    let _ = tell.send(event).await;
}

/// Serves the clients of a core, and tells how it ended.
async fn serve(index: u16, edge: Edge, listeners: Listeners, tell: mpsc::Sender<Event>) {
    let event = match edge.run_core(listeners).await {
        Ok(()) if edge.drain_state() != Drain::Serving => Event::CoreDone,
        Ok(()) => Event::Failed(format!("core {index} of the edge ended")),
        Err(why) => Event::Failed(format!("core {index} of the edge cannot serve: {why}")),
    };
    let _ = tell.send(event).await;
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::TcpStream;

    use super::*;
    use crate::admin::Client;
    use crate::admin::protocol::{Reply, Request};

    fn config(folder: &std::path::Path) -> Config {
        let mut config = Config { data: folder.join("data"), workers: 2, ..Config::default() };
        let any = || vec!["127.0.0.1:0".parse().unwrap()];
        (config.listen.c2s, config.listen.c2s_tls, config.listen.http) = (any(), any(), any());
        config
    }

    async fn exchange(address: std::net::SocketAddr, sent: &str, end: &str) -> String {
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(sent.as_bytes()).await.unwrap();
        let mut got = Vec::new();
        while !String::from_utf8_lossy(&got).contains(end) {
            assert!(stream.read_buf(&mut got).await.unwrap() > 0, "{got:?}");
        }
        String::from_utf8(got).unwrap()
    }

    #[test]
    fn a_node_serves_and_stops_in_order() {
        let folder = tempfile::tempdir().unwrap();
        let config = config(folder.path());
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        LocalSet::new().block_on(&runtime, async {
            let node = Node::start(&config, Start::default()).await.unwrap();
            let find = |kind| node.figures().addresses().iter().find(|it| it.0 == kind).unwrap().1;
            let (c2s, http) = (find("c2s"), find("http"));
            let socket = Home::socket(&config.data);
            let mut stop = Stop::listen().unwrap();

            let checks = async {
                let open = "<?xml version='1.0'?><stream:stream to='localhost' version='1.0' \
                    xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams'>";
                let features = exchange(c2s, open, "</stream:features>").await;
                assert!(features.contains("<starttls"), "{features}");

                let health = exchange(http, "GET /health HTTP/1.1\r\n\r\n", "}\n").await;
                assert!(
                    health.starts_with("HTTP/1.1 200 ") && health.contains("\"status\":\"ok\"")
                );
                let metrics = exchange(http, "GET /metrics HTTP/1.1\r\n\r\n", "store_up").await;
                for name in ["carillon_accepts_total{result=\"served\"} 1", "carillon_sessions 0"] {
                    assert!(metrics.contains(name), "{metrics}");
                }

                let mut client = Client::connect(&socket).await.unwrap();
                let Reply::Status(status) = client.call(&Request::Status).await.unwrap() else {
                    panic!("no status");
                };
                assert_eq!((status.domains, status.listeners.len()), (config.domains.clone(), 3));
                let list = Request::List { domain: "localhost".to_owned(), after: None };
                let reply = client.call(&list).await.unwrap();
                assert_eq!(reply, Reply::Accounts { accounts: vec![], more: false });

                let Err(why) = Node::start(&config, Start::default()).await else {
                    panic!("started twice")
                };
                assert!(why.text.contains("a server is running on this data"), "{why}");
                rustix::process::kill_process(
                    rustix::process::getpid(),
                    rustix::process::Signal::TERM,
                )
                .unwrap();
            };
            let (ended, ()) = tokio::join!(node.run(&mut stop), checks);
            ended.unwrap();
            assert!(
                TcpStream::connect(c2s).await.is_err() && Client::connect(&socket).await.is_err()
            );
        });
    }
}
