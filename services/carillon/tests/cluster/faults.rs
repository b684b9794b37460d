//! The faults, by their numbers.

use std::time::{Duration, Instant};

use carillon::admin::protocol::MemberView;
use parking_lot::Mutex;
use xmpp::ns;

use super::load::{Load, is_full};
use super::nodes::{Cluster, EDGES, PATIENCE, ROUTERS};
use super::wire::{Broken, Wire};

static CLUSTER: Mutex<Option<Cluster>> = Mutex::new(None);

/// Runs a test with the cluster, which is whole. It is used again if it was whole at the end.
fn with_cluster(name: &str, test: impl FnOnce(&mut Cluster)) {
    /// Keeps the logs of a test that did not come to its end.
    struct Kept<'a>(&'a str, Option<Cluster>);
    impl Drop for Kept<'_> {
        fn drop(&mut self) {
            if let Some(cluster) = &self.1 {
                cluster.keep(self.0);
            }
        }
    }
    let mut place = CLUSTER.lock();
    let mut kept = Kept(name, Some(place.take().unwrap_or_else(Cluster::start)));
    let cluster = kept.1.as_mut().unwrap();
    cluster.settle();
    test(cluster);
    cluster.settle();
    *place = kept.1.take();
}

/// An edge is killed: its clients resume at the other one, and nothing is lost.
#[test]
fn f1_an_edge_is_killed() {
    with_cluster("f1", |cluster| {
        let load = Load::start(cluster);
        cluster.kill("e1");
        load.flows(cluster);
        cluster.restart("e1");
        load.flows(cluster);
        let stats = load.finish(cluster);
        assert!(stats.resumed >= 3, "half of the clients were there: {stats:?}");
        assert_eq!(stats.lost, 0, "their sessions' owners lived");
    });
}

/// An edge is told to stop: all its clients resume at the other one.
#[test]
fn f3_an_edge_is_stopped() {
    with_cluster("f3", |cluster| {
        let load = Load::start(cluster);
        let before = cluster.member("e2").unwrap();
        let status = cluster.stop("e2");
        assert!(status.success(), "{status}\n{}", cluster.log("e2"));
        load.flows(cluster);
        cluster.come_back("e2", &before);
        load.flows(cluster);
        let stats = load.finish(cluster);
        assert!(stats.resumed >= 3, "half of the clients were there: {stats:?}");
        assert_eq!(stats.lost, 0, "an orderly stop loses no session");
    });
}

/// An owner is killed. Clients keep their connections.
#[test]
fn f4_an_owner_is_killed() {
    with_cluster("f4", |cluster| {
        let load = Load::start(cluster);
        let name = cluster.owner(&[]);
        let before = cluster.member(&name).unwrap();
        cluster.kill(&name);
        load.flows(cluster);
        cluster.come_back(&name, &before);
        load.flows(cluster);
        let stats = load.finish(cluster);
        assert_eq!(stats.lost, 0, "edges report sessions to the next owner");
    });
}

/// An owner stands still for longer than its lease, and goes on: it has been declared dead, writes
/// and delivers nothing more, and ends itself. Started again, it is a member anew.
#[test]
fn f5_an_owner_stands_still() {
    with_cluster("f5", |cluster| {
        let load = Load::start(cluster);
        let name = cluster.owner(&[]);
        let before = cluster.member(&name).unwrap();
        cluster.pause(&name);
        cluster.until("it is declared dead", |it| {
            (it.member(&name)?.standing == "down").then_some(())
        });
        load.flows(cluster);
        cluster.go_on(&name);
        let status = cluster.wait_end(&name);
        assert_eq!(status.code(), Some(1), "{}", cluster.log(&name));
        assert!(cluster.log(&name).contains("declared this node dead"), "{}", cluster.log(&name));
        cluster.come_back(&name, &before);
        load.flows(cluster);
        let stats = load.finish(cluster);
        assert_eq!(stats.lost, 0, "edges report sessions to the next owner");
    });
}

/// The shards of an owner move away, under load, and back: nobody's connection breaks.
#[test]
fn f7_shards_move() {
    with_cluster("f7", |cluster| {
        let load = Load::start(cluster);
        let name = cluster.owner(&[]);
        cluster.command(&["cluster", "drain", &name]);
        cluster.until("its shards are elsewhere", |it| {
            let view = it.view()?;
            let left = view.members.iter().find(|it| it.name == name)?.shards;
            (left == 0 && view.moving == 0).then_some(())
        });
        load.flows(cluster);
        cluster.command(&["cluster", "undrain", &name]);
        cluster.settle();
        load.flows(cluster);
        let stats = load.finish(cluster);
        assert_eq!((stats.broken, stats.lost), (0, 0), "a planned move breaks nothing");
    });
}

/// The leader of the control plane is killed: another one leads, and it comes back as a follower.
/// It owns shards too, which the fault of the list (nodes for control alone) does not have: what is
/// asked here is that the two do not wait for each other.
#[test]
fn f8_the_leader_is_killed() {
    with_cluster("f8", |cluster| {
        let load = Load::start(cluster);
        let leader = cluster.leader();
        let before = cluster.member(&leader).unwrap();
        cluster.kill(&leader);
        cluster.until("another one leads", |it| it.view()?.leader.filter(|it| *it != leader));
        load.flows(cluster);
        cluster.come_back(&leader, &before);
        load.flows(cluster);
        load.finish(cluster);
    });
}

/// Two of the three control nodes are killed, after their shards have moved away: the owner that is
/// left serves all on, though nothing can be granted and nobody leads.
#[test]
fn f9_the_majority_is_lost() {
    with_cluster("f9", |cluster| {
        let load = Load::start(cluster);
        let (left, gone) = ("r1", ["r2", "r3"]);
        for name in gone {
            cluster.command(&["cluster", "drain", name]);
        }
        cluster.until("one has all shards", |it| {
            let view = it.view()?;
            let fine = |it: &MemberView| it.shards == 0 || it.name == left;
            (view.members.iter().all(fine) && (view.free, view.moving) == (0, 0)).then_some(())
        });
        gone.iter().for_each(|name| cluster.kill(name));
        load.flows(cluster);
        load.flows(cluster);
        gone.iter().for_each(|name| cluster.restart(name));
        for name in gone {
            cluster.command(&["cluster", "undrain", name]);
        }
        cluster.settle();
        load.flows(cluster);
        let stats = load.finish(cluster);
        assert_eq!((stats.broken, stats.lost), (0, 0), "clients saw nothing of it");
    });
}

/// The leader, which owns shards, is cut off from all other nodes. Those elect another one, and its
/// shards have new owners; what it grants and says itself comes to nothing, and when it hears of
/// the others again it ends itself.
#[test]
fn f10_the_leader_is_cut_off() {
    with_cluster("f10", |cluster| {
        let load = Load::start(cluster);
        let leader = cluster.leader();
        let before = cluster.member(&leader).unwrap();
        cluster.cut_off(&leader);
        let after = cluster.until("the others have another leader, and its shards", |it| {
            let view = it.view_beside(&leader)?;
            let gone = view.members.iter().find(|it| it.name == leader)?.standing == "down";
            let led = view.leader.as_ref().is_some_and(|it| *it != leader);
            (gone && led && view.free == 0).then_some(view)
        });
        load.flows(cluster);
        if let Some(view) = cluster.view_of(&leader) {
            assert!(view.version < after.version, "{view:?}");
        }
        cluster.heal();
        let status = cluster.wait_end(&leader);
        assert_eq!(status.code(), Some(1), "{}", cluster.log(&leader));
        cluster.come_back(&leader, &before);
        load.flows(cluster);
        let stats = load.finish(cluster);
        assert_eq!(stats.lost, 0, "edges report sessions to the next owner");
    });
}

/// No node hears another one for some moments, each shorter than a second: nothing comes of it.
#[test]
fn f11_the_network_blips() {
    with_cluster("f11", |cluster| {
        cluster.balance();
        let load = Load::start(cluster);
        let owned = |cluster: &Cluster| {
            cluster.until("the cluster is seen", |it| {
                let members = it.view()?.members;
                Some(members.into_iter().map(|it| (it.name, it.incarnation, it.shards)))
            })
        };
        let before: Vec<_> = owned(cluster).collect();
        for round in 0..if is_full() { 200 } else { 8 } {
            // From 5 ms to 900 ms, in no order.
            cluster.blip(Duration::from_millis(5 + round * 389 % 896));
            // Each for itself: one after the other without a rest is a longer silence.
            std::thread::sleep(Duration::from_secs(2));
        }
        load.flows(cluster);
        assert_eq!(owned(cluster).collect::<Vec<_>>(), before, "no shard moves, no node is lost");
        let stats = load.finish(cluster);
        // On a busy machine a client may lose patience; its session is still there.
        assert_eq!(stats.lost, 0, "clients keep their sessions");
    });
}

/// The node with the store is killed and started again: nobody is told that something is stored
/// meanwhile, and all goes on where it was.
#[test]
fn f15_the_store_is_killed() {
    with_cluster("f15", |cluster| {
        let load = Load::start(cluster);
        cluster.kill("s1");
        std::thread::sleep(Duration::from_secs(1));
        cluster.restart("s1");
        load.flows(cluster);
        load.finish(cluster);
    });
}

/// A client that takes nothing and acknowledges nothing is held to its limits; others see nothing
/// of it, and what it did not take waits for it.
#[test]
fn f22_a_client_acknowledges_nothing() {
    with_cluster("f22", |cluster| {
        let name = cluster.accounts(1).remove(0);
        let mut mute = Wire::connect(cluster.port("e1")).unwrap();
        mute.log_in(&name).unwrap();
        mute.bind("mute").unwrap();
        mute.say("<presence/>").unwrap();
        let load = Load::start(cluster);
        // Ten times what a session may have in its queue.
        let mut loud = Wire::connect(cluster.port("e2")).unwrap();
        loud.log_in(&name).unwrap();
        loud.bind("loud").unwrap();
        let body = "x".repeat(1000);
        for number in 0..2000 {
            let text = format!(
                "<message to='{name}@localhost' id='m{number}' type='chat'><body>{body}</body>\
                 </message>"
            );
            if loud.say(&text).is_err() {
                break;
            }
            while let Ok(Some(_)) = loud.next(Duration::ZERO) {}
        }
        load.flows(cluster);
        let stats = load.finish(cluster);
        assert_eq!((stats.broken, stats.lost), (0, 0), "others see nothing of it");
    });
}

/// Two bind one resource through two edges at the same time: one of the two stays, the other one's
/// stream is closed with `conflict`.
#[test]
fn f30_two_bind_one_resource() {
    with_cluster("f30", |cluster| {
        let name = cluster.accounts(1).remove(0);
        let ports = cluster.ports();
        for round in 0..if is_full() { 200 } else { 5 } {
            let race = ports.iter().map(|port| {
                let (name, port) = (name.clone(), *port);
                std::thread::spawn(move || {
                    let mut wire = Wire::connect(port)?;
                    wire.log_in(&name)?;
                    wire.bind("x").map(|_| wire)
                })
            });
            let race: Vec<_> = race.collect();
            let mut ends: Vec<_> = race.into_iter().map(|it| it.join().unwrap()).collect();
            one_stays(&mut ends, &format!("round {round}"));
        }
    });
}

/// One lost session is resumed through two edges at the same time: one of the two has it.
#[test]
fn f31_two_resume_one_session() {
    with_cluster("f31", |cluster| {
        let name = cluster.accounts(1).remove(0);
        let ports = cluster.ports();
        for round in 0..if is_full() { 200 } else { 5 } {
            let mut wire = Wire::connect(ports[round % 2]).unwrap();
            wire.log_in(&name).unwrap();
            let id = wire.bind("x").unwrap();
            drop(wire);
            let race = ports.iter().map(|port| {
                let (name, id, port) = (name.clone(), id.clone(), *port);
                std::thread::spawn(move || {
                    let mut wire = Wire::connect(port)?;
                    wire.log_in(&name)?;
                    let said = wire.resume(&id, 0)?;
                    match said.is("resumed", ns::SM) {
                        true => Ok(wire),
                        false => Err(Broken(format!("{said:?}"))),
                    }
                })
            });
            let race: Vec<_> = race.collect();
            let mut ends: Vec<_> = race.into_iter().map(|it| it.join().unwrap()).collect();
            one_stays(&mut ends, &format!("round {round}"));
        }
    });
}

/// Of two connections that want the same, exactly one has it in the end and answers.
fn one_stays(ends: &mut [Result<Wire, Broken>], what: &str) {
    let begun = Instant::now();
    loop {
        for end in ends.iter_mut() {
            if let Ok(wire) = end
                && let Err(why) = wire.next(Duration::from_millis(50))
            {
                *end = Err(why);
            }
        }
        let stay = ends.iter().filter(|it| it.is_ok()).count();
        let told: Vec<_> = ends.iter().filter_map(|it| it.as_ref().err()).collect();
        assert!(stay > 0, "{what}: nobody has it: {told:?}");
        if stay == 1 {
            break;
        }
        assert!(begun.elapsed() < PATIENCE, "{what}: both have it");
    }
    // What is displaced late would be found here.
    let wire = ends.iter_mut().find_map(|it| it.as_mut().ok()).unwrap();
    wire.say("<iq type='get' id='p'><ping xmlns='urn:xmpp:ping'/></iq>").unwrap();
    let begun = Instant::now();
    loop {
        match wire.next(Duration::from_millis(500)) {
            Ok(Some(it)) if it.name() == "iq" && it.attr("id") == Some("p") => break,
            Ok(_) => assert!(begun.elapsed() < PATIENCE, "{what}: no answer"),
            Err(why) => panic!("{what}: the one that stayed has ended too: {why:?}"),
        }
    }
}

/// All nodes are told to stop and are started again, one after the other, under load: no session
/// is lost. With `CARILLON_OTHER` half of them are of another release.
#[test]
fn f36_each_node_is_stopped_and_started() {
    with_cluster("f36", |cluster| {
        let load = Load::start(cluster);
        for name in ["e1", "e2", "r1", "r2", "r3", "s1"] {
            let before = cluster.member(name).unwrap();
            let status = cluster.stop(name);
            assert!(status.success(), "{name}: {status}\n{}", cluster.log(name));
            cluster.come_back(name, &before);
            cluster.settle();
            load.flows(cluster);
        }
        let stats = load.finish(cluster);
        assert_eq!(stats.lost, 0, "an orderly stop loses no session");
    });
}

/// All are killed at once, and started in another order than the first time.
#[test]
fn all_are_killed_at_once() {
    with_cluster("all", |cluster| {
        let load = Load::start(cluster);
        let all = [&EDGES[..], &ROUTERS[..], &["s1"]].concat();
        all.iter().for_each(|name| cluster.kill(name));
        for name in ["e2", "r3", "e1", "r2", "s1", "r1"] {
            cluster.restart(name);
        }
        load.flows(cluster);
        load.finish(cluster);
    });
}
