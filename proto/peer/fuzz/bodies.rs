//! What the fuzz targets do with their input. Tests replay the corpus through the same functions.

use bytes::Bytes;
use peer::codec::{LENGTH_BYTES, VERSION, decode, encode, head};

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
