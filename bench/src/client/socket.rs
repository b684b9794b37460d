//! A socket with or without TLS, and frames read from it.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::io::{ReadHalf, WriteHalf};
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio_rustls::client::TlsStream;

use crate::Failure;
use crate::frames::{Found, Scanner};
use crate::limits::ANSWER_TIME_MAX;

/// A socket, whole or one half of it.
enum Socket<P, T> {
    Plain(P),
    Tls(T),
}

impl<P: AsyncRead + Unpin, T: AsyncRead + Unpin> AsyncRead for Socket<P, T> {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(socket) => Pin::new(socket).poll_read(cx, buf),
            Self::Tls(socket) => Pin::new(socket).poll_read(cx, buf),
        }
    }
}

impl<P: AsyncWrite + Unpin, T: AsyncWrite + Unpin> AsyncWrite for Socket<P, T> {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Plain(socket) => Pin::new(socket).poll_write(cx, bytes),
            Self::Tls(socket) => Pin::new(socket).poll_write(cx, bytes),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(socket) => Pin::new(socket).poll_flush(cx),
            Self::Tls(socket) => Pin::new(socket).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(socket) => Pin::new(socket).poll_shutdown(cx),
            Self::Tls(socket) => Pin::new(socket).poll_shutdown(cx),
        }
    }
}

type Tls = Box<TlsStream<TcpStream>>;

/// Bytes that came, cut into frames.
#[derive(Default)]
struct Frames {
    bytes: Vec<u8>,
    /// Where the frame that is not whole yet starts.
    start: usize,
    scanner: Scanner,
}

impl Frames {
    /// The next whole frame.
    fn take(&mut self) -> Result<Option<std::ops::Range<usize>>, Failure> {
        match self.scanner.find(&self.bytes[self.start..]) {
            Found::Frame(length) => {
                let from = self.start;
                self.start += length;
                Ok(Some(from..from + length))
            }
            Found::More => {
                self.bytes.drain(..self.start);
                self.start = 0;
                Ok(None)
            }
            Found::TooLong => Err("the server sent a stanza without end".into()),
        }
    }

    async fn fill(&mut self, from: &mut (impl AsyncRead + Unpin)) -> Result<(), Failure> {
        // A client at rest owns little memory; one that is busy reads much at once.
        let room = if self.bytes.capacity() > 4096 { 32 * 1024 } else { 2048 };
        self.bytes.reserve(room);
        if from.read_buf(&mut self.bytes).await? == 0 {
            return Err("the server closed the connection".into());
        }
        Ok(())
    }
}

/// A connection whose owner asks and waits for answers.
pub struct Conn {
    socket: Socket<TcpStream, Tls>,
    frames: Frames,
}

impl Conn {
    pub(super) fn plain(stream: TcpStream) -> Self {
        Self { socket: Socket::Plain(stream), frames: Frames::default() }
    }

    pub(super) fn tls(stream: TlsStream<TcpStream>) -> Self {
        Self { socket: Socket::Tls(Box::new(stream)), frames: Frames::default() }
    }

    /// The bare socket, to begin TLS on it.
    pub(super) fn into_tcp(self) -> Option<TcpStream> {
        match self.socket {
            Socket::Plain(stream) => Some(stream),
            Socket::Tls(_) => None,
        }
    }

    /// Sends bytes.
    ///
    /// # Errors
    /// If the socket fails.
    pub async fn say(&mut self, bytes: &[u8]) -> Result<(), Failure> {
        self.socket.write_all(bytes).await?;
        Ok(self.socket.flush().await?)
    }

    /// The next frame.
    ///
    /// # Errors
    /// If the socket fails or is closed, or nothing comes in time.
    pub async fn hear(&mut self) -> Result<&[u8], Failure> {
        let frame = loop {
            if let Some(frame) = self.frames.take()? {
                break frame;
            }
            let fill = self.frames.fill(&mut self.socket);
            tokio::time::timeout(ANSWER_TIME_MAX, fill)
                .await
                .map_err(|_| "the server did not answer within a minute")??;
        };
        Ok(&self.frames.bytes[frame])
    }

    /// Passes over frames until one fits.
    ///
    /// # Errors
    /// If the socket fails, or the server ends the stream.
    pub async fn wait(&mut self, fits: impl Fn(&[u8]) -> bool) -> Result<Vec<u8>, Failure> {
        loop {
            let frame = self.hear().await?;
            if fits(frame) {
                return Ok(frame.to_vec());
            }
            if frame.starts_with(b"</stream:stream") || frame.starts_with(b"<stream:error") {
                return Err(shown("the server ended the stream", frame));
            }
        }
    }

    /// Forgets what came and was not taken: a new stream begins.
    pub(super) fn restart(&mut self) {
        self.frames = Frames::default();
    }

    /// Ends the stream in order, without waiting for the server's end.
    ///
    /// # Errors
    /// If the socket fails.
    pub async fn close(mut self) -> Result<(), Failure> {
        self.say(b"</stream:stream>").await?;
        Ok(self.socket.shutdown().await?)
    }

    /// Takes it apart, for tasks that read and write independently.
    #[must_use]
    pub fn split(self) -> (Inbox, Outbox) {
        let (read, write) = match self.socket {
            Socket::Plain(stream) => {
                let (read, write) = stream.into_split();
                (Socket::Plain(read), Socket::Plain(write))
            }
            Socket::Tls(stream) => {
                let (read, write) = tokio::io::split(*stream);
                (Socket::Tls(read), Socket::Tls(write))
            }
        };
        (Inbox { socket: read, frames: self.frames }, Outbox { socket: write })
    }
}

/// What an error says about a frame that should have been another.
pub(super) fn shown(what: &str, frame: &[u8]) -> Failure {
    let text = String::from_utf8_lossy(&frame[..frame.len().min(400)]).into_owned();
    format!("{what}: {text}").into()
}

/// The reading half.
pub struct Inbox {
    socket: Socket<OwnedReadHalf, ReadHalf<TlsStream<TcpStream>>>,
    frames: Frames,
}

impl Inbox {
    /// The next frame, however long it takes to come.
    ///
    /// # Errors
    /// If the socket fails or is closed.
    pub async fn hear(&mut self) -> Result<&[u8], Failure> {
        let frame = loop {
            if let Some(frame) = self.frames.take()? {
                break frame;
            }
            self.frames.fill(&mut self.socket).await?;
        };
        Ok(&self.frames.bytes[frame])
    }

    /// Waits until more bytes came.
    ///
    /// # Errors
    /// If the socket fails or is closed.
    pub async fn more(&mut self) -> Result<(), Failure> {
        self.frames.fill(&mut self.socket).await
    }

    /// The next frame, if it came already.
    ///
    /// # Errors
    /// If it has no end.
    pub fn heard(&mut self) -> Result<Option<&[u8]>, Failure> {
        let frame = self.frames.take()?;
        Ok(frame.map(|frame| &self.frames.bytes[frame]))
    }
}

/// The writing half.
pub struct Outbox {
    socket: Socket<OwnedWriteHalf, WriteHalf<TlsStream<TcpStream>>>,
}

impl Outbox {
    /// Sends bytes.
    ///
    /// # Errors
    /// If the socket fails.
    pub async fn say(&mut self, bytes: &[u8]) -> Result<(), Failure> {
        self.socket.write_all(bytes).await?;
        Ok(self.socket.flush().await?)
    }
}
