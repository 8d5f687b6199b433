//! The HTTP of a leaf: a service that answers from memory, on `may_minihttp`.
//!
//! Only the task's own sidecar and its own health check talk to a leaf, and
//! `may_minihttp` is the fastest way to answer those. What its interface gives no hold on:
//!
//! - More than 16 request headers: the connection is closed without an answer (its
//!   parser has room for 16). Two Envoys bring about 12; greeter passes on five at most.
//! - A malformed head: closed without an answer, for the same reason.
//! - HEAD: `Content-Length: 0`. The library derives it from the body, which HEAD has none of.
//! - A client that half-closes after its request may get no answer: the library sees the
//!   end of input before it looks at the input.
//! - A chunked body cannot be read: 400, and the connection ends.
//! - No time limits, and no limit on connections: the sidecar has both.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use may_minihttp::{HttpService, HttpServiceFactory, Request, Response};
use nix::sys::socket::Shutdown as Direction;

use crate::log::Log;
use crate::shutdown::{self, Shutdown, Traffic};
use crate::{Port, port, runtime};

/// The longest request body that is read away, in bytes.
const MAX_BODY: u64 = 64 * 1024;

/// What makes one leaf different from the other.
#[derive(Clone, Copy, Debug)]
pub struct Leaf {
    /// Its name, for the log.
    pub name: &'static str,
    /// Its version, for the log.
    pub version: &'static str,
    /// Picks the word to answer with.
    pub pick: fn() -> &'static str,
}

/// Serves `WORD (host)` on every path but `/health`, until `shutdown` has drained it.
///
/// The library cannot be told to stop listening: its listeners end with the process.
pub fn run(leaf: Leaf, host: &str, ports: &[Port], shutdown: &Shutdown) -> io::Result<()> {
    runtime::init()?;
    let log = Log::new(leaf.name);
    let shared = Arc::new(Shared {
        pick: leaf.pick,
        tail: format!(" ({host})").into(),
        requests: AtomicU64::new(0),
        shutdown: shutdown.clone(),
    });
    for port in ports {
        Connections(shared.clone()).start(port.share()?)?;
    }
    let address = port::addresses(ports);
    log.event("start", &[("version", &leaf.version), ("address", &address)]);
    shutdown.wait();
    log.event("drain", &[]);
    let requests = || shared.requests.load(Ordering::Relaxed);
    // An answer is written in the same turn of the worker its request is read in.
    let traffic = || Traffic { requests: requests(), in_flight: 0 };
    let quiet = shutdown::drain(shutdown::QUIET, shutdown::DRAIN_LIMIT, traffic);
    log.event("stop", &[("requests", &requests()), ("quiet", &quiet)]);
    Ok(())
}

struct Shared {
    pick: fn() -> &'static str,
    /// ` (host)`: what follows the word.
    tail: Box<str>,
    /// Words given. Health checks do not count: they would keep a drain from being quiet.
    requests: AtomicU64,
    shutdown: Shutdown,
}

struct Connections(Arc<Shared>);

impl HttpServiceFactory for Connections {
    type Service = Connection;

    /// `id` is the connection's file descriptor.
    fn new_service(&self, id: usize) -> Connection {
        Connection { shared: self.0.clone(), fd: i32::try_from(id).unwrap_or(-1), ending: false }
    }
}

struct Connection {
    shared: Arc<Shared>,
    fd: i32,
    ending: bool,
}

impl HttpService for Connection {
    fn call(&mut self, request: Request, response: &mut Response) -> io::Result<()> {
        if self.ending {
            // What follows a request that ended the connection may be its body: the answer
            // to that must never get out.
            self.shut(Direction::Both);
            return Ok(());
        }
        let body = body_length(&request);
        if body.is_err() || wants_close(&request) || self.shared.shutdown.begun() {
            response.header("Connection: close");
            self.ending = true;
        }
        match body {
            Ok(_) => self.answer(request, response),
            Err(Refusal(status, reason, text)) => {
                response.status_code(status, reason);
                write(response, &[text]);
            }
        }
        if self.ending {
            // The library goes on reading until the input ends; so end it.
            self.shut(Direction::Read);
        }
        Ok(())
    }
}

impl Connection {
    fn answer(&self, request: Request, response: &mut Response) {
        let head = request.method() == "HEAD";
        let health = request.path().split('?').next() == Some("/health");
        if !head && request.method() != "GET" {
            response.status_code(405, "Method Not Allowed").header("Allow: GET, HEAD");
            write(response, &["method not allowed: GET or HEAD"]);
        } else if health && self.shared.shutdown.begun() {
            response.status_code(503, "Service Unavailable");
            write(response, &["draining"]);
        } else if health {
            write(response, &["ok"]);
        } else {
            self.shared.requests.fetch_add(1, Ordering::Relaxed);
            write(response, &[(self.shared.pick)(), &self.shared.tail]);
        }
        if head {
            response.body("");
        }
        // Left unread, the library would take the body for the next request. Dropping the
        // reader reads it away; body_length() has made sure that body() does not panic.
        drop(request.body());
    }

    fn shut(&self, direction: Direction) {
        // Fails if the peer is gone already, which is as good.
        let _ = nix::sys::socket::shutdown(self.fd, direction);
    }
}

/// Writes the body, and the headers every answer has.
fn write(response: &mut Response, parts: &[&str]) {
    response
        .header("Content-Type: text/plain; charset=utf-8")
        .header("X-Content-Type-Options: nosniff")
        .header("Cache-Control: no-store");
    let body = response.body_mut();
    for part in parts {
        body.extend_from_slice(part.as_bytes());
    }
}

/// A request whose body cannot be told from the next request: status, reason, text.
struct Refusal(usize, &'static str, &'static str);

/// The length of the request's body (RFC 9112, section 6.3).
fn body_length(request: &Request) -> Result<u64, Refusal> {
    let bad = |text| Refusal(400, "Bad Request", text);
    let mut length = None;
    for header in request.headers() {
        if header.name.eq_ignore_ascii_case("transfer-encoding") {
            return Err(bad("Transfer-Encoding is not supported here"));
        }
        if header.name.eq_ignore_ascii_case("content-length") {
            let digits = !header.value.is_empty() && header.value.iter().all(u8::is_ascii_digit);
            let value = std::str::from_utf8(header.value).ok().and_then(|v| v.parse::<u64>().ok());
            match value.filter(|_| digits) {
                Some(value) if length.is_none_or(|known| known == value) => length = Some(value),
                _ => return Err(bad("bad Content-Length")),
            }
        }
    }
    match length.unwrap_or(0) {
        length if length <= MAX_BODY => Ok(length),
        _ => Err(Refusal(413, "Content Too Large", "body over 64 KiB")),
    }
}

/// Whether the client wants the connection closed (RFC 9112, section 9.3).
fn wants_close(request: &Request) -> bool {
    let mut keep_alive = request.version() == 1;
    for header in request.headers() {
        if header.name.eq_ignore_ascii_case("connection") {
            for token in header.value.split(|&b| b == b',').map(<[u8]>::trim_ascii) {
                if token.eq_ignore_ascii_case(b"close") {
                    return true;
                }
                keep_alive |= token.eq_ignore_ascii_case(b"keep-alive");
            }
        }
    }
    !keep_alive
}
