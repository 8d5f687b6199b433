//! One service to call: its connections, its limits, its failures.
//!
//! The call is our own, on sockets that park the coroutine. It was ureq's once: of a
//! greeting's 61,000 instructions 48,000 were ureq's, and the coroutine each call took,
//! with 16 KiB of stack, was most of greeter's memory. (Measured in one run: 42.7 us of CPU
//! a greeting then, 25.0 us so.)

use std::collections::VecDeque;
use std::fmt;
use std::io::{self, ErrorKind};
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use chassis::log::Limited;
use ureq::http::Uri;

use crate::LOG;
use crate::buffer::Buffer;
use crate::deadline::{Deadlines, End};
use crate::reply::{self, Reader};
use crate::resolver::Resolver;
use crate::response::Status;
use crate::socket::Socket;

/// A whole greeting may take this long.
const BUDGET: Duration = Duration::from_secs(2);
/// Connecting may take this long.
const CONNECT: Duration = Duration::from_millis(500);
/// A connection is used this long at most. Where balancing is per connection (Service
/// Connect in TCP mode) traffic so reaches the tasks of a scale-out.
const MAX_AGE: Duration = Duration::from_secs(30);
/// Calls to one service at a time; more fail with 503.
const MAX_IN_FLIGHT: usize = 1024;
/// The most bytes of an answer held at a time: a head, or the line of a chunked body.
const MAX_INPUT: usize = 8 * 1024;

/// Why a call failed, said plainly, and the status that tells a client so.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Failure {
    pub(crate) status: Status,
    /// The service that was called.
    pub(crate) service: &'static str,
    url: String,
    pub(crate) cause: String,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({}): {}", self.service, self.url, self.cause)
    }
}

/// A service behind this one.
pub(crate) struct Upstream {
    name: &'static str,
    url: Uri,
    /// Every request's head, up to what is passed on.
    head: Box<[u8]>,
    resolver: Arc<Resolver>,
    deadlines: Deadlines,
    /// Connections for the next calls. The last one back goes first, so that those which are
    /// not needed grow old.
    kept: Mutex<VecDeque<Connection>>,
    in_flight: AtomicUsize,
    failed: Limited,
}

/// A connection to the service.
struct Connection {
    socket: Socket,
    opened: Instant,
}

impl Upstream {
    pub(crate) fn new(name: &'static str, url: Uri, deadlines: Deadlines) -> Self {
        let host = url.authority().map_or("", |authority| authority.as_str());
        let agent = concat!("greeter/", env!("CARGO_PKG_VERSION"));
        // A leaf takes 16 headers: none here that says nothing.
        let head =
            format!("GET {} HTTP/1.1\r\nhost: {host}\r\nuser-agent: {agent}\r\n", url.path());
        Self {
            name,
            resolver: Resolver::new(&url),
            url,
            head: head.into_bytes().into(),
            deadlines,
            kept: Mutex::default(),
            in_flight: AtomicUsize::new(0),
            failed: Limited::new(),
        }
    }

    /// Asks the service for its line, and does not wait for it. These header lines are
    /// passed on; `now` is when the call begins.
    pub(crate) fn ask(&self, passed_on: &[u8], now: Instant) -> Call<'_> {
        let others = self.in_flight.fetch_add(1, Relaxed);
        let in_flight = InFlight(&self.in_flight);
        let request = [&*self.head, passed_on, b"\r\n"].concat();
        let sent =
            if others < MAX_IN_FLIGHT { self.send(&request, now) } else { Err(Fault::TooMany) };
        Call { upstream: self, request, start: now, sent, _in_flight: in_flight }
    }

    fn send(&self, request: &[u8], now: Instant) -> Result<Sent, Fault> {
        if let Some(connection) = self.take(now) {
            connection.socket.set_deadline(BUDGET, End::Both);
            if connection.socket.write_all(request).is_ok() {
                return Ok(Sent { connection, is_new: false });
            }
        }
        self.send_anew(request, now)
    }

    fn send_anew(&self, request: &[u8], start: Instant) -> Result<Sent, Fault> {
        let connection = Connection { socket: self.connect(start)?, opened: start };
        connection.socket.set_deadline(left(start)?, End::Both);
        connection.socket.write_all(request)?;
        Ok(Sent { connection, is_new: true })
    }

    /// Waits for the answer to what was sent.
    fn receive(&self, sent: Sent, start: Instant) -> Result<String, Fault> {
        let Sent { connection, is_new } = sent;
        let mut input = Buffer::default();
        let mut reader = Reader::default();
        let mut answered = false;
        while !reader.is_done() {
            let error = match input.fill(&connection.socket, MAX_INPUT) {
                Ok(0) if reader.ends_with_input() => break,
                Ok(0) => ErrorKind::UnexpectedEof.into(),
                Ok(_) => {
                    answered = true;
                    let used = reader.advance(input.unused()).map_err(Fault::Answer)?;
                    input.consume(used);
                    continue;
                }
                Err(error) => error,
            };
            let stale = !is_new && !answered && error.kind() != ErrorKind::TimedOut;
            return Err(if stale { Fault::Stale(error) } else { Fault::Io(error) });
        }
        // Whoever says more than was asked is not asked again there.
        if reader.keeps_alive() && input.unused().is_empty() {
            self.keep(connection, start);
        }
        reader.line().map_err(Fault::Answer)
    }

    /// Tries the host's addresses in order, within the time that connecting may take.
    fn connect(&self, start: Instant) -> io::Result<Socket> {
        let addresses = self.resolver.resolve(left(start)?)?;
        let resolved = Instant::now();
        let mut last = io::Error::from(ErrorKind::TimedOut);
        for &address in addresses.iter() {
            let wait = CONNECT.saturating_sub(resolved.elapsed()).min(left(start)?);
            if wait.is_zero() {
                break;
            }
            match Socket::connect(address, wait, &self.deadlines) {
                Ok(socket) => return Ok(socket),
                Err(error) => last = error,
            }
        }
        Err(last)
    }

    /// A kept connection, unless all are too old or dead.
    fn take(&self, now: Instant) -> Option<Connection> {
        loop {
            let connection = self.kept().pop_back()?;
            if connection.age(now) < MAX_AGE && connection.socket.is_silent() {
                return Some(connection);
            }
        }
    }

    fn keep(&self, connection: Connection, now: Instant) {
        connection.socket.clear_deadline();
        let mut kept = self.kept();
        kept.push_back(connection);
        while kept.front().is_some_and(|c| c.age(now) >= MAX_AGE) {
            kept.pop_front();
        }
    }

    fn kept(&self) -> MutexGuard<'_, VecDeque<Connection>> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn failure(&self, fault: Fault) -> Failure {
        let (status, cause) = fault.describe();
        let fields: [(&str, &dyn fmt::Display); 3] =
            [("upstream", &self.name), ("url", &self.url), ("cause", &cause)];
        self.failed.event(LOG, "upstream failed", &fields);
        Failure { status, service: self.name, url: self.url.to_string(), cause }
    }
}

impl Connection {
    fn age(&self, now: Instant) -> Duration {
        now.saturating_duration_since(self.opened)
    }
}

/// A call under way.
pub(crate) struct Call<'a> {
    upstream: &'a Upstream,
    request: Vec<u8>,
    start: Instant,
    sent: Result<Sent, Fault>,
    _in_flight: InFlight<'a>,
}

/// A request that was written.
struct Sent {
    connection: Connection,
    is_new: bool,
}

impl Call<'_> {
    /// Waits for the service's line.
    pub(crate) fn answer(self) -> Result<String, Failure> {
        let Self { upstream, request, start, sent, .. } = self;
        let mut answer = sent.and_then(|sent| upstream.receive(sent, start));
        if let Err(Fault::Stale(_)) = answer {
            let sent = upstream.send_anew(&request, start);
            answer = sent.and_then(|sent| upstream.receive(sent, start));
        }
        answer.map_err(|fault| upstream.failure(fault))
    }
}

/// One of the calls that are counted.
struct InFlight<'a>(&'a AtomicUsize);

impl Drop for InFlight<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Relaxed);
    }
}

/// The time that a call has left; an error when that is none.
fn left(start: Instant) -> io::Result<Duration> {
    match BUDGET.saturating_sub(start.elapsed()) {
        Duration::ZERO => Err(ErrorKind::TimedOut.into()),
        left => Ok(left),
    }
}

/// What may go wrong with a call.
enum Fault {
    TooMany,
    /// A kept connection was dead before any byte of an answer: ask again, on a new one.
    Stale(io::Error),
    Io(io::Error),
    Answer(reply::Fault),
}

impl From<io::Error> for Fault {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

impl Fault {
    /// The status and the words for it.
    fn describe(self) -> (Status, String) {
        let gateway = |text: &str| (Status::BAD_GATEWAY, text.to_owned());
        match self {
            Self::TooMany => (Status::UNAVAILABLE, "too many calls in flight".to_owned()),
            Self::Answer(cause) => (Status::BAD_GATEWAY, cause.into_owned()),
            Self::Stale(error) | Self::Io(error) => match error.kind() {
                ErrorKind::TimedOut => (Status::GATEWAY_TIMEOUT, "no answer in time".to_owned()),
                ErrorKind::ConnectionRefused => gateway("connection refused"),
                ErrorKind::ConnectionReset | ErrorKind::BrokenPipe => gateway("connection reset"),
                ErrorKind::UnexpectedEof => {
                    gateway("connection closed before the end of the answer")
                }
                _ => (Status::BAD_GATEWAY, error.to_string()),
            },
        }
    }
}
