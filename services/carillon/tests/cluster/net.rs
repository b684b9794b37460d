//! The network between nodes, which can be cut: what nodes say to each other goes through here,
//! datagram by datagram. (Clients, and the commands of operators, go to the nodes themselves.)

use std::collections::{BTreeMap, BTreeSet};
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::spawn;
use std::time::Duration;

use parking_lot::Mutex;

/// How long a thread waits before it looks whether it is over.
const LOOK: Duration = Duration::from_millis(200);

/// What does not pass.
#[derive(Default)]
struct Cuts {
    all: bool,
    /// From one node to another one, by the ports that they listen on.
    pairs: BTreeSet<(u16, u16)>,
}

/// The network of one cluster.
#[derive(Clone, Default)]
pub(crate) struct Net {
    cuts: Arc<Mutex<Cuts>>,
    over: Arc<AtomicBool>,
}

impl Net {
    /// Hands what comes to this socket to a node, and its answers back.
    pub(crate) fn relay(&self, front: UdpSocket, node: u16) {
        let net = self.clone();
        let front = Arc::new(front);
        spawn(move || net.inward(&front, node));
    }

    fn inward(&self, front: &Arc<UdpSocket>, node: u16) {
        front.set_read_timeout(Some(LOOK)).unwrap();
        let mut backs: BTreeMap<SocketAddr, Arc<UdpSocket>> = BTreeMap::new();
        let mut bytes = vec![0; 1 << 16];
        while !self.over.load(Ordering::Relaxed) {
            let Ok((length, from)) = front.recv_from(&mut bytes) else { continue };
            let back = backs.entry(from).or_insert_with(|| self.back(front, from, node));
            if self.passes(from.port(), node) {
                // A node that is dead is told nothing, as on a network.
                let _ = back.send(&bytes[..length]);
            }
        }
    }

    /// The socket by which one node's datagrams come to another one.
    fn back(&self, front: &Arc<UdpSocket>, from: SocketAddr, node: u16) -> Arc<UdpSocket> {
        let back = Arc::new(UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap());
        back.connect((Ipv4Addr::LOCALHOST, node)).unwrap();
        back.set_read_timeout(Some(LOOK)).unwrap();
        let (net, front, socket) = (self.clone(), front.clone(), back.clone());
        spawn(move || {
            let mut bytes = vec![0; 1 << 16];
            while !net.over.load(Ordering::Relaxed) {
                let Ok(length) = socket.recv(&mut bytes) else { continue };
                if net.passes(node, from.port()) {
                    let _ = front.send_to(&bytes[..length], from);
                }
            }
        });
        back
    }

    fn passes(&self, from: u16, to: u16) -> bool {
        let cuts = self.cuts.lock();
        !cuts.all && !cuts.pairs.contains(&(from, to))
    }

    /// Nothing passes from one to the other any more.
    pub(crate) fn cut(&self, from: u16, to: u16) {
        self.cuts.lock().pairs.insert((from, to));
    }

    /// Nothing passes between any two.
    pub(crate) fn cut_all(&self) {
        self.cuts.lock().all = true;
    }

    /// All passes again.
    pub(crate) fn heal(&self) {
        *self.cuts.lock() = Cuts::default();
    }

    /// Its threads end.
    pub(crate) fn end(&self) {
        self.over.store(true, Ordering::Relaxed);
    }
}
