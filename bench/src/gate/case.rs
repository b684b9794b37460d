//! The fixed set of hot paths whose instructions are counted.

use std::hint::black_box;

use bytes::Bytes;
use peer::codec::{LENGTH_BYTES, VERSION, decode, encode};
use peer::{Between, Epoch, Frame, IngestKey, Parcel, Pass, SessionId, ShardId};
use xmpp::jid::Jid;
use xmpp::limits::ReadLimits;
use xmpp::stanza::Stanza;
use xmpp::xml::{Item, Reader};

use super::rig::{CHAT, Rig, stanza};
use crate::Failure;

/// The start of a client's stream.
pub(super) const OPEN: &str = "<stream:stream xmlns='jabber:client' \
    xmlns:stream='http://etherx.jabber.org/streams' version='1.0'>";

/// Messages in the archive of which a page is read.
const ARCHIVED: u64 = 512;

/// Results of the page.
const PAGE: usize = 50;

/// A page of an archive, newest last, back from the end.
const QUERY: &str = "<iq type='set' id='q1'><query xmlns='urn:xmpp:mam:2' queryid='q'><set \
    xmlns='http://jabber.org/protocol/rsm'><max>50</max><before/></set></query></iq>";

/// A hot path.
#[derive(Debug)]
pub struct Case {
    /// Its name in the file of baselines.
    pub name: &'static str,
    /// How often it is done in a counted run: enough that what happens now and then is in it.
    pub times: u64,
    /// Does it so often; first, whatever must be there before.
    pub run: fn(u64) -> Result<(), Failure>,
}

/// All of them.
pub const CASES: [Case; 7] = [
    Case { name: "parse", times: 2000, run: parse },
    Case { name: "forward", times: 2000, run: forward },
    Case { name: "encode-frame", times: 2000, run: encode_frame },
    Case { name: "decode-frame", times: 2000, run: decode_frame },
    Case { name: "engine-step", times: 1024, run: engine_step },
    Case { name: "archive-append", times: 1024, run: archive_append },
    Case { name: "mam-page", times: 32, run: mam_page },
];

fn reader() -> Result<Reader, Failure> {
    let mut reader = Reader::new(ReadLimits::AFTER_AUTH);
    match reader.read(&mut OPEN.as_bytes()) {
        Ok(Some(Item::Open(_))) => Ok(reader),
        _ => Err("the stream did not open".into()),
    }
}

fn read(reader: &mut Reader) -> Result<Stanza, Failure> {
    match reader.read(&mut black_box(CHAT.as_bytes())) {
        Ok(Some(Item::Element(element))) => {
            Stanza::from_element(element, "jabber:client").map_err(|_| "not a stanza".into())
        }
        _ => Err("not a whole element".into()),
    }
}

/// A chat message, read and checked.
fn parse(times: u64) -> Result<(), Failure> {
    let mut reader = reader()?;
    for _ in 0..times {
        black_box(read(&mut reader)?);
    }
    Ok(())
}

/// The same, and written to the next.
fn forward(times: u64) -> Result<(), Failure> {
    let mut reader = reader()?;
    let mut out = Vec::with_capacity(4096);
    for _ in 0..times {
        out.clear();
        read(&mut reader)?.write(&mut out);
        black_box(&out);
    }
    Ok(())
}

/// The same message as a frame from the owner of its sender to that of its recipient.
fn frame() -> Result<Frame, Failure> {
    let address = |text| Jid::parse(text).map_err(|_| "a JID that is none");
    let mut stanza = stanza(CHAT)?;
    stanza.from = Some(address("romeo@localhost/bench")?);
    let session = SessionId(u128::MAX / 3);
    let ingest = Some(IngestKey { session, attachment: 1, number: 1000, hash: u64::MAX / 3 });
    let to = address("juliet@localhost")?;
    let parcel = Parcel { ingest, ..Parcel::new(to, stanza) };
    Ok(Frame::Between(Between::Pass(Pass {
        source: ShardId(1000),
        source_epoch: Epoch(10),
        target: ShardId(3000),
        target_epoch: Epoch(10),
        number: 1_700_000_000_000_000,
        prev: 0,
        retry: false,
        parcel,
    })))
}

/// Bytes for another node.
fn encode_frame(times: u64) -> Result<(), Failure> {
    let frame = frame()?;
    let mut out = Vec::with_capacity(4096);
    for _ in 0..times {
        out.clear();
        encode(black_box(&frame), VERSION, &mut out)?;
        black_box(&out);
    }
    Ok(())
}

/// The same bytes read, and dropped.
fn decode_frame(times: u64) -> Result<(), Failure> {
    let mut out = Vec::new();
    encode(&frame()?, VERSION, &mut out)?;
    let bytes = Bytes::from(out).slice(LENGTH_BYTES..);
    for _ in 0..times {
        black_box(decode(black_box(&bytes))?);
    }
    Ok(())
}

/// A message through the engine, sender's and recipient's step, archives off.
fn engine_step(times: u64) -> Result<(), Failure> {
    steps(Rig::new(false)?, times)
}

/// The same with both archives written to a store in memory.
fn archive_append(times: u64) -> Result<(), Failure> {
    steps(Rig::new(true)?, times)
}

fn steps(mut rig: Rig, times: u64) -> Result<(), Failure> {
    let message = stanza(CHAT)?;
    // A worker under load finds some in its mailbox.
    for _ in 0..times / 32 {
        rig.messages(&message, 32)?;
    }
    Ok(())
}

/// A page of the archive, asked for and answered.
fn mam_page(times: u64) -> Result<(), Failure> {
    let mut rig = Rig::new(true)?;
    let message = stanza(CHAT)?;
    for _ in 0..ARCHIVED / 32 {
        rig.messages(&message, 32)?;
    }
    let query = stanza(QUERY)?;
    for _ in 0..times {
        if rig.page(&query)? <= PAGE {
            return Err("the page has too few results".into());
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_case_runs() {
        for case in &CASES {
            (case.run)(64).unwrap_or_else(|why| panic!("{}: {why}", case.name));
        }
    }
}
