//! What the fuzz targets do with their input. Tests replay the corpus through the same functions.

use bytes::Bytes;
use peer::Epoch;
use peer::codec::{LENGTH_BYTES, VERSION, decode, encode, head};
use peer::control::{Command, Reply, State};
use peer::node::ClusterId;
use peer::shard::HashKey;

/// Bytes as a snapshot, or as an entry of the log on an empty cluster: what is read is written and
/// read alike, and applied without a panic.
pub(crate) fn control(data: &[u8]) {
    if let Ok(state) = State::decode(data) {
        assert_eq!(State::decode(&state.encode(VERSION)).as_ref(), Ok(&state));
    }
    let Some((choice, data)) = data.split_first() else { return };
    let mut state = State::default();
    if choice % 2 == 0 {
        let (cluster, key, epochs_above) = (ClusterId(7), HashKey(1, 2), Epoch(0));
        let init = Command::Init { cluster, key, epochs_above };
        state.apply(1, init, 0);
    }
    let (reply, _) = state.apply_bytes(2, data);
    Reply::decode(&reply).expect("an answer is read");
    state.next_moves();
}

/// Bytes as a frame: what is read is written and read alike.
pub(crate) fn frame(data: &[u8]) {
    let data = Bytes::copy_from_slice(data);
    let Ok(frame) = decode(&data) else { return };
    let head = head(&data).expect("a frame has a head");
    assert_eq!((head.source, head.target), (frame.source(), frame.target()));
    let mut again = Vec::new();
    encode(&frame, VERSION, &mut again).expect("what was read can be written");
    let again = Bytes::from(again).slice(LENGTH_BYTES..);
    assert_eq!(decode(&again).as_ref(), Ok(&frame));
}
