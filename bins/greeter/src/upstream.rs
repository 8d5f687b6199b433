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
use may::coroutine::JoinHandle;
use may::go;
use nix::errno::Errno;
use ureq::http::Uri;

use crate::LOG;
use crate::buffer::Buffer;
use crate::connect::Connector;
use crate::deadline::Deadlines;
use crate::reply::{self, Reader};
use crate::resolver::Resolver;
use crate::response::Status;
use crate::socket::Socket;

/// A whole greeting may take this long, whatever has to be done for it.
const BUDGET: Duration = Duration::from_secs(2);
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
    connector: Connector,
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
    pub(crate) fn new(name: &'static str, url: Uri, deadlines: Deadlines) -> Arc<Self> {
        let resolver = Resolver::new(&url);
        Self::with(name, url, Connector::new(resolver, deadlines))
    }

    fn with(name: &'static str, url: Uri, connector: Connector) -> Arc<Self> {
        let host = url.authority().map_or("", |authority| authority.as_str());
        let agent = concat!("greeter/", env!("CARGO_PKG_VERSION"));
        // A leaf takes 16 headers: none here that says nothing.
        let head =
            format!("GET {} HTTP/1.1\r\nhost: {host}\r\nuser-agent: {agent}\r\n", url.path());
        Arc::new(Self {
            name,
            connector,
            url,
            head: head.into_bytes().into(),
            kept: Mutex::default(),
            in_flight: AtomicUsize::new(0),
            failed: Limited::new(),
        })
    }

    /// Asks the service for its line, and waits for nothing: where there is no connection, a
    /// coroutine makes one. These header lines are passed on; `start` is when the greeting
    /// began.
    pub(crate) fn ask(self: &Arc<Self>, passed_on: &[u8], start: Instant) -> Call {
        let others = self.in_flight.fetch_add(1, Relaxed);
        let in_flight = InFlight(self.clone());
        let request = [&*self.head, passed_on, b"\r\n"].concat();
        let end = start + BUDGET;
        let state = if others >= MAX_IN_FLIGHT {
            Asked::Not(Fault::TooMany)
        } else if let Some(connection) = self.send_kept(&request, start, end) {
            Asked::Kept(connection, request)
        } else {
            let this = self.clone();
            Asked::Anew(go!(move || this.call_anew(&request, end)))
        };
        Call { in_flight, end, state }
    }

    /// A kept connection on which the request was sent, if one takes it.
    fn send_kept(&self, request: &[u8], now: Instant, end: Instant) -> Option<Connection> {
        let connection = self.take(now)?;
        connection.socket.set_deadline_at(end);
        connection.socket.write_all(request).is_ok().then_some(connection)
    }

    /// A whole call on a new connection.
    fn call_anew(&self, request: &[u8], end: Instant) -> Result<String, Fault> {
        let socket = self.connector.connect(end)?;
        socket.set_deadline_at(end);
        socket.write_all(request)?;
        self.receive(Connection { socket, opened: Instant::now() }, false)
    }

    /// Waits for the answer to what was sent, perhaps on a connection that had died.
    fn receive(&self, connection: Connection, may_be_dead: bool) -> Result<String, Fault> {
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
            // The kernel's own time-out is no slow service: nobody is there any more.
            let is_gone = error.raw_os_error() == Some(Errno::ETIMEDOUT as i32);
            if is_gone {
                self.kept().clear();
            }
            let is_dead = is_gone || error.kind() != ErrorKind::TimedOut;
            let stale = may_be_dead && !answered && is_dead;
            return Err(if stale { Fault::Stale(error) } else { Fault::Io(error) });
        }
        // Whoever says more than was asked is not asked again there.
        if reader.keeps_alive() && input.unused().is_empty() {
            self.keep(connection);
        }
        reader.line().map_err(Fault::Answer)
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

    fn keep(&self, connection: Connection) {
        connection.socket.clear_deadline();
        let now = Instant::now();
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
pub(crate) struct Call {
    in_flight: InFlight,
    /// When its time is over.
    end: Instant,
    state: Asked,
}

/// How the service was asked.
enum Asked {
    Not(Fault),
    /// On a connection that was kept; the request, should it have died.
    Kept(Connection, Vec<u8>),
    /// By a coroutine, which has to connect first.
    Anew(JoinHandle<Result<String, Fault>>),
}

impl Call {
    /// Waits for the service's line.
    pub(crate) fn answer(self) -> Result<String, Failure> {
        let upstream = &self.in_flight.0;
        let answer = match self.state {
            Asked::Not(fault) => Err(fault),
            Asked::Kept(connection, request) => match upstream.receive(connection, true) {
                Err(Fault::Stale(_)) => upstream.call_anew(&request, self.end),
                answer => answer,
            },
            Asked::Anew(call) => call.join().unwrap_or(Err(Fault::Panic)),
        };
        answer.map_err(|fault| upstream.failure(fault))
    }
}

/// One of the calls that are counted.
struct InFlight(Arc<Upstream>);

impl Drop for InFlight {
    fn drop(&mut self) {
        self.0.in_flight.fetch_sub(1, Relaxed);
    }
}

/// What may go wrong with a call.
enum Fault {
    TooMany,
    /// A bug in here, in a debug build: what ships ends with it.
    Panic,
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
            Self::Panic => gateway("the call panicked"),
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

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::net::SocketAddr;
    use std::sync::Barrier;

    use harness::Peer;
    use harness::peer::{ok, read_request};

    use super::*;

    /// Runs in a coroutine.
    fn with<T: Send + 'static>(test: impl FnOnce(Deadlines) -> T + Send + 'static) -> T {
        chassis::runtime::init().unwrap();
        go!(move || test(Deadlines::start().unwrap())).join().unwrap()
    }

    fn line(call: Call) -> String {
        call.answer().unwrap_or_else(|failure| failure.to_string())
    }

    /// The first host is found only once the second service has been asked.
    #[test]
    fn one_is_asked_while_the_other_is_looked_up() {
        static ASKED: Barrier = Barrier::new(2);
        let name = Peer::start(|_, mut stream| {
            while read_request(&mut stream).is_some() {
                ASKED.wait();
                let _ = stream.write_all(&ok("Emelia (name-1)"));
            }
        });
        let greeting = Peer::saying("Hello (greeting-1)");
        let lines = with(move |deadlines| {
            let url = format!("http://slow.test:{}", greeting.address().port());
            let url: Uri = url.parse().unwrap();
            let resolver = Resolver::with(&url, |_, port| {
                ASKED.wait();
                Ok(vec![SocketAddr::from(([127, 0, 0, 1], port))])
            });
            let connector = Connector::new(resolver, deadlines.clone());
            let greeting = Upstream::with("greeting", url, connector);
            let name = Upstream::new("name", name.url().parse().unwrap(), deadlines);
            let start = Instant::now();
            [greeting.ask(b"", start), name.ask(b"", start)].map(line)
        });
        assert_eq!(lines, ["Hello (greeting-1)", "Emelia (name-1)"]);
    }

    /// What is left of a greeting's time holds on a kept connection too.
    #[test]
    fn the_budget_is_one_for_all() {
        let name = Peer::start(|number, mut stream| {
            while read_request(&mut stream).is_some() {
                let _ = stream.write_all(&ok(&format!("Emelia (name-{number})")));
                // The next request gets no answer.
                let _ = read_request(&mut stream);
                std::thread::sleep(BUDGET / 2);
                let _ = stream.write_all(&ok("too late"));
            }
        });
        let url = name.url();
        let lines = with(move |deadlines| {
            let name = Upstream::new("name", url.parse().unwrap(), deadlines);
            let start = Instant::now();
            [start, start.checked_sub(BUDGET).unwrap()].map(|start| line(name.ask(b"", start)))
        });
        let late = format!("name ({}/): no answer in time", name.url());
        assert_eq!(lines, ["Emelia (name-0)", &late]);
    }
}
