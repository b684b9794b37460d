//! The tasks of one link: a writer for each lane, a reader for each lane, and one that watches.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use bytes::{Bytes, BytesMut};
use quinn::{RecvStream, SendStream};

use super::frame::{Class, Item, Unframer};
use super::hello::{decode_credit, encode_credit};
use super::refusal::LinkError;
use super::{Digest, Inner, Link, call, lane_of};
use crate::limits::{BATCH_BYTES, TICK};

/// A body that is longer is handed to QUIC as it is; shorter ones are copied behind each other.
const COPY_BYTES_MAX: usize = 4096;
/// What a reader takes at once.
const READ_BYTES: usize = 64 * 1024;

/// Starts everything that a link does by itself. `hello` are the two streams of the control lanes,
/// over which the hellos have gone.
pub(super) fn start(link: &Link, hello: (SendStream, RecvStream, Unframer)) {
    let (send, receive, unframer) = hello;
    let inner = &link.inner;
    tokio::spawn(write(inner.clone(), 0, send));
    tokio::spawn(read(link.clone(), 0, receive, unframer));
    for lane in 1..inner.outgoing.len() {
        tokio::spawn(open(inner.clone(), lane));
    }
    tokio::spawn(accept(link.clone()));
    tokio::spawn(call::accept(link.clone()));
}

/// Watches a link until its end and gives the reason for it.
pub(super) async fn watch(link: &Link) -> LinkError {
    let inner = &link.inner;
    let mut tick = tokio::time::interval(TICK);
    let mut arrived = 0;
    loop {
        tokio::select! {
            end = inner.connection.closed() => return LinkError::from_end(&end),
            _ = tick.tick() => {
                let datagrams = inner.connection.stats().udp_rx.datagrams;
                if datagrams != arrived {
                    arrived = datagrams;
                    let now = u64::try_from(inner.since.elapsed().as_micros()).unwrap_or(u64::MAX);
                    inner.heard.store(now, Ordering::Relaxed);
                }
                // Counts below a quarter of the window are told with the tick.
                inner.wake(0);
            }
        }
    }
}

async fn open(inner: Arc<Inner>, lane: usize) {
    let Ok(mut stream) = inner.connection.open_uni().await else { return };
    let number = u8::try_from(lane).unwrap_or(u8::MAX);
    if stream.write_all(&[number]).await.is_ok() {
        write(inner, lane, stream).await;
    }
}

/// Writes what is queued, as much at once as there is.
async fn write(inner: Arc<Inner>, lane: usize, mut stream: SendStream) {
    let Some(outgoing) = inner.outgoing.get(lane) else { return };
    loop {
        let mut batch = Vec::new();
        let mut guards = Vec::new();
        if lane == 0 {
            let credit = inner.poll_credit();
            if !credit.is_empty() {
                batch.push(Item::Credit(Bytes::from(encode_credit(&credit))));
            }
        }
        for (item, guard) in outgoing.outbox.lock().poll_batch(BATCH_BYTES) {
            batch.push(item);
            guards.extend(guard);
        }
        if batch.is_empty() {
            if !*inner.up.read() {
                return;
            }
            outgoing.wake.notified().await;
            // Whoever woke this lane may have more to say in the same turn.
            tokio::task::yield_now().await;
            continue;
        }
        if stream.write_all_chunks(&mut pack(batch)).await.is_err() {
            return broken(&inner); // The connection is gone, or should be.
        }
        drop(guards);
    }
}

/// Many frames in few pieces.
fn pack(batch: Vec<Item>) -> Vec<Bytes> {
    let mut pieces = Vec::new();
    let short = batch.iter().map(Item::bytes).filter(|bytes| *bytes <= COPY_BYTES_MAX).sum();
    let mut buffer = BytesMut::with_capacity(short);
    for item in batch {
        buffer.extend_from_slice(&item.head());
        if item.bytes() <= COPY_BYTES_MAX {
            buffer.extend_from_slice(item.body());
        } else {
            pieces.push(buffer.split().freeze());
            pieces.push(item.body().clone());
        }
    }
    if !buffer.is_empty() {
        pieces.push(buffer.freeze());
    }
    pieces
}

/// Takes the lanes that the other side opens: each once, and none that does not exist.
async fn accept(link: Link) {
    let inner = &link.inner;
    let mut seen = vec![false; inner.incoming.len()];
    while let Ok(mut stream) = inner.connection.accept_uni().await {
        let mut number = [0];
        if stream.read_exact(&mut number).await.is_err() {
            break;
        }
        let lane = usize::from(number[0]);
        match seen.get_mut(lane) {
            Some(seen) if lane > 0 && !*seen => *seen = true,
            _ => return broken(inner),
        }
        let unframer = Unframer::new(inner.frame_bytes);
        tokio::spawn(read(link.clone(), lane, stream, unframer));
    }
}

fn broken(inner: &Inner) {
    // The reason of an end that has come already stays.
    if inner.connection.close_reason().is_none() {
        inner.connection.close(LinkError::Broken.code().into(), b"");
    }
}

/// A lane whose reader panics is not read any more: then its link ends, and the next one has all
/// of its lanes.
struct Reading(Link);

impl Drop for Reading {
    fn drop(&mut self) {
        if std::thread::panicking() {
            broken(&self.0.inner);
        }
    }
}

/// Reads one lane to its end. It never waits for anything but the network.
async fn read(link: Link, lane: usize, mut stream: RecvStream, mut unframer: Unframer) {
    let Reading(link) = &Reading(link);
    loop {
        if drain(link, lane, &mut unframer).is_none() {
            return broken(&link.inner);
        }
        match stream.read_chunk(READ_BYTES, true).await {
            Ok(Some(chunk)) => unframer.handle_bytes(&chunk.bytes),
            // A lane ends with its connection, never before it.
            Ok(None) => return broken(&link.inner),
            Err(_) => return broken(&link.inner),
        }
    }
}

/// Hands on what is whole. `None` if the other side breaks the rules.
fn drain(link: &Link, lane: usize, unframer: &mut Unframer) -> Option<()> {
    let inner = &link.inner;
    while let Some(item) = unframer.poll_item().ok()? {
        let bytes = item.bytes();
        match item {
            Item::Frame(frame) => {
                if lane_of(frame.shard, inner.incoming.len()) != lane {
                    return None; // Whoever counts lanes and keeps order needs it there.
                }
                // Made before the gate is looked at: what an ended link brings is counted and
                // dropped, which is harmless.
                let digest = (frame.class == Class::Work).then(|| Digest {
                    inner: inner.clone(),
                    lane,
                    bytes,
                });
                // Recursive: the handler may send, and so look at it again.
                let up = inner.up.read_recursive();
                if !*up {
                    return Some(());
                }
                inner.handler.frame(link, frame, digest);
            }
            Item::Credit(body) if lane == 0 => credit(link, &body)?,
            Item::Hello(_) | Item::Credit(_) => return None,
        }
    }
    Some(())
}

fn credit(link: &Link, body: &[u8]) -> Option<()> {
    let inner = &link.inner;
    let mut room = false;
    for (lane, digested) in decode_credit(body)? {
        let outgoing = inner.outgoing.get(usize::from(lane))?;
        room |= outgoing.outbox.lock().handle_credit(digested)?;
    }
    let up = inner.up.read_recursive();
    if room && *up {
        inner.handler.room(link);
    }
    Some(())
}
