//! Links between nodes of one process, over loopback.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use parking_lot::Mutex;

use super::{CONTROL, CallError, CallRefusal, Class, Frame, Peer, SendError, Service, Settings};
use crate::testing::{Book, Maker, Seen, name, now, start, until};
use crate::{Link, LinkError, Mesh, Refusal};

fn work(shard: u16, body: &str) -> Frame {
    Frame { class: Class::Work, shard, body: Bytes::copy_from_slice(body.as_bytes()) }
}

fn reserved(shard: u16, body: &str) -> Frame {
    Frame { class: Class::Reserved, ..work(shard, body) }
}

/// Two linked nodes: meshes, books, and the link as each sees it.
async fn pair(settings: Settings) -> [(Mesh, Arc<Book>, Link); 2] {
    let maker = Maker::new(1);
    let (a, in_a) = start(maker.credentials("a", "router+control"), settings);
    let (b, in_b) = start(maker.credentials("b", "router+control"), settings);
    let from_a = a.dial(b.address().unwrap(), Some(&name("b"))).await.unwrap();
    until("the other end", || b.link(&name("a")).is_some()).await;
    let from_b = b.link(&name("a")).unwrap();
    [(a, in_a, from_a), (b, in_b, from_b)]
}

#[tokio::test]
async fn frames_arrive_in_order_and_calls_are_answered() {
    let [(a, _, from_a), (b, in_b, from_b)] = pair(Settings::default()).await;
    let long = "x".repeat(100_000);
    for turn in 0..50 {
        for shard in [0, 1, 2, 4095, CONTROL] {
            from_a.try_send(work(shard, &format!("{turn}"))).unwrap();
            from_a.try_send(reserved(shard, &format!("r{turn}"))).unwrap();
        }
        if turn % 2 == 0 {
            from_a.try_send(work(7, &long)).unwrap();
        }
    }
    until("all frames", || in_b.count(|it| matches!(it, Seen::Frame(..))) == 525).await;
    let mut by_shard: BTreeMap<u16, Vec<Bytes>> = BTreeMap::new();
    for seen in in_b.seen() {
        if let Seen::Frame(generation, shard, body) = seen {
            assert_eq!(generation, from_b.generation());
            by_shard.entry(shard).or_default().push(body);
        }
    }
    let want: Vec<_> = (0..50).flat_map(|it| [format!("{it}"), format!("r{it}")]).collect();
    for shard in [0, 1, 2, 4095, CONTROL] {
        assert_eq!(by_shard[&shard], want, "{shard}");
    }
    assert!(by_shard[&7].iter().all(|it| *it == long));
    until("credit", || from_a.under_way() == (0, 0)).await;

    let second = Duration::from_secs(1);
    let asked = |service, within| from_a.call(service, Bytes::from_static(b"12345"), within);
    assert_eq!(asked(Service::Raft, second).await.unwrap(), "a Raft 5");
    let busy = CallError::Refused(CallRefusal::Busy);
    assert_eq!(asked(Service::Store, second).await, Err(busy));
    assert_eq!(asked(Service::Shard, Duration::from_millis(50)).await, Err(CallError::Lost));
    assert_eq!(from_b.call(Service::Control, Bytes::new(), second).await.unwrap(), "b Control 0");
    let gone = b.call(&name("c"), Service::Raft, Bytes::new(), second).await;
    assert_eq!(gone, Err(CallError::NoLink));
    a.close().await;
    b.close().await;
}

#[tokio::test]
async fn the_end_is_told_once_and_an_old_link_refuses() {
    let [(a, in_a, old), (b, in_b, _)] = pair(Settings::default()).await;
    assert_eq!(in_a.seen(), [Seen::Up("b".into(), 1)]);
    old.close();
    old.close();
    until("both ends", || !old.is_up() && b.link(&name("a")).is_none()).await;
    let new = a.dial(b.address().unwrap(), None).await.unwrap();
    until("the new end", || b.link(&name("a")).is_some()).await;
    assert!(new.generation() > old.generation());
    assert_eq!(old.try_send(work(1, "late")), Err(SendError::Gone));
    new.try_send(work(1, "new")).unwrap();
    until("the frame", || in_b.seen().len() == 4).await;
    let a_saw =
        [Seen::Up("b".into(), 1), Seen::Down(1, LinkError::Closed), Seen::Up("b".into(), 2)];
    assert_eq!(in_a.seen(), a_saw);
    let b_saw = [
        Seen::Up("a".into(), 1),
        Seen::Down(1, LinkError::ClosedByPeer),
        Seen::Up("a".into(), 2),
        Seen::Frame(2, 1, Bytes::from_static(b"new")),
    ];
    assert_eq!(in_b.seen(), b_saw);
    assert_eq!(new.try_send(work(1, &"x".repeat(6 << 20))), Err(SendError::TooLong));
}

#[tokio::test]
async fn a_lost_link_keeps_nothing_that_was_queued() {
    let [(a, _, from_a), (_, in_b, from_b)] = pair(Settings::default()).await;
    let held = Arc::new(Mutex::new(Vec::new()));
    let holding = held.clone();
    *in_b.on_frame.lock() = Some(Arc::new(move |_: &Link, _: &Frame, digest| {
        holding.lock().extend(digest);
    }));
    from_a.try_send(work(1, "x")).unwrap();
    until("the work", || held.lock().len() == 1).await;
    // More than the writer takes at once: the last answer, which holds the room of the work, and
    // so the link, is in the queue when the link is lost.
    let long = "x".repeat(crate::limits::BATCH_BYTES);
    from_b.try_send(reserved(1, &long)).unwrap();
    from_b.try_answer(reserved(1, &long), held.lock().pop()).unwrap();
    from_b.close();
    let links = [Arc::downgrade(&from_a.inner), Arc::downgrade(&from_b.inner)];
    *in_b.on_frame.lock() = None;
    drop((from_a, from_b));
    until("the end", || a.link(&name("b")).is_none()).await;
    until("nothing is left", || links.iter().all(|link| link.strong_count() == 0)).await;
}

/// What the dialler is told, and what the listener wrote down of links.
async fn refused(dialler: crate::Credentials, listener: crate::Credentials) -> LinkError {
    let (a, in_a) = start(dialler, Settings::default());
    let (b, in_b) = start(listener, Settings::default());
    let why = a.dial(b.address().unwrap(), None).await.unwrap_err();
    assert!(in_a.seen().is_empty() && in_b.seen().is_empty());
    why
}

#[tokio::test]
async fn strangers_are_refused_with_the_reason() {
    use LinkError::{Refused, RefusedByPeer};
    let (ours, same_id, other) = (Maker::new(1), Maker::new(1), Maker::new(2));
    let good = |node: &str| ours.credentials(node, "router");
    let hour = Duration::from_secs(3600);
    let at = |node: &str, at| ours.credentials_at(&ours.identity(node, "router"), at);

    let why = refused(good("a"), other.credentials("b", "router")).await;
    assert_eq!(why, Refused(Refusal::WrongCluster));
    let why = refused(good("a"), same_id.credentials("b", "router")).await;
    assert_eq!(why, Refused(Refusal::UnknownAuthority));
    let why = refused(good("a"), at("b", now() - 3 * hour)).await;
    assert_eq!(why, Refused(Refusal::Expired));
    let why = refused(good("a"), at("b", now() + 3 * hour)).await;
    assert_eq!(why, Refused(Refusal::NotYetValid));
    let why = refused(at("a", now() - 3 * hour), good("b")).await;
    assert_eq!(why, RefusedByPeer(Refusal::Expired));
    let why = refused(good("a"), good("a")).await;
    assert_eq!(why, Refused(Refusal::Itself));
    let edge = |node: &str| ours.credentials(node, "edge");
    let why = refused(edge("a"), edge("b")).await;
    assert_eq!(why, Refused(Refusal::RoleNotAllowed));

    // A certificate of ours that names another cluster, on either side.
    let forged = |node: &str| {
        let identity = crate::Identity { cluster: other.cluster, ..ours.identity(node, "router") };
        ours.credentials_at(&identity, now())
    };
    assert_eq!(refused(good("a"), forged("b")).await, Refused(Refusal::WrongCluster));

    let (a, _) = start(good("a"), Settings::default());
    let (b, _) = start(good("b"), Settings::default());
    let why = a.dial(b.address().unwrap(), Some(&name("c"))).await.unwrap_err();
    assert_eq!(why, Refused(Refusal::WrongNode));
    let why = a.renew(ours.credentials("c", "router")).unwrap_err();
    assert_eq!(why, Refused(Refusal::WrongNode));
    assert_eq!(a.dial("127.0.0.1:9".parse().unwrap(), None).await.unwrap_err(), LinkError::Silent);
}

/// The dialler's own checks come first, so what the listener refuses is seen with a dialler that
/// trusts anybody.
#[tokio::test]
async fn a_listener_refuses_those_without_a_certificate_of_ours() {
    let (ours, other) = (Maker::new(1), Maker::new(2));
    let (b, in_b) = start(ours.credentials("b", "router"), Settings::default());
    let dial = async |config: rustls::ClientConfig| {
        let config = super::driver::client_config(config, &Settings::default()).unwrap();
        let endpoint = quinn::Endpoint::client("127.0.0.1:0".parse().unwrap()).unwrap();
        let connecting = endpoint.connect_with(config, b.address().unwrap(), "x.invalid").unwrap();
        let end = match connecting.await {
            Ok(connection) => connection.closed().await,
            Err(end) => end,
        };
        LinkError::from_end(&end)
    };
    let trusting = || {
        let pin = super::tls::fingerprint(ours.authority.certificate());
        super::tls::joiner(pin).unwrap().0
    };
    let mut without = trusting();
    without.alpn_protocols = vec![super::tls::ALPN_MESH.to_vec()];
    assert_eq!(dial(without).await, LinkError::RefusedByPeer(Refusal::NoCertificate));
    let mut strange = super::tls::dialler(&other.credentials("a", "router")).unwrap().0;
    let verifier = super::tls::joiner_verifier(ours.authority.certificate());
    strange.dangerous().set_certificate_verifier(verifier);
    assert_eq!(dial(strange).await, LinkError::RefusedByPeer(Refusal::WrongCluster));
    let mut unknown = trusting();
    unknown.alpn_protocols = vec![b"h3".to_vec()];
    assert_eq!(dial(unknown).await, LinkError::ClosedByPeer);
    // Nobody answers joins here.
    assert_eq!(dial(trusting()).await, LinkError::ClosedByPeer);
    assert!(in_b.seen().is_empty());
}

/// What one side of the flood does: its producer sends work as it finds room, its handler answers
/// each frame of the other side at once, and counts.
struct Flood {
    answered: AtomicUsize,
    confirmed: AtomicUsize,
    last: Mutex<BTreeMap<u16, usize>>,
}

impl Flood {
    fn install(book: &Book) -> Arc<Flood> {
        let flood = Arc::new(Flood {
            answered: AtomicUsize::new(0),
            confirmed: AtomicUsize::new(0),
            last: Mutex::default(),
        });
        let mine = flood.clone();
        let on_frame = move |link: &Link, frame: &Frame, digest| {
            let text = std::str::from_utf8(&frame.body).unwrap();
            if frame.class == Class::Reserved {
                mine.confirmed.fetch_add(1, Ordering::SeqCst);
                return;
            }
            let number: usize = text.trim_end_matches('.').parse().unwrap();
            let before = mine.last.lock().insert(frame.shard, number);
            assert_eq!(number, before.map_or(0, |it| it + 1), "in order, none lost, none twice");
            // Processing is done only when its confirmation is queued: there is room for it.
            link.try_answer(reserved(frame.shard, text), digest).expect("room for an answer");
            mine.answered.fetch_add(1, Ordering::SeqCst);
        };
        *book.on_frame.lock() = Some(Arc::new(on_frame));
        flood
    }
}

async fn produce(link: Link, count: usize) {
    for number in 0..count {
        for shard in [0, 1, CONTROL] {
            let frame = work(shard, &format!("{number}{}", ".".repeat(number % 40)));
            while let Err(why) = link.try_send(frame.clone()) {
                assert_eq!(why, SendError::Full);
                tokio::task::yield_now().await;
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_busy_nodes_with_tiny_limits_never_deadlock() {
    const COUNT: usize = 3000;
    let tiny = Settings {
        work_frames: 2,
        work_bytes: 80,
        // Exactly what the other side's work needs: an answer to each frame under way.
        reserved_frames: 2,
        reserved_bytes: 2 * 60,
        ..Settings::default()
    };
    let [(_, in_a, from_a), (_, in_b, from_b)] = pair(tiny).await;
    let floods = [Flood::install(&in_a), Flood::install(&in_b)];
    let sending = [from_a, from_b].map(|link| tokio::spawn(produce(link, COUNT)));
    let all = async {
        for it in sending {
            it.await.unwrap();
        }
        for flood in &floods {
            until("all confirmations", || flood.confirmed.load(Ordering::SeqCst) == 3 * COUNT)
                .await;
            until("all answers", || flood.answered.load(Ordering::SeqCst) == 3 * COUNT).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), all).await.expect("no deadlock");
    assert_eq!(in_a.count(|it| matches!(it, Seen::Down(..))), 0);
}

#[tokio::test]
async fn a_lane_that_was_full_tells_when_it_has_room() {
    let tiny = Settings { work_frames: 4, ..Settings::default() };
    let [(_, in_a, from_a), (_, in_b, _)] = pair(tiny).await;
    let held = Arc::new(Mutex::new(Vec::new()));
    let holding = held.clone();
    let on_frame = move |_: &Link, _: &Frame, digest| holding.lock().extend(digest);
    *in_b.on_frame.lock() = Some(Arc::new(on_frame));
    for _ in 0..4 {
        from_a.try_send(work(1, "x")).unwrap();
    }
    assert_eq!(from_a.try_send(work(1, "x")), Err(SendError::Full));
    from_a.try_send(work(2, "another lane")).unwrap();
    until("the work", || held.lock().len() == 5).await;
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert_eq!(in_a.count(|it| matches!(it, Seen::Room(_))), 0, "nothing is digested yet");
    held.lock().clear();
    until("room", || in_a.count(|it| matches!(it, Seen::Room(_))) == 1).await;
    from_a.try_send(work(1, "x")).unwrap();
}

#[tokio::test]
async fn a_link_whose_reserved_room_is_used_up_is_given_up() {
    let tiny = Settings { reserved_frames: 3, ..Settings::default() };
    let [(_, in_a, from_a), (_, in_b, _)] = pair(tiny).await;
    // On this runtime's one thread nothing is written before the test waits.
    for _ in 0..3 {
        from_a.try_send(reserved(1, "x")).unwrap();
    }
    assert_eq!(from_a.try_send(reserved(1, "x")), Err(SendError::Gone));
    let down = |it: &Seen| matches!(it, Seen::Down(..));
    until("both ends", || in_a.count(down) == 1 && in_b.count(down) == 1).await;
    assert_eq!(in_b.seen().last(), Some(&Seen::Down(1, LinkError::Overrun)));
}

#[tokio::test]
async fn nodes_that_dial_each_other_at_once_end_with_one_link() {
    for _ in 0..5 {
        let maker = Maker::new(1);
        let (a, in_a) = start(maker.credentials("a", "router"), Settings::default());
        let (b, in_b) = start(maker.credentials("b", "router"), Settings::default());
        a.keep(&name("b"), vec![b.address().unwrap()]);
        b.keep(&name("a"), vec![a.address().unwrap()]);
        until("a link", || a.link(&name("b")).is_some() && b.link(&name("a")).is_some()).await;
        tokio::time::sleep(Duration::from_millis(200)).await;
        let (from_a, from_b) = (a.link(&name("b")).unwrap(), b.link(&name("a")).unwrap());
        from_a.try_send(work(1, "to b")).unwrap();
        from_b.try_send(work(1, "to a")).unwrap();
        let frame = |it: &Seen| matches!(it, Seen::Frame(..));
        until("the frames", || in_a.count(frame) == 1 && in_b.count(frame) == 1).await;
        for book in [in_a, in_b] {
            let (ups, downs) = (
                book.count(|it| matches!(it, Seen::Up(..))),
                book.count(|it| matches!(it, Seen::Down(..))),
            );
            assert_eq!(ups, downs + 1, "{:?}", book.seen());
        }
    }
}

#[tokio::test]
async fn a_lost_link_is_made_again_and_silence_is_noticed() {
    let maker = Maker::new(1);
    let quick = Settings {
        keep_alive: Duration::from_millis(100),
        silence: Duration::from_millis(600),
        ..Settings::default()
    };
    let (a, in_a) = start(maker.credentials("a", "router"), quick);
    // A node in a runtime of its own, which is dropped: it says nothing more, not even goodbye.
    let (send, receive) = std::sync::mpsc::sync_channel(1);
    let credentials = maker.credentials("b", "router");
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    runtime.spawn(async move {
        send.send(start(credentials, quick)).unwrap();
    });
    let (b, _) = receive.recv().unwrap();
    let address = b.address().unwrap();
    a.keep(&name("b"), vec![address]);
    until("the link", || a.link(&name("b")).is_some()).await;
    let link = a.link(&name("b")).unwrap();
    tokio::time::sleep(Duration::from_millis(800)).await;
    assert!(link.is_up() && link.quiet_for() < Duration::from_millis(700), "kept alive");
    drop(b);
    runtime.shutdown_background();
    until("silence", || !link.is_up()).await;
    assert_eq!(in_a.seen().last(), Some(&Seen::Down(1, LinkError::Silent)));

    // It comes back at its address, as another process would.
    let book = Arc::new(Book::default());
    let credentials = maker.credentials("b", "router");
    let mut again = Mesh::start(maker.credentials("b", "router"), address, quick, book.clone());
    for _ in 0..50 {
        if again.is_ok() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
        let credentials = maker.credentials("b", "router");
        again = Mesh::start(credentials, address, quick, book.clone());
    }
    let again = again.unwrap();
    until("the link anew", || a.link(&name("b")).is_some()).await;
    again.renew(credentials).unwrap();
    a.forget(&name("b"));
    until("its end", || a.link(&name("b")).is_none()).await;
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert!(a.link(&name("b")).is_none(), "a forgotten node is not dialled");
}

#[tokio::test]
async fn who_may_not_link_is_refused_and_who_may_not_any_more_is_cut_off() {
    let maker = Maker::new(1);
    let (a, in_a) = start(maker.credentials("a", "router"), Settings::default());
    let (b, in_b) = start(maker.credentials("b", "router"), Settings::default());
    let may = Arc::new(AtomicBool::new(false));
    let says = may.clone();
    b.set_judge(Arc::new(move |peer: &Peer| {
        assert_eq!(peer.identity.node, name("a"));
        says.load(Ordering::SeqCst)
    }));
    let dial = async || a.dial(b.address().unwrap(), Some(&name("b"))).await;
    let refusal = Refusal::NotAMember;
    assert_eq!(dial().await.unwrap_err(), LinkError::RefusedByPeer(refusal));
    assert!(in_b.seen().is_empty(), "it never came up");
    // As the one that dials.
    let why = b.dial(a.address().unwrap(), None).await.unwrap_err();
    assert_eq!(why, LinkError::Refused(refusal));
    assert!(in_b.seen().is_empty());
    may.store(true, Ordering::SeqCst);
    until("what the other side saw of it", || a.links().is_empty()).await;
    let link = dial().await.unwrap();
    b.judge_again();
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert!(link.is_up(), "a member stays");
    may.store(false, Ordering::SeqCst);
    b.judge_again();
    until("its end", || !link.is_up() && b.links().is_empty()).await;
    let down = LinkError::RefusedByPeer(refusal);
    assert!(matches!(in_a.seen().last(), Some(Seen::Down(_, why)) if *why == down));
    // One that stands when the judge comes.
    let third = start(maker.credentials("c", "router"), Settings::default()).0;
    let link = third.dial(a.address().unwrap(), None).await.unwrap();
    a.set_judge(Arc::new(|_: &Peer| false));
    until("its end", || !link.is_up()).await;
}

#[tokio::test]
async fn a_caller_is_judged_before_its_request_is_read() {
    let maker = Maker::new(1);
    let (a, _) = start(maker.credentials("a", "edge"), Settings::default());
    let (b, _) = start(maker.credentials("b", "router+control"), Settings::default());
    let link = a.dial(b.address().unwrap(), None).await.unwrap();
    let second = Duration::from_secs(1);
    // The answer comes though the request does not end.
    for (service, says) in [(1, CallRefusal::NotAllowed), (4, CallRefusal::NotAllowed)]
        .into_iter()
        .chain([(99, CallRefusal::NoService)])
    {
        let (mut send, mut receive) = link.inner.connection.open_bi().await.unwrap();
        send.write_all(&[service, 1, 2, 3]).await.unwrap();
        let answer = tokio::time::timeout(second, receive.read_to_end(10)).await;
        let code = answer.expect("an answer").unwrap();
        assert_eq!(code, [if says == CallRefusal::NotAllowed { 2 } else { 1 }], "{service}");
    }
    // A long request that nobody reads ends with the reason too.
    let long = Bytes::from(vec![0; 4 << 20]);
    let refused = Err(CallError::Refused(CallRefusal::NotAllowed));
    assert_eq!(link.call(Service::Raft, long.clone(), 5 * second).await, refused);
    assert_eq!(link.call(Service::Store, long, 5 * second).await, refused);
    let most = crate::limits::COMMAND_BYTES_MAX + crate::limits::JOIN_BYTES_MAX;
    for (bytes, fits) in [(most, true), (most + 1, false)] {
        let body = Bytes::from(vec![0; bytes]);
        let answer = link.call(Service::Control, body.clone(), 5 * second).await;
        assert_eq!(answer.is_ok(), fits);
        assert_eq!(answer.err(), (!fits).then_some(CallError::TooLong));
        // Whoever sends one all the same is not listened to.
        let (mut send, mut receive) = link.inner.connection.open_bi().await.unwrap();
        let _ = send.write_all_chunks(&mut [Bytes::from_static(&[2]), body]).await;
        let _ = send.finish();
        assert_eq!(receive.read_to_end(100).await.is_ok(), fits);
    }
}

#[tokio::test]
async fn calls_between_replicas_have_room_when_others_have_none() {
    let [(_, _, from_a), _] = pair(Settings::default()).await;
    // Those of this service are not answered.
    let waiting: Vec<_> = (0..crate::limits::CALLS_MAX)
        .map(|_| {
            let link = from_a.clone();
            let wait = Duration::from_secs(30);
            tokio::spawn(async move { link.call(Service::Shard, Bytes::new(), wait).await })
        })
        .collect();
    tokio::time::sleep(Duration::from_millis(300)).await;
    let second = Duration::from_secs(1);
    let asked = from_a.call(Service::Raft, Bytes::new(), second).await;
    assert_eq!(asked.unwrap(), "a Raft 0");
    let full = from_a.call(Service::Control, Bytes::new(), second).await;
    assert_eq!(full, Err(CallError::Lost), "the room of all others is taken");
    waiting.iter().for_each(|it| it.abort());
    let asked = from_a.call(Service::Control, Bytes::new(), second).await;
    assert_eq!(asked.unwrap(), "a Control 0");
}

#[tokio::test]
async fn a_name_is_looked_up_at_each_attempt() {
    let maker = Maker::new(1);
    let (a, _) = start(maker.credentials("a", "router"), Settings::default());
    let (b, _) = start(maker.credentials("b", "router"), Settings::default());
    let port = b.address().unwrap().port();
    // The first name is nobody's, by RFC 6761; the second may have an address of the other family
    // before the one that is listened on.
    let names = vec!["nobody.invalid:5270".to_owned(), format!("localhost:{port}")];
    a.keep_at(&name("b"), names);
    until("the link", || a.link(&name("b")).is_some()).await;
    a.link(&name("b")).unwrap().close();
    until("its end", || b.links().is_empty()).await;
    until("the link anew", || b.link(&name("a")).is_some()).await;
    a.keep_at(&name("b"), vec!["nobody.invalid:5270".into()]);
    a.link(&name("b")).unwrap().close();
    until("its end", || a.link(&name("b")).is_none()).await;
    a.keep_at(&name("b"), vec![format!("localhost:{port}")]);
    until("by the other name", || a.link(&name("b")).is_some()).await;
}

/// Figures, not a judgement: frames of 400 bytes through one link, answered one by one.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "prints figures and judges nothing: run by hand with --ignored (decision 0015)"]
async fn what_a_link_carries() {
    const COUNT: usize = 400_000;
    let [(_, in_a, from_a), (_, in_b, _)] = pair(Settings::default()).await;
    let confirmed = Arc::new(AtomicUsize::new(0));
    let counting = confirmed.clone();
    *in_a.on_frame.lock() = Some(Arc::new(move |_: &Link, _: &Frame, _| {
        counting.fetch_add(1, Ordering::Relaxed);
    }));
    *in_b.on_frame.lock() = Some(Arc::new(|link: &Link, frame: &Frame, digest| {
        link.try_answer(reserved(frame.shard, "taken"), digest).unwrap();
    }));
    let body = Bytes::from(vec![7; 400]);
    let cpu = || {
        let stat = std::fs::read_to_string("/proc/self/stat").unwrap();
        let fields: Vec<&str> = stat.rsplit(')').next().unwrap().split_whitespace().collect();
        (fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap()) * 10
    };
    let (since, used) = (std::time::Instant::now(), cpu());
    for number in 0..COUNT {
        let frame = Frame { class: Class::Work, shard: number as u16 % 4096, body: body.clone() };
        while from_a.try_send(frame.clone()).is_err() {
            tokio::task::yield_now().await;
        }
    }
    until("all answers", || confirmed.load(Ordering::Relaxed) == COUNT).await;
    let (wall, used) = (since.elapsed(), cpu() - used);
    let each = used as f64 * 1000.0 / COUNT as f64;
    println!("{COUNT} frames and answers in {wall:?}, {each:.2} µs of CPU each, both ends");
    let mut trips: Vec<_> = Vec::new();
    for _ in 0..2000 {
        let since = std::time::Instant::now();
        let second = Duration::from_secs(1);
        from_a.call(Service::Raft, Bytes::from_static(b"x"), second).await.unwrap();
        trips.push(since.elapsed());
    }
    trips.sort();
    println!("a call: median {:?}, p99 {:?}", trips[1000], trips[1980]);
}
