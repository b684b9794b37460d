//! Frames of `peer` as links carry them: which lane, and whether they need room at the other end.

use bytes::Bytes;
use peer::call::Call;
use peer::codec::{self, BadFrame, LENGTH_BYTES, TooLarge};
use peer::{Between, NodeSaid, Owner, Place};

use crate::link::CONTROL;
use crate::{Class, Frame};

/// A frame for a link to a node that reads this version.
///
/// # Errors
/// The frame is longer than a frame may be.
pub fn pack(frame: &peer::Frame, version: u8) -> Result<Frame, TooLarge> {
    let mut bytes = Vec::new();
    codec::encode(frame, version, &mut bytes)?;
    // The link writes a length of its own.
    let body = Bytes::from(bytes).slice(LENGTH_BYTES..);
    Ok(Frame { class: class(frame), shard: lane(frame), body })
}

/// The frame that a link brought.
///
/// # Errors
/// It is none: the link is to be closed.
pub fn unpack(frame: &Frame) -> Result<peer::Frame, BadFrame> {
    codec::decode(&frame.body)
}

/// What keeps its order: frames for the owner of a shard by that shard, frames for a connection by
/// the shard whose owner speaks, all else by the control lane.
fn lane(frame: &peer::Frame) -> u16 {
    let owner = |place| match place {
        Place::Owner(Owner { shard, .. }) => Some(shard.0),
        Place::Node(_) | Place::Conn(_) => None,
    };
    owner(frame.target()).or_else(|| owner(frame.source())).unwrap_or(CONTROL)
}

/// Answers and confirmations have room reserved, for they end work that was admitted. All else asks
/// for room: a delivery too, which its owner keeps until there is some.
fn class(frame: &peer::Frame) -> Class {
    let reserved = match frame {
        peer::Frame::Between(said) => !matches!(said, Between::Pass(_)),
        peer::Frame::Complete(_) | peer::Frame::HandOver { .. } => true,
        peer::Frame::Up { .. } | peer::Frame::Down { .. } | peer::Frame::Page { .. } => false,
        peer::Frame::Node { said, .. } => match said {
            NodeSaid::Link(_) | NodeSaid::Map(_) | NodeSaid::Credit(_) => true,
            NodeSaid::Admin(call) => matches!(call, Call::Answer { .. }),
            NodeSaid::Store(call) => matches!(call, Call::Answer { .. }),
            NodeSaid::Raft(call) => matches!(call, Call::Answer { .. }),
        },
    };
    if reserved { Class::Reserved } else { Class::Work }
}

#[cfg(test)]
mod tests {
    use peer::{Complete, Epoch, NodeId, ShardId};

    use super::*;

    #[test]
    fn frames_pass_a_link_on_the_lane_of_their_shard() {
        let node = |number| NodeId { number, incarnation: 1 };
        let complete = Complete { edge: node(3), shard: ShardId(77), epoch: Epoch(5) };
        let frame = peer::Frame::Complete(complete);
        let packed = pack(&frame, codec::VERSION).unwrap();
        assert_eq!((packed.class, packed.shard), (Class::Reserved, 77));
        assert_eq!(unpack(&packed), Ok(frame));
        let said = NodeSaid::Raft(Call::Ask { call: 1, ask: Bytes::from_static(b"x") });
        let frame = peer::Frame::Node { source: node(1), target: node(2), said };
        let packed = pack(&frame, codec::VERSION).unwrap();
        assert_eq!((packed.class, packed.shard), (Class::Work, CONTROL));
        assert_eq!(unpack(&packed), Ok(frame));
        let cut = Frame { body: packed.body.slice(1..), ..packed };
        assert!(unpack(&cut).is_err());
    }
}
