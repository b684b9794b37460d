//! A worker never waits: while the store holds a commit back, everything else goes on.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use kv::{Batch, CommitFuture, MemStore, ReadFuture, Reads, Store};
use peer::shard::HashKey;
use peer::{ConnId, Down, Downlink, Epoch, NodeId, Owner, Up, Uplink, shard_of};
use router::Router;
use session::admin::{Reply, Request};
use session::config::Config;
use session::module::Modules;
use tokio::sync::Semaphore;
use xmpp::jid::Jid;
use xmpp::scram::Hash;

/// Commits only when it is let.
struct Gate {
    rows: MemStore,
    open: Arc<Semaphore>,
}

impl Store for Gate {
    fn read(&self, reads: Reads) -> ReadFuture {
        self.rows.read(reads)
    }

    fn commit(&self, batch: Batch) -> CommitFuture {
        let (result, open) = (self.rows.commit_now(&batch), self.open.clone());
        Box::pin(async move {
            let _open = open.acquire().await.expect("not closed");
            result
        })
    }
}

/// Counts the answers to those who want to log in.
#[derive(Default)]
struct Answers(AtomicUsize);

impl Downlink for Answers {
    fn down(&self, _: Owner, _: ConnId, frame: Down) {
        if matches!(frame, Down::Challenge { .. }) {
            self.0.fetch_add(1, Ordering::SeqCst);
        }
    }
}

const ASKED: usize = 5000;

#[test]
fn a_worker_whose_commit_hangs_empties_its_mailbox() {
    let hash = HashKey(1, 2);
    let domains = vec!["a.example".to_owned()];
    let config = Config::new(domains, hash, [7; 32], Modules::new(xeps::LIST));
    let router = Router::new(Arc::new(config), 1);
    let (answers, open) = (Arc::new(Answers::default()), Arc::new(Semaphore::new(1)));
    let store = Arc::new(Gate { rows: MemStore::new(), open: open.clone() });
    let driver = router.driver(0, store, answers.clone(), router.clone());
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    tokio::task::LocalSet::new().block_on(&runtime, async {
        tokio::task::spawn_local(driver.run());
        let jid = |name: &str| Jid::parse(&format!("{name}@a.example")).unwrap();
        let ask = |slot: usize| {
            let edge = NodeId { number: 1, incarnation: 1 };
            let (conn, account) = (ConnId { edge, slot: slot as u64 }, jid(&format!("n{slot}")));
            let shard = shard_of(&hash, &account);
            let owner = Owner { shard, epoch: Epoch(0) };
            router.up(owner, Up::Challenge { conn, account, hash: Hash::Sha256 });
        };
        let answered = async |count| {
            let all = async {
                while answers.0.load(Ordering::SeqCst) < count {
                    tokio::time::sleep(Duration::from_millis(5)).await;
                }
            };
            tokio::time::timeout(Duration::from_secs(30), all).await.expect("all are answered");
        };
        // A worker serves a shard once its claim on it is committed.
        (0..ASKED).for_each(ask);
        answered(ASKED).await;
        open.forget_permits(1);
        let (asks, add) = (router.clone(), jid("anna"));
        let add = Request::Add { account: add, verifiers: Vec::new() };
        let adding = tokio::task::spawn_local(async move { asks.admin(add).await });
        tokio::time::sleep(Duration::from_millis(100)).await;
        // Putting is no future: it cannot wait. What was put is taken, though a commit hangs.
        (0..ASKED).for_each(ask);
        answered(2 * ASKED).await;
        assert!(!adding.is_finished(), "nothing is acknowledged before it is durable");
        open.add_permits(1);
        assert_eq!(adding.await.unwrap(), Some(Reply::Done));
    });
}
