//! Channels over real links, in one process over loopback.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;
use parking_lot::Mutex;
use peer::NodeId;

use super::{ChannelError, Channels, Limits, Receiver};
use crate::link::{Answer, CONTROL, CallRefusal, Class, Frame, Peer, Service, Settings};
use crate::testing::{LOCALHOST, Maker, name, until};
use crate::{Link, LinkError, Mesh};

const A: NodeId = NodeId { number: 1, incarnation: 1 };
/// The receiver of this has a bug.
const PANIC: &str = "panic";
const B: NodeId = NodeId { number: 2, incarnation: 4 };

/// Writes down what comes.
#[derive(Default)]
struct Notes {
    frames: Mutex<BTreeMap<(NodeId, u16), Vec<Bytes>>>,
    news: Mutex<Vec<(NodeId, Bytes)>>,
    strangers: AtomicBool,
}

impl Notes {
    fn count(&self) -> usize {
        self.frames.lock().values().map(Vec::len).sum()
    }
}

impl Receiver for Notes {
    fn frame(&self, from: NodeId, _: &Arc<Peer>, shard: u16, body: Bytes) {
        assert!(body != PANIC, "a bug of the receiver");
        self.frames.lock().entry((from, shard)).or_default().push(body);
    }

    fn news(&self, from: NodeId, _: &Arc<Peer>, body: Bytes) {
        self.news.lock().push((from, body));
    }

    fn up(&self, _: &Link) {}

    fn down(&self, _: &Link, _: LinkError) {}

    fn call(&self, _: &Arc<Peer>, _: Service, _: Bytes) -> Answer {
        Box::pin(async { Err(CallRefusal::NoService) })
    }

    fn knows(&self, _: NodeId, _: &Peer) -> bool {
        !self.strangers.load(Ordering::SeqCst)
    }
}

struct Node {
    mesh: Mesh,
    channels: Arc<Channels>,
    notes: Arc<Notes>,
}

fn node(maker: &Maker, name: &str, settings: Settings, limits: Limits) -> Node {
    let notes = Arc::new(Notes::default());
    let channels = Channels::new(notes.clone(), limits);
    let credentials = maker.credentials(name, "router");
    let address = LOCALHOST.parse().unwrap();
    let mesh = Mesh::start(credentials, address, settings, channels.clone()).unwrap();
    Node { mesh, channels, notes }
}

/// Two nodes that know who they are, and keep a link.
fn pair(settings: [Settings; 2], limits: Limits) -> [Node; 2] {
    let maker = Maker::new(1);
    let [of_a, of_b] = settings;
    let (a, b) = (node(&maker, "a", of_a, limits), node(&maker, "b", of_b, limits));
    a.channels.set_me(A);
    b.channels.set_me(B);
    link(&a, &b);
    [a, b]
}

fn link(a: &Node, b: &Node) {
    a.mesh.keep(&name("b"), vec![b.mesh.address().unwrap()]);
}

fn text(text: &str) -> Bytes {
    Bytes::copy_from_slice(text.as_bytes())
}

fn kept(node: &Node) -> usize {
    node.channels.status().iter().map(|it| it.kept.1).sum()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_lost_link_loses_doubles_or_reorders_a_frame() {
    const ROUNDS: usize = 3000;
    const SHARDS: [u16; 5] = [0, 1, 7, 4095, CONTROL];
    // Small windows, so that lanes are full all the time, and not the same lanes.
    let settings = |workers| Settings { workers, work_frames: 40, ..Settings::default() };
    let [a, b] = pair([settings(2), settings(3)], Limits::default());
    let stop = Arc::new(AtomicBool::new(false));
    let closer = tokio::spawn({
        let (meshes, stop) = ([a.mesh.clone(), b.mesh.clone()], stop.clone());
        async move {
            let mut closed = 0;
            while !stop.load(Ordering::SeqCst) {
                tokio::time::sleep(Duration::from_millis(5 + closed % 7 * 5)).await;
                for link in meshes[closed as usize % 2].links() {
                    link.close();
                    closed += 1;
                }
            }
            closed
        }
    });
    let produce = |from: Arc<Channels>, to: NodeId| async move {
        for round in 0..ROUNDS {
            for shard in SHARDS {
                let pad = "x".repeat(round % 97 * (shard as usize % 3) * 20);
                from.send(to, shard, text(&format!("{round} {pad}"))).unwrap();
            }
            if round % 4 == 0 {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        }
    };
    let sending = [
        tokio::spawn(produce(a.channels.clone(), B)),
        tokio::spawn(produce(b.channels.clone(), A)),
    ];
    for it in sending {
        it.await.unwrap();
    }
    tokio::time::sleep(Duration::from_millis(200)).await;
    stop.store(true, Ordering::SeqCst);
    let closed = closer.await.unwrap();
    assert!(closed > 20, "links were closed: {closed}");
    for (at, from) in [(&a, B), (&b, A)] {
        let all = ROUNDS * SHARDS.len();
        until("all frames", || at.notes.count() >= all).await;
        until("nothing kept", || kept(at) == 0).await;
        let frames = at.notes.frames.lock();
        for shard in SHARDS {
            let rounds = frames[&(from, shard)].iter().map(|body| {
                let text = std::str::from_utf8(body).unwrap();
                text.split(' ').next().unwrap().parse::<usize>().unwrap()
            });
            assert!(rounds.eq(0..ROUNDS), "shard {shard}, {closed} links");
        }
    }
    println!("{closed} links were closed");
}

#[tokio::test]
async fn frames_wait_for_a_link_for_a_name_and_for_who_is_not_known_yet() {
    let maker = Maker::new(1);
    let [a, b] = ["a", "b"].map(|it| node(&maker, it, Settings::default(), Limits::default()));
    a.channels.send(B, 7, text("before the link")).unwrap();
    assert!(!a.channels.send_now(B, text("no link")));
    link(&a, &b);
    until("the link", || a.mesh.link(&name("b")).is_some()).await;
    a.channels.set_me(A);
    a.channels.send(B, 7, text("before its name")).unwrap();
    tokio::time::sleep(Duration::from_millis(250)).await;
    assert_eq!((a.channels.quiet_for(B), b.notes.count()), (None, 0));
    // The map of the other node is late.
    b.notes.strangers.store(true, Ordering::SeqCst);
    b.channels.set_me(B);
    tokio::time::sleep(Duration::from_millis(250)).await;
    assert_eq!(b.notes.count(), 0);
    assert!(a.mesh.link(&name("b")).is_some(), "the link stays");
    b.notes.strangers.store(false, Ordering::SeqCst);
    until("both frames", || b.notes.count() == 2).await;
    until("the other way", || a.channels.send_now(B, text("hello"))).await;
    until("the news", || b.notes.news.lock().len() == 1).await;
    assert_eq!(*b.notes.news.lock(), [(A, text("hello"))]);
    assert!(a.channels.quiet_for(B).is_some());
    until("nothing kept", || kept(&a) == 0).await;
}

#[tokio::test]
async fn nothing_of_one_process_reaches_the_next() {
    let maker = Maker::new(1);
    let [a, b] = pair([Settings::default(); 2], Limits::default());
    drop(maker);
    a.channels.send(B, 7, text("taken")).unwrap();
    until("the frame", || b.notes.count() == 1).await;
    let next = NodeId { incarnation: B.incarnation + 1, ..B };
    // What is for the next waits, and so does what is for one before.
    a.channels.send(next, 7, text("too early")).unwrap();
    a.channels.send(NodeId { incarnation: 2, ..B }, 7, text("too late")).unwrap();
    tokio::time::sleep(Duration::from_millis(200)).await;
    assert_eq!(b.notes.count(), 1);
    a.channels.forget(B);
    for incarnation in 1..=B.incarnation {
        let sent = a.channels.send(NodeId { incarnation, ..B }, 7, text("gone"));
        assert_eq!(sent, Err(ChannelError::Gone));
    }
    assert_eq!(a.channels.send(A, 7, text("to itself")), Err(ChannelError::Gone));
    // It is not heard any more either, though the link stands.
    b.channels.send(A, 7, text("from the dead")).unwrap();
    b.channels.send_now(A, text("from the dead"));
    tokio::time::sleep(Duration::from_millis(200)).await;
    assert!(a.mesh.link(&name("b")).is_some());
    assert_eq!((a.notes.count(), a.notes.news.lock().len()), (0, 0));
    let of_next = a.channels.status();
    assert_eq!((of_next.len(), of_next[0].node, of_next[0].kept.0), (1, next, 1));
}

#[tokio::test]
async fn a_channel_that_runs_over_stays_broken_and_the_other_direction_works() {
    let limits = Limits { channel_bytes: 100_000, ..Limits::default() };
    let [a, b] = pair([Settings::default(); 2], limits);
    until("the link", || a.channels.quiet_for(B).is_some()).await;
    a.mesh.forget(&name("b"));
    until("its end", || a.channels.quiet_for(B).is_none()).await;
    let each = Bytes::from(vec![0; 50_000 - crate::limits::KEPT_FRAME_BYTES]);
    a.channels.send(B, 1, each.clone()).unwrap();
    a.channels.send(B, 1, each.clone()).unwrap();
    assert_eq!(kept(&a), 100_000);
    assert_eq!(a.channels.send(B, 1, Bytes::new()), Err(ChannelError::Full));
    b.channels.send(A, 1, each).unwrap();
    link(&a, &b);
    until("the frame", || a.notes.count() == 1).await;
    assert_eq!(a.channels.send(B, 1, Bytes::new()), Err(ChannelError::Full));
    assert_eq!(a.channels.status()[0].broken, Some(ChannelError::Full));
    until("nothing kept", || kept(&b) == 0).await;
    assert_eq!(b.notes.count(), 0);
}

#[tokio::test]
async fn the_longest_frame_passes_and_a_longer_one_is_refused() {
    let [a, b] = pair([Settings::default(); 2], Limits::default());
    let longest = crate::limits::BODY_BYTES_MAX;
    let longer = a.channels.send(B, 1, Bytes::from(vec![0; longest + 1]));
    assert_eq!(longer, Err(ChannelError::TooLong));
    a.channels.send(B, 1, Bytes::from(vec![0; longest])).unwrap();
    until("the frame", || b.notes.count() == 1).await;
    let many = u32::try_from(crate::limits::CHANNELS_MAX).unwrap();
    for number in 2..=many {
        a.channels.send(NodeId { number, incarnation: 9 }, 1, Bytes::new()).unwrap();
    }
    let more = a.channels.send(NodeId { number: 1, incarnation: 9 }, 1, Bytes::new());
    assert_eq!(more, Err(ChannelError::TooMany));
}

#[tokio::test]
async fn a_bug_of_the_receiver_costs_a_frame_and_not_the_lane() {
    let [a, b] = pair([Settings::default(); 2], Limits::default());
    for body in ["one", PANIC, "two", "three"] {
        a.channels.send(B, 7, text(body)).unwrap();
    }
    until("all others", || b.notes.count() == 3).await;
    assert_eq!(b.notes.frames.lock()[&(A, 7)], ["one", "two", "three"]);
    until("nothing kept", || kept(&a) == 0).await;
}

/// Figures, not a judgement: frames of 400 bytes through one channel.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "prints figures and judges nothing: run by hand with --ignored (decision 0022)"]
async fn what_a_channel_carries() {
    const COUNT: usize = 400_000;
    let [a, b] = pair([Settings::default(); 2], Limits::default());
    until("the link", || a.channels.quiet_for(B).is_some()).await;
    let body = Bytes::from(vec![7; 400]);
    let cpu = || {
        let stat = std::fs::read_to_string("/proc/self/stat").unwrap();
        let fields: Vec<&str> = stat.rsplit(')').next().unwrap().split_whitespace().collect();
        (fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap()) * 10
    };
    let (since, used) = (std::time::Instant::now(), cpu());
    for number in 0..COUNT {
        while number % 64 == 0 && kept(&a) > 16 << 20 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        a.channels.send(B, number as u16 % 4096, body.clone()).unwrap();
    }
    until("all frames", || b.notes.count() == COUNT && kept(&a) == 0).await;
    let (wall, used) = (since.elapsed(), cpu() - used);
    let each = used as f64 * 1000.0 / COUNT as f64;
    println!("{COUNT} frames in {wall:?}, {each:.2} µs of CPU each, both ends");
}

#[tokio::test]
async fn who_speaks_before_its_hello_loses_the_link() {
    let maker = Maker::new(1);
    let b = node(&maker, "b", Settings::default(), Limits::default());
    b.channels.set_me(B);
    let frame =
        |class, shard, body: &'static [u8]| Frame { class, shard, body: Bytes::from_static(body) };
    let said = [
        frame(Class::Work, 1, b"work"),
        frame(Class::Reserved, CONTROL, &[2]),
        frame(Class::Reserved, CONTROL, &[3]),
        frame(Class::Reserved, CONTROL, &[9]),
        frame(Class::Reserved, CONTROL, &[]),
        frame(Class::Reserved, 1, &[1, 0, 0, 0, 1, 0, 0, 0, 1]),
    ];
    for frame in said {
        let (a, _) = crate::testing::start(maker.credentials("a", "router"), Settings::default());
        let link = a.dial(b.mesh.address().unwrap(), None).await.unwrap();
        link.try_send(frame).unwrap();
        until("the end", || !link.is_up()).await;
        assert_eq!(b.notes.count() + b.notes.news.lock().len(), 0);
    }
}
