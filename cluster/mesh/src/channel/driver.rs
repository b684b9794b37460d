//! The channels of a node: what links bring goes to the state of their process, and what that
//! wants sent goes to links.
//!
//! Locks are taken in this order: the talk of a link, then a channel's kept, then its taken, then
//! what is the link's. No receiver is called under those of a channel.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, OnceLock, Weak};
use std::time::Duration;

use bytes::Bytes;
use parking_lot::{Mutex, RwLock};
use peer::NodeId;
use tokio::time::MissedTickBehavior;

use super::state::{Broken, Kept, Taken, Talk};
use super::word::Word;
use super::{ChannelError, Limits, Receiver, Status};
use crate::limits::{CHANNELS_MAX, TAKEN_TELL};
use crate::link::{
    Answer, CONTROL, Class, Digest, Frame, Handler, Link, LinkError, Peer, SendError, Service,
};

/// The channels of a node to all other processes. It is the handler of the node's mesh.
pub struct Channels {
    receiver: Arc<dyn Receiver>,
    limits: Limits,
    me: OnceLock<NodeId>,
    /// The links that stand, by their generations.
    links: RwLock<BTreeMap<u64, Arc<Spoken>>>,
    table: RwLock<Table>,
}

#[derive(Default)]
struct Table {
    channels: BTreeMap<NodeId, Arc<Channel>>,
    /// For each number the last incarnation that was forgotten.
    forgotten: BTreeMap<u32, u32>,
}

/// A link, and whose channel it serves.
struct Spoken {
    link: Link,
    talk: Mutex<Talk>,
    channel: OnceLock<Arc<Channel>>,
}

/// The two halves have locks of their own: who sends does not wait for who receives.
struct Channel {
    node: NodeId,
    kept: Mutex<Outgoing>,
    taken: Mutex<Taken>,
}

struct Outgoing {
    kept: Kept,
    link: Option<Link>,
}

impl fmt::Debug for Channels {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Channels({:?})", self.me.get())
    }
}

impl Channels {
    /// Channels for a mesh that is then started with them as its handler. Runs on the runtime that
    /// it is called in.
    pub fn new(receiver: Arc<dyn Receiver>, limits: Limits) -> Arc<Channels> {
        let channels = Arc::new(Channels {
            receiver,
            limits,
            me: OnceLock::new(),
            links: RwLock::default(),
            table: RwLock::default(),
        });
        tokio::spawn(tick(Arc::downgrade(&channels)));
        channels
    }

    /// Who this process is: known when it has joined, and the same until it ends. From now on its
    /// links say so.
    pub fn set_me(&self, me: NodeId) {
        if *self.me.get_or_init(|| me) != me {
            tracing::error!(?me, "a process cannot become another: start it anew");
        }
        self.spoken().iter().for_each(|it| self.advance(it));
    }

    /// Keeps a frame until the other process has taken it, link or no link, and sends it as soon
    /// as there is room. Frames of one shard stay in order.
    ///
    /// # Errors
    /// The frame is not kept, and unless it was too long none to this process will be.
    pub fn send(&self, to: NodeId, shard: u16, body: Bytes) -> Result<(), ChannelError> {
        let channel = self.channel(to)?;
        let mut outgoing = channel.kept.lock();
        let was = outgoing.kept.end();
        match outgoing.kept.handle_send(shard, body) {
            Ok(lane) => {
                outgoing.pump(lane);
                Ok(())
            }
            Err(why) => {
                if was.is_none() && outgoing.kept.end().is_some() {
                    tracing::error!(node = ?to, %why, "a channel is broken");
                }
                Err(why)
            }
        }
    }

    /// Sends a message only if a link to that process stands and has room, and keeps nothing.
    /// False if it was not sent.
    pub fn send_now(&self, to: NodeId, body: Bytes) -> bool {
        let Some(channel) = self.table.read().channels.get(&to).cloned() else { return false };
        let outgoing = channel.kept.lock();
        let link = outgoing.link.as_ref().filter(|_| outgoing.kept.is_open());
        link.is_some_and(|link| link.try_spare(CONTROL, Word::News(body).encode()).is_ok())
    }

    /// The process was declared dead or has left, and so have all before it under its number: what
    /// is kept for them goes, nothing more comes from them, and they are never spoken to again.
    /// Links stay: a node that was declared dead learns of it by asking over one.
    pub fn forget(&self, node: NodeId) {
        let gone: Vec<_> = {
            let mut table = self.table.write();
            let last = table.forgotten.entry(node.number).or_default();
            *last = node.incarnation.max(*last);
            let first = NodeId { incarnation: 0, ..node };
            let gone: Vec<NodeId> = table.channels.range(first..=node).map(|it| *it.0).collect();
            gone.iter().filter_map(|node| table.channels.remove(node)).collect()
        };
        for channel in gone {
            let mut outgoing = channel.kept.lock();
            outgoing.kept.handle_end(ChannelError::Gone);
            outgoing.link = None;
            drop(outgoing);
            channel.taken.lock().handle_end();
        }
    }

    /// The link to a process, if one stands and both have said on it who they are.
    pub fn link(&self, to: NodeId) -> Option<Link> {
        let channel = self.table.read().channels.get(&to).cloned()?;
        channel.kept.lock().link.clone()
    }

    /// For how long nothing has come from a process. None if there is no link to it.
    pub fn quiet_for(&self, node: NodeId) -> Option<Duration> {
        self.link(node).map(|link| link.quiet_for())
    }

    /// All channels.
    pub fn status(&self) -> Vec<Status> {
        let channels: Vec<_> = self.table.read().channels.values().cloned().collect();
        let status = |channel: &Arc<Channel>| {
            let outgoing = channel.kept.lock();
            Status {
                node: channel.node,
                kept: outgoing.kept.kept(),
                quiet_for: outgoing.link.as_ref().map(Link::quiet_for),
                broken: outgoing.kept.end(),
            }
        };
        channels.iter().map(status).collect()
    }

    /// The channel of a process, made if there is none.
    fn channel(&self, node: NodeId) -> Result<Arc<Channel>, ChannelError> {
        if let Some(channel) = self.table.read().channels.get(&node) {
            return Ok(channel.clone());
        }
        let mut table = self.table.write();
        let forgotten = table.forgotten.get(&node.number).is_some_and(|it| node.incarnation <= *it);
        if forgotten || self.me.get() == Some(&node) {
            return Err(ChannelError::Gone);
        }
        if table.channels.len() >= CHANNELS_MAX && !table.channels.contains_key(&node) {
            return Err(ChannelError::TooMany);
        }
        let made = || {
            let kept = Outgoing { kept: Kept::new(self.limits), link: None };
            Arc::new(Channel { node, kept: Mutex::new(kept), taken: Mutex::default() })
        };
        Ok(table.channels.entry(node).or_insert_with(made).clone())
    }

    fn spoken(&self) -> Vec<Arc<Spoken>> {
        self.links.read().values().cloned().collect()
    }

    /// Says who this process is, and lets the link serve its channel, as soon as each can be.
    fn advance(&self, spoken: &Spoken) {
        let mut talk = spoken.talk.lock();
        let link = &spoken.link;
        if let Some(me) = self.me.get()
            && talk.handle_me()
        {
            say(link, &Word::Hello(*me));
        }
        let Some(node) = talk.asks().filter(|node| self.receiver.knows(*node, link.peer())) else {
            return;
        };
        // One who was forgotten is not answered, and so sends nothing.
        let Ok(channel) = self.channel(node) else { return };
        let said = talk.handle_settled();
        let served = serve(spoken, &channel).and_then(|()| match said {
            Some(counts) => channel.handle_taken(link, &counts),
            None => Ok(()),
        });
        if served.is_err() {
            link.give_up();
        }
    }

    fn word(&self, spoken: &Spoken, word: Word) -> Result<(), Broken> {
        let link = &spoken.link;
        match word {
            Word::Hello(node) => {
                spoken.talk.lock().handle_hello(node)?;
                self.advance(spoken);
            }
            Word::Taken(counts) => {
                // Under this lock, so that none overtakes one that waited for the channel.
                let mut talk = spoken.talk.lock();
                match spoken.channel.get() {
                    Some(channel) => channel.handle_taken(link, &counts)?,
                    None => talk.handle_taken(counts)?,
                }
            }
            Word::News(body) => {
                // Without a channel nothing was said that would let the other side speak.
                let channel = spoken.channel.get().ok_or(Broken)?;
                // One that was forgotten is not heard either.
                if channel.kept.lock().kept.end() != Some(ChannelError::Gone) {
                    self.receiver.news(channel.node, link.peer(), body);
                }
            }
        }
        Ok(())
    }

    fn work(&self, spoken: &Spoken, frame: Frame) -> Result<(), Broken> {
        let link = &spoken.link;
        let channel = spoken.channel.get().ok_or(Broken)?;
        let (generation, bytes) = (link.generation(), frame.body.len());
        let counted = channel.taken.lock().handle_frame(generation, frame.shard, bytes);
        let Some(tell) = counted else { return Ok(()) };
        self.receiver.frame(channel.node, link.peer(), frame.shard, frame.body);
        if tell {
            channel.tell(link);
        }
        Ok(())
    }
}

impl Handler for Channels {
    fn up(&self, link: &Link) {
        let talk = Mutex::default();
        let spoken = Arc::new(Spoken { link: link.clone(), talk, channel: OnceLock::new() });
        self.links.write().insert(link.generation(), spoken.clone());
        self.receiver.up(link);
        self.advance(&spoken);
    }

    fn frame(&self, link: &Link, frame: Frame, digest: Option<Digest>) {
        let spoken = self.links.read().get(&link.generation()).cloned();
        let Some(spoken) = spoken else { return };
        let done = if frame.class == Class::Work {
            self.work(&spoken, frame)
        } else if frame.shard == CONTROL {
            let word = Word::decode(frame.body).ok_or(Broken);
            word.and_then(|word| self.word(&spoken, word))
        } else {
            Err(Broken)
        };
        if done.is_err() {
            link.give_up();
        }
        drop(digest);
    }

    fn room(&self, link: &Link) {
        let spoken = self.links.read().get(&link.generation()).cloned();
        if let Some(channel) = spoken.as_ref().and_then(|it| it.channel.get()) {
            channel.kept.lock().pump_all();
        }
    }

    fn down(&self, link: &Link, why: LinkError) {
        let spoken = self.links.write().remove(&link.generation());
        if let Some(spoken) = spoken {
            spoken.talk.lock().handle_settled();
            if let Some(channel) = spoken.channel.get() {
                channel.handle_down(link);
            }
        }
        self.receiver.down(link, why);
    }

    fn call(&self, peer: &Arc<Peer>, service: Service, body: Bytes) -> Answer {
        self.receiver.call(peer, service, body)
    }
}

/// The link serves the channel: what was taken is said, and what is kept waits for the same.
fn serve(spoken: &Spoken, channel: &Arc<Channel>) -> Result<(), Broken> {
    let link = &spoken.link;
    let mut outgoing = channel.kept.lock();
    outgoing.kept.handle_link(link.generation(), link.lanes_out())?;
    outgoing.link = Some(link.clone());
    drop(outgoing);
    // Before the other side may send.
    let _ = spoken.channel.set(channel.clone());
    let mut taken = channel.taken.lock();
    taken.handle_link(link.generation(), link.lanes_in())?;
    if let Some(counts) = taken.counts(link.generation(), true) {
        say(link, &Word::Taken(counts.to_vec()));
        taken.handle_told();
    }
    Ok(())
}

/// Says what must not be left out. A link that does not take it is gone, or about to be.
fn say(link: &Link, word: &Word) {
    let _ = link.try_send(Frame { class: Class::Reserved, shard: CONTROL, body: word.encode() });
}

impl Channel {
    /// Tells what was taken, if there is something to tell and room for it. Under the lock, so
    /// that counts leave in order.
    fn tell(&self, link: &Link) {
        let mut taken = self.taken.lock();
        let Some(counts) = taken.counts(link.generation(), false) else { return };
        let word = Word::Taken(counts.to_vec()).encode();
        if link.try_spare(CONTROL, word).is_ok() {
            taken.handle_told();
        }
    }

    fn handle_taken(&self, link: &Link, counts: &[u64]) -> Result<(), Broken> {
        let mut outgoing = self.kept.lock();
        let was_open = outgoing.kept.is_open();
        outgoing.kept.handle_taken(link.generation(), counts)?;
        if !was_open {
            outgoing.pump_all();
        }
        Ok(())
    }

    fn handle_down(&self, link: &Link) {
        let mut outgoing = self.kept.lock();
        outgoing.kept.handle_down(link.generation());
        if outgoing.link.as_ref().is_some_and(|it| it.generation() == link.generation()) {
            outgoing.link = None;
        }
        drop(outgoing);
        self.taken.lock().handle_down(link.generation());
    }
}

impl Outgoing {
    fn pump_all(&mut self) {
        (0..self.kept.lanes()).for_each(|lane| self.pump(lane));
    }

    /// Hands on what a lane has room for.
    fn pump(&mut self, lane: usize) {
        let Some(link) = &self.link else { return };
        while let Some((shard, body)) = self.kept.next_frame(lane) {
            match link.try_send(Frame { class: Class::Work, shard, body: body.clone() }) {
                Ok(()) => self.kept.handle_sent(lane),
                Err(SendError::TooLong) => {
                    tracing::error!(?link, "the other node reads only shorter frames");
                    return self.kept.handle_end(ChannelError::TooLong);
                }
                // `room` or the next link goes on.
                Err(SendError::Full | SendError::Gone) => return,
            }
        }
    }
}

/// Tells what was taken, and asks again about who is not known yet.
async fn tick(channels: Weak<Channels>) {
    let mut interval = tokio::time::interval(TAKEN_TELL);
    interval.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        interval.tick().await;
        let Some(channels) = channels.upgrade() else { return };
        for spoken in channels.spoken() {
            match spoken.channel.get() {
                Some(channel) => channel.tell(&spoken.link),
                None => channels.advance(&spoken),
            }
        }
    }
}
