//! One client's socket with its layer of TLS: bytes in, bytes out, no buffer at rest.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

use crate::buffers::Buffers;
use crate::tls::{Established, TlsConn, TlsFault};

/// A socket, and how its bytes are read.
#[derive(Debug)]
pub(crate) struct Link {
    socket: TcpStream,
    layer: Layer,
    /// What the kernel did not take yet; freed when it has.
    unsent: Vec<u8>,
    /// How much of `unsent` it took.
    sent: usize,
}

#[derive(Debug)]
enum Layer {
    Clear,
    Tls(Box<TlsConn>),
}

/// A link that no core drives: its socket is registered nowhere.
#[derive(Debug)]
pub(crate) struct Detached {
    socket: std::net::TcpStream,
    layer: Layer,
    unsent: Vec<u8>,
    sent: usize,
}

impl Detached {
    /// Makes this thread's runtime watch the socket.
    pub(crate) fn attach(self) -> io::Result<Link> {
        let Self { socket, layer, unsent, sent } = self;
        Ok(Link { socket: TcpStream::from_std(socket)?, layer, unsent, sent })
    }
}

/// What one read brought. The client's words are in `Buffers::plain`.
#[derive(Debug, Default)]
pub(crate) struct Arrived {
    /// From the socket.
    pub(crate) bytes: usize,
    /// TLS is there, with this read.
    pub(crate) established: Option<Established>,
    /// The client sends no more.
    pub(crate) eof: bool,
}

/// Why a link is over.
#[derive(Debug)]
pub(crate) enum LinkFault {
    Socket(io::Error),
    /// The alert is in `Buffers::wire`.
    Tls(TlsFault),
}

impl Link {
    pub(crate) fn new(socket: TcpStream) -> Self {
        Self { socket, layer: Layer::Clear, unsent: Vec::new(), sent: 0 }
    }

    /// Takes the socket from this thread's runtime.
    pub(crate) fn detach(self) -> io::Result<Detached> {
        let Self { socket, layer, unsent, sent } = self;
        Ok(Detached { socket: socket.into_std()?, layer, unsent, sent })
    }

    /// From here on the client speaks TLS.
    pub(crate) fn start_tls(&mut self, conn: TlsConn) {
        self.layer = Layer::Tls(Box::new(conn));
    }

    /// Whether TLS was begun and is not there yet.
    pub(crate) fn is_handshaking(&self) -> bool {
        matches!(&self.layer, Layer::Tls(conn) if conn.is_handshaking())
    }

    /// Whether TLS is there.
    pub(crate) fn is_protected(&self) -> bool {
        matches!(&self.layer, Layer::Tls(conn) if !conn.is_handshaking())
    }

    /// Bytes that wait for the kernel.
    pub(crate) fn unsent(&self) -> usize {
        self.unsent.len() - self.sent
    }

    /// Reads once.
    pub(crate) fn poll_read(
        &mut self,
        cx: &mut Context<'_>,
        buffers: &mut Buffers,
    ) -> Poll<Result<Arrived, LinkFault>> {
        let kept = match &self.layer {
            Layer::Clear => 0,
            Layer::Tls(conn) => conn.pending(),
        };
        let room = buffers.read.get_mut(kept..).unwrap_or_default();
        let mut room = ReadBuf::new(room);
        let read = ready!(Pin::new(&mut self.socket).poll_read(cx, &mut room));
        let bytes = room.filled().len();
        Poll::Ready(match read {
            Ok(()) => self.receive(kept, bytes, buffers),
            Err(error) => Err(LinkFault::Socket(error)),
        })
    }

    fn receive(
        &mut self,
        kept: usize,
        bytes: usize,
        buffers: &mut Buffers,
    ) -> Result<Arrived, LinkFault> {
        let mut arrived = Arrived { bytes, established: None, eof: bytes == 0 };
        let filled = buffers.read.get_mut(..kept + bytes).unwrap_or_default();
        match &mut self.layer {
            Layer::Clear => buffers.plain.extend_from_slice(filled),
            Layer::Tls(_) if bytes == 0 => {}
            Layer::Tls(conn) => {
                let received = conn
                    .receive(filled, &mut buffers.plain, &mut buffers.wire)
                    .map_err(LinkFault::Tls)?;
                arrived.established = received.established;
                arrived.eof |= received.closed;
            }
        }
        Ok(arrived)
    }

    /// Reads once and throws it away; returns how much, 0 at the end.
    pub(crate) fn poll_discard(
        &mut self,
        cx: &mut Context<'_>,
        buffers: &mut Buffers,
    ) -> Poll<io::Result<usize>> {
        let mut room = ReadBuf::new(&mut buffers.read);
        ready!(Pin::new(&mut self.socket).poll_read(cx, &mut room))?;
        Poll::Ready(Ok(room.filled().len()))
    }

    /// Turns what the stream said into what goes to the socket.
    pub(crate) fn seal(&mut self, buffers: &mut Buffers) -> Result<(), LinkFault> {
        match &mut self.layer {
            Layer::Clear => buffers.wire.append(&mut buffers.text),
            Layer::Tls(conn) => {
                conn.send(&buffers.text, &mut buffers.wire).map_err(LinkFault::Tls)?;
                buffers.text.clear();
            }
        }
        Ok(())
    }

    /// Says that nothing follows.
    pub(crate) fn say_end(&mut self, buffers: &mut Buffers) {
        if let Layer::Tls(conn) = &mut self.layer {
            conn.close(&mut buffers.wire);
        }
    }

    /// Writes what waits and then `Buffers::wire`; what the kernel does not take now is kept.
    /// Returns how many bytes it took, and whether that was all.
    pub(crate) fn flush(
        &mut self,
        cx: &mut Context<'_>,
        buffers: &mut Buffers,
    ) -> io::Result<(usize, bool)> {
        let mut taken = 0;
        while let Some(rest) = self.unsent.get(self.sent..).filter(|rest| !rest.is_empty()) {
            let Poll::Ready(written) = Pin::new(&mut self.socket).poll_write(cx, rest) else {
                self.keep(&buffers.wire);
                buffers.wire.clear();
                return Ok((taken, false));
            };
            let written = some(written)?;
            self.sent += written;
            taken += written;
        }
        self.unsent = Vec::new();
        self.sent = 0;
        let mut at = 0;
        while let Some(rest) = buffers.wire.get(at..).filter(|rest| !rest.is_empty()) {
            let Poll::Ready(written) = Pin::new(&mut self.socket).poll_write(cx, rest) else {
                self.keep(rest);
                buffers.wire.clear();
                return Ok((taken + at, false));
            };
            at += some(written)?;
        }
        buffers.wire.clear();
        Ok((taken + at, true))
    }

    /// Ends our direction of the socket; everything was flushed.
    pub(crate) fn poll_shutdown(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_shutdown(cx)
    }

    fn keep(&mut self, bytes: &[u8]) {
        if self.sent > 0 {
            self.unsent.drain(..self.sent);
            self.sent = 0;
        }
        self.unsent.extend_from_slice(bytes);
    }
}

/// A socket that takes nothing and says so is broken.
fn some(written: io::Result<usize>) -> io::Result<usize> {
    match written? {
        0 => Err(io::ErrorKind::WriteZero.into()),
        bytes => Ok(bytes),
    }
}
