//! A tiny HTTP/1.1 responder for metrics and health: GET and HEAD, one answer a connection, nothing
//! read but the head of the request.
//!
//! Written here because its whole job is below 200 lines, with every limit in view; the web role
//! will bring a real HTTP server for everything else.

use std::rc::Rc;
use std::sync::Arc;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::{JoinHandle, spawn_local};
use tokio::time::timeout;
use tracing::warn;

use crate::limits::{HTTP_CONNECTIONS_MAX, HTTP_HEAD_MAX, HTTP_TIME};

/// What is answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Response {
    /// The status code, one of those in `reason`.
    pub status: u16,
    /// The media type of the body.
    pub kind: &'static str,
    /// The body.
    pub body: String,
}

impl Response {
    /// A short text.
    #[must_use]
    pub fn text(status: u16, body: &str) -> Self {
        Self { status, kind: "text/plain; charset=utf-8", body: format!("{body}\n") }
    }
}

/// Makes the answer to a path; `None` is 404.
pub type Pages = Rc<dyn Fn(&str) -> Option<Response>>;

/// A listener that is served until this is dropped. Needs a `LocalSet` around it.
pub struct Server {
    accepting: JoinHandle<()>,
}

impl Server {
    /// Serves `pages` on `listener`.
    #[must_use]
    pub fn start(listener: TcpListener, pages: Pages) -> Self {
        Self { accepting: spawn_local(accept(listener, pages)) }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

async fn accept(listener: TcpListener, pages: Pages) {
    let places = Arc::new(Semaphore::new(HTTP_CONNECTIONS_MAX));
    loop {
        let Ok(place) = Arc::clone(&places).acquire_owned().await else { return };
        match listener.accept().await {
            Ok((stream, _)) => {
                let pages = Rc::clone(&pages);
                spawn_local(async move {
                    // A slow client loses its connection; it has no more rights than that.
                    let _ = timeout(HTTP_TIME, serve(stream, &pages)).await;
                    drop(place);
                });
            }
            Err(why) => {
                warn!(%why, "HTTP cannot accept");
                tokio::time::sleep(HTTP_TIME / 10).await;
            }
        }
    }
}

async fn serve(mut stream: TcpStream, pages: &Pages) -> std::io::Result<()> {
    let mut head = Vec::with_capacity(1024);
    let (response, bodyless) = loop {
        if stream.read_buf(&mut head).await? == 0 {
            return Ok(());
        }
        if let Some(end) = head.windows(4).position(|it| it == b"\r\n\r\n") {
            break respond(head.get(..end).unwrap_or_default(), pages);
        }
        if head.len() >= HTTP_HEAD_MAX {
            break (Response::text(431, "The head of the request is too large."), false);
        }
    };
    stream.write_all(&encode(&response, bodyless)).await?;
    stream.shutdown().await?;
    // What the client still sends is taken off the socket, or closing it could destroy the answer.
    let mut left = HTTP_HEAD_MAX * 8;
    let mut scrap = [0; 1024];
    while left > 0 {
        match stream.read(&mut scrap).await? {
            0 => break,
            n => left = left.saturating_sub(n),
        }
    }
    Ok(())
}

/// The answer to a head, and whether its body is left out (HEAD).
fn respond(head: &[u8], pages: &Pages) -> (Response, bool) {
    let bad = || (Response::text(400, "This is not an HTTP/1.1 request."), false);
    let Ok(head) = std::str::from_utf8(head) else { return bad() };
    let mut lines = head.split("\r\n");
    let line: Vec<&str> = lines.next().unwrap_or_default().split(' ').collect();
    let [method, target, version] = line[..] else { return bad() };
    let is_name =
        |it: &str| !it.is_empty() && it.bytes().all(|b| b.is_ascii_graphic() && b != b':');
    let are_fields = lines.all(|it| it.split_once(':').is_some_and(|(name, _)| is_name(name)));
    let is_clean = !head.bytes().any(|b| b == 0 || b == b'\n' && !head.contains("\r\n"));
    if !is_name(method) || !target.starts_with('/') || !are_fields || !is_clean {
        return bad();
    }
    match version {
        "HTTP/1.1" | "HTTP/1.0" => {}
        _ if version.starts_with("HTTP/") => {
            return (Response::text(505, "Only HTTP/1.1 is spoken here."), false);
        }
        _ => return bad(),
    }
    if method != "GET" && method != "HEAD" {
        return (Response::text(405, "Only GET and HEAD are answered."), false);
    }
    let path = target.split(['?', '#']).next().unwrap_or(target);
    let response = pages(path).unwrap_or_else(|| Response::text(404, "There is no such page."));
    (response, method == "HEAD")
}

fn encode(response: &Response, bodyless: bool) -> Vec<u8> {
    let Response { status, kind, body } = response;
    let allow = if *status == 405 { "Allow: GET, HEAD\r\n" } else { "" };
    let mut out = format!(
        "HTTP/1.1 {status} {}\r\nContent-Type: {kind}\r\nContent-Length: {}\r\n{allow}\
         Cache-Control: no-store\r\nX-Content-Type-Options: nosniff\r\nConnection: close\r\n\r\n",
        reason(*status),
        body.len()
    );
    if !bodyless {
        out.push_str(body);
    }
    out.into_bytes()
}

fn reason(status: u16) -> &'static str {
    match status {
        200 => "OK",
        400 => "Bad Request",
        404 => "Not Found",
        405 => "Method Not Allowed",
        431 => "Request Header Fields Too Large",
        503 => "Service Unavailable",
        505 => "HTTP Version Not Supported",
        _ => "Other",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pages() -> Pages {
        Rc::new(|path| (path == "/health").then(|| Response::text(200, "fine")))
    }

    async fn exchange(address: std::net::SocketAddr, request: &[u8]) -> String {
        let mut stream = TcpStream::connect(address).await.unwrap();
        // The answer may come, and the connection end, before all is sent.
        let _ = stream.write_all(request).await;
        let mut answer = String::new();
        let _ = stream.read_to_string(&mut answer).await;
        answer
    }

    #[tokio::test]
    async fn requests_and_answers() {
        let test = async {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let address = listener.local_addr().unwrap();
            let _server = Server::start(listener, pages());
            let long = format!("GET /{} HTTP/1.1\r\n\r\n", "x".repeat(HTTP_HEAD_MAX));
            let many = format!("GET / HTTP/1.1\r\n{}\r\n", "A: b\r\n".repeat(HTTP_HEAD_MAX));
            for (request, status) in [
                ("GET /health HTTP/1.1\r\nHost: x\r\n\r\n", "200 OK"),
                ("GET /health?verbose HTTP/1.0\r\n\r\n", "200 OK"),
                ("GET /../etc/passwd HTTP/1.1\r\n\r\n", "404 Not Found"),
                ("GET / HTTP/1.1\r\n\r\n", "404 Not Found"),
                ("POST /health HTTP/1.1\r\nContent-Length: 3\r\n\r\nabc", "405 Method Not Allowed"),
                ("GET /health HTTP/2.0\r\n\r\n", "505"),
                ("GET /health\r\n\r\n", "400 Bad Request"),
                ("GET  /health HTTP/1.1\r\n\r\n", "400"),
                ("GET http://x/health HTTP/1.1\r\n\r\n", "400"),
                ("GET /health HTTP/1.1\r\nno colon\r\n\r\n", "400"),
                ("GET /health HTTP/1.1\r\nHost : x\r\n\r\n", "400"),
                ("GET /health HTTP/1.1\r\n folded: x\r\n\r\n", "400"),
                ("\r\n\r\n", "400"),
                ("<?xml version='1.0'?><stream:stream>\r\n\r\n", "400"),
                (&long, "431"),
                (&many, "431"),
            ] {
                let answer = exchange(address, request.as_bytes()).await;
                let begin = format!("HTTP/1.1 {status}");
                assert!(answer.starts_with(&begin), "{:.40}: {answer}", request);
                assert!(answer.contains("\r\nConnection: close\r\n\r\n"), "{answer}");
                assert!(answer.contains("nosniff"));
            }
            let answer = exchange(address, b"\x16\x03\x01\xff\xfe\r\n\r\n").await;
            assert!(answer.starts_with("HTTP/1.1 400"), "{answer}");
            let answer = exchange(address, b"HEAD /health HTTP/1.1\r\n\r\n").await;
            assert!(answer.contains("Content-Length: 5\r\n") && answer.ends_with("\r\n\r\n"));
            let answer = exchange(address, b"GET /health HTTP/1.1\r\n\r\n").await;
            assert!(answer.ends_with("\r\n\r\nfine\n"), "{answer}");
        };
        tokio::task::LocalSet::new().run_until(test).await;
    }

    // Security case 146: a slow client, and as many as there are places.
    #[tokio::test(start_paused = true)]
    async fn slow_clients_are_cut() {
        let test = async {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let address = listener.local_addr().unwrap();
            let _server = Server::start(listener, pages());
            let mut slow = Vec::new();
            for _ in 0..HTTP_CONNECTIONS_MAX {
                let mut stream = TcpStream::connect(address).await.unwrap();
                stream.write_all(b"GET /health HTTP/1.1\r\nX: ").await.unwrap();
                slow.push(stream);
            }
            let answer = exchange(address, b"GET /health HTTP/1.1\r\n\r\n").await;
            assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
            let mut rest = Vec::new();
            let _ = slow.remove(0).read_to_end(&mut rest).await;
            assert_eq!(rest, b"");
        };
        tokio::task::LocalSet::new().run_until(test).await;
    }
}
