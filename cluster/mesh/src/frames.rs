//! Frames of `peer` as channels carry them: which lane, and from whom.

use bytes::Bytes;
use peer::codec::{self, BadFrame, LENGTH_BYTES, TooLarge};
use peer::{NodeId, Owner, Place};

use crate::link::CONTROL;
use crate::{Class, Frame};

/// A frame for a node that reads this version. All go as work: two classes in one lane have no
/// common order, and channels bound what waits.
///
/// # Errors
/// The frame is longer than a frame may be.
pub fn pack(frame: &peer::Frame, version: u8) -> Result<Frame, TooLarge> {
    let mut bytes = Vec::new();
    codec::encode(frame, version, &mut bytes)?;
    // The link writes a length of its own.
    let body = Bytes::from(bytes).slice(LENGTH_BYTES..);
    Ok(Frame { class: Class::Work, shard: lane(frame), body })
}

/// The frame that a link brought.
///
/// # Errors
/// It is none: the link is to be closed.
pub fn unpack(body: &Bytes) -> Result<peer::Frame, BadFrame> {
    codec::decode(body)
}

/// Whether a frame may come from this process: it speaks for itself and its connections only. Who
/// owns a shard is for the receiver's epochs to judge.
pub fn is_from(frame: &peer::Frame, process: NodeId) -> bool {
    match frame.source() {
        Place::Node(node) => node == process,
        Place::Conn(conn) => conn.edge == process,
        Place::Owner(_) => true,
    }
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

#[cfg(test)]
mod tests {
    use peer::call::Call;
    use peer::{Complete, Epoch, NodeSaid, SessionId, ShardId, Up};

    use super::*;

    fn node(number: u32) -> NodeId {
        NodeId { number, incarnation: 1 }
    }

    #[test]
    fn frames_of_one_shard_are_one_order() {
        let owner = Owner { shard: ShardId(77), epoch: Epoch(5) };
        let account = "juliet@a.example".parse().unwrap();
        let said = Up::Taken { account, session: SessionId(1), attachment: 1, number: 5 };
        let frames = [
            peer::Frame::Up { edge: node(3), owner, said },
            peer::Frame::Complete(Complete { edge: node(3), shard: owner.shard, epoch: Epoch(5) }),
        ];
        for frame in frames {
            let packed = pack(&frame, codec::VERSION).unwrap();
            assert_eq!((packed.class, packed.shard), (Class::Work, 77), "{frame:?}");
            assert_eq!(unpack(&packed.body), Ok(frame));
            assert!(unpack(&packed.body.slice(1..)).is_err());
        }
        let said = NodeSaid::Raft(Call::Ask { call: 1, ask: Bytes::from_static(b"x") });
        let frame = peer::Frame::Node { source: node(1), target: node(2), said };
        let packed = pack(&frame, codec::VERSION).unwrap();
        assert_eq!((packed.class, packed.shard), (Class::Work, CONTROL));
    }

    #[test]
    fn a_process_speaks_for_itself_only() {
        let of =
            |edge| peer::Frame::Complete(Complete { edge, shard: ShardId(77), epoch: Epoch(5) });
        assert!(is_from(&of(node(3)), node(3)));
        assert!(!is_from(&of(node(4)), node(3)));
        let before = NodeId { incarnation: 0, ..node(3) };
        assert!(!is_from(&of(before), node(3)));
        let said = NodeSaid::Credit(Vec::new());
        let frame = peer::Frame::Node { source: node(1), target: node(3), said };
        assert!(is_from(&frame, node(1)) && !is_from(&frame, node(3)));
    }
}
