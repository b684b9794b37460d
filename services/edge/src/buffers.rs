//! The buffers that all connections of a core share: whoever has its turn uses them, and leaves
//! nothing in them.

use crate::limits::{BUFFER_KEPT_BYTES, READ_BUFFER_BYTES};

/// One core's buffers.
#[derive(Debug)]
pub(crate) struct Buffers {
    /// What is read from a socket.
    pub(crate) read: Box<[u8]>,
    /// What a client said, out of its TLS.
    pub(crate) plain: Vec<u8>,
    /// What a stream says.
    pub(crate) text: Vec<u8>,
    /// What goes to the socket.
    pub(crate) wire: Vec<u8>,
}

impl Buffers {
    pub(crate) fn new() -> Self {
        Self {
            read: vec![0; READ_BUFFER_BYTES].into(),
            plain: Vec::new(),
            text: Vec::new(),
            wire: Vec::new(),
        }
    }

    /// Makes everything empty, and gives back what one large turn needed.
    pub(crate) fn clear(&mut self) {
        for buffer in [&mut self.plain, &mut self.text, &mut self.wire] {
            buffer.clear();
            buffer.shrink_to(BUFFER_KEPT_BYTES);
        }
    }
}
