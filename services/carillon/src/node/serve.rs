//! A node that serves clients: started part by part, watched, stopped in order.
//!
//! Each core has one thread with one runtime, on which one router worker and one core of the edge
//! run: what passes between them stays on the core. The thread that calls `serve` keeps the admin
//! socket, HTTP and the signals.

use std::rc::Rc;
use std::thread::JoinHandle;
use std::time::Duration;

use edge::tls::Entry;
use edge::{Drain, Edge, Listeners};
use router::WorkerDriver;
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio::task::{LocalSet, spawn_local};
use tokio::time::{Instant, interval, sleep, timeout_at};
use tracing::{error, info, warn};

use super::figures::Figures;
use super::parts::{NotOpen, Parts};
use super::{Engine, tls};
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

/// A running node. Made inside a `LocalSet`.
pub struct Node {
    parts: Parts,
    edge: Edge,
    threads: Vec<JoinHandle<()>>,
    events: mpsc::Receiver<Event>,
    figures: Rc<Figures>,
    _admin: admin::Server,
    _http: Vec<http::Server>,
}

impl Node {
    /// Starts everything. When it returns, clients can connect.
    ///
    /// # Errors
    /// A sentence: the data cannot be opened, an address or a certificate cannot be had. What was
    /// started by then ends with the process.
    pub async fn start(config: &Config, accept_loss: bool) -> Result<Self, Failure> {
        let process = Process::started();
        let cores = cores(config);
        let parts = open(config, cores, accept_loss).await?;
        if parts.home.is_open_to_others() {
            let folder = parts.home.root().display();
            warn!(%folder, "other users can look into the data folder: chmod 700 closes it");
        }
        let wanted = super::listen::usable(config)?;
        let tls = tls::open(config, &parts.home)?;
        let config_of_edge = super::edge_config(config, &parts, cores, tls)?;
        let (edge, hub) = Edge::new(config_of_edge, parts.router.clone())
            .map_err(|why| Failure::new(format!("the edge cannot start: {why}")))?;
        let listeners = Listeners::bind(&wanted.clients, cores)
            .map_err(|why| Failure::new(format!("cannot listen on {why}")))?;
        let pages = wanted.bind_http().await?;
        let addresses = addresses(&listeners, &pages)?;

        let (tell, events) = mpsc::channel(2 * usize::from(cores) + 1);
        let mut threads = Vec::new();
        for (index, listeners) in (0..cores).zip(listeners) {
            let driver = parts.driver(index, hub.clone());
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
            data: parts.home.root().display().to_string(),
            addresses,
            edge: edge.clone(),
            router: parts.router.clone(),
            store: parts.store.clone(),
        });
        let about = figures.clone();
        let engine = Engine::new(parts.router.clone(), Box::new(move || about.status()));
        let socket = Home::socket(parts.home.root());
        let admin = admin::Server::start(&socket, Rc::new(engine))
            .map_err(|why| Failure::new(format!("{}: {why}", socket.display())))?;
        let http = pages.into_iter().map(|it| http::Server::start(it, figures.clone().pages()));
        let http = http.collect();
        Ok(Self { parts, edge, threads, events, figures, _admin: admin, _http: http })
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
                event = self.events.recv() => if let Some(Event::Failed(what)) = event {
                    return Err(self.failed(&what));
                },
                _ = look.tick() => if self.parts.store.is_poisoned() {
                    return Err(self.failed("the store could not write; the disk may be full or \
                        broken, and only a new start can tell what was kept"));
                },
            }
        }
        self.stop(stop).await
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
        let cores = self.threads.len();
        let end = Instant::now() + DRAIN_TIME;
        self.edge.drain(DRAIN_TIME.saturating_sub(CLOSE_TIME));
        let orderly = tokio::select! {
            orderly = async {
                let closed = self.wait(cores, end, |it| matches!(it, Event::CoreDone)).await;
                self.parts.router.stop();
                closed && self.wait(cores, end, |it| matches!(it, Event::WorkerDone)).await
            } => orderly,
            () = second(stop) => false,
        };
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
async fn open(config: &Config, cores: u16, accept_loss: bool) -> Result<Parts, Failure> {
    let give_up = Instant::now() + LOCK_TIME;
    loop {
        match Parts::open(config, cores, accept_loss).await {
            Ok(parts) => return Ok(parts),
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
    driver: WorkerDriver,
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
async fn watch(index: u16, driver: WorkerDriver, tell: mpsc::Sender<Event>) {
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
            let node = Node::start(&config, false).await.unwrap();
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

                let Err(why) = Node::start(&config, false).await else { panic!("started twice") };
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
