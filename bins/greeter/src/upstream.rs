//! Calls to one leaf: limits and failures.
//!
//! The HTTP client is our own, on sockets that park the coroutine. ureq took 48,000 of the 61,000
//! instructions of a greeting, and needed a coroutine for each call, whose stacks were most of
//! greeter's memory. (CPU of a greeting, measured in one run: 42.7 us before, 25.0 us now.)

use std::fmt;
use std::io::{self, ErrorKind};
use std::panic::resume_unwind;
use std::sync::Arc;
use std::time::{Duration, Instant};

use chassis::log::Limited;
use http::{StatusCode, Uri};
use http1::reply::{self, Reader};
use may::coroutine::JoinHandle;
use may::go;
use net::{Buffer, ConnectError, Connector, Deadlines, Permit, Resolver, Semaphore};

use crate::about::{LOG, USER_AGENT};
use crate::limits;
use crate::line::{LineError, line};
use crate::pool::{Pool, Pooled};

/// Why a call failed, as text for the client, and the status of the answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Failure {
    pub(crate) status: StatusCode,
    /// The leaf that was called.
    pub(crate) service: &'static str,
    pub(crate) url: String,
    pub(crate) cause: String,
}

impl std::error::Error for Failure {}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({}): {}", self.service, self.url, self.cause)
    }
}

/// The outcome of a call.
#[derive(Debug)]
pub(crate) struct Outcome {
    /// The leaf that was called.
    pub(crate) service: &'static str,
    pub(crate) line: Result<String, Failure>,
    /// How long after the start of the greeting this was known, if it was waited for by itself.
    pub(crate) elapsed: Duration,
}

/// The status of a server that has waited for a request for too long.
const REQUEST_TIMEOUT: u16 = StatusCode::REQUEST_TIMEOUT.as_u16();

/// A leaf to call.
pub(crate) struct Upstream {
    name: &'static str,
    url: Uri,
    /// See [`head`].
    head: Box<[u8]>,
    connector: Connector,
    pool: Arc<Pool>,
    calls: Arc<Semaphore>,
    failed: Limited,
}

/// The head of every request to this URL, without the headers that are passed on.
pub(crate) fn head(url: &Uri) -> String {
    let host = url.authority().map_or("", |authority| authority.as_str());
    // A leaf has room for 16 headers: no more than these.
    format!("GET {} HTTP/1.1\r\nhost: {host}\r\nuser-agent: {USER_AGENT}\r\n", url.path())
}

impl Upstream {
    pub(crate) fn new(name: &'static str, url: Uri, deadlines: Deadlines) -> Arc<Self> {
        let resolver = Resolver::new(url.host().unwrap_or_default(), url.port_u16().unwrap_or(80));
        Self::with(name, url, Connector::new(resolver, deadlines.clone()), deadlines)
    }

    fn with(name: &'static str, url: Uri, connector: Connector, deadlines: Deadlines) -> Arc<Self> {
        Arc::new(Self {
            name,
            connector,
            head: head(&url).into_bytes().into(),
            url,
            pool: Pool::new(deadlines),
            calls: Semaphore::new(limits::MAX_CALLS),
            failed: Limited::new(),
        })
    }

    /// Asks the leaf for its line, and waits for nothing: where there is no connection, a
    /// coroutine makes one. These header lines are passed on; `start` is when the greeting
    /// began.
    pub(crate) fn ask(self: &Arc<Self>, passed_on: &[u8], start: Instant) -> Call {
        let permit = self.calls.try_acquire();
        let request = [&*self.head, passed_on, b"\r\n"].concat();
        let end = start + limits::BUDGET;
        let state = if permit.is_none() {
            CallState::Refused(CallError::TooMany)
        } else if let Some(connection) = self.send_on_pooled(&request, start, end) {
            CallState::Pooled(connection, request)
        } else {
            let this = self.clone();
            CallState::Connecting(go!(move || this.call_on_new(&request, end)))
        };
        Call { upstream: self.clone(), _permit: permit, start, end, state }
    }

    /// Sends the request on a pooled connection, if there is one that works.
    fn send_on_pooled(&self, request: &[u8], now: Instant, end: Instant) -> Option<Pooled> {
        let connection = self.pool.take(now)?;
        connection.socket.set_deadline_at(end);
        connection.socket.write_all(request).is_ok().then_some(connection)
    }

    /// A whole call on a new connection.
    fn call_on_new(&self, request: &[u8], end: Instant) -> Result<String, CallError> {
        let socket = self.connector.connect(end)?;
        socket.set_deadline_at(end);
        socket.write_all(request).map_err(CallError::Send)?;
        self.receive(Pooled::new(socket), false)
    }

    /// Waits for the answer; a pooled connection may be dead.
    fn receive(&self, connection: Pooled, may_be_dead: bool) -> Result<String, CallError> {
        let mut input = Buffer::default();
        let mut reader = Reader::default();
        let mut answered = false;
        while !reader.is_done() {
            let error = match input.fill(&connection.socket, http1::limits::ANSWER_INPUT) {
                Ok(0) if reader.ends_with_input() => break,
                Ok(0) => ErrorKind::UnexpectedEof.into(),
                Ok(_) => {
                    answered = true;
                    let used = match reader.advance(input.unused()) {
                        // A pooled connection for which it had waited long enough, just then.
                        Err(reply::Error::Status(REQUEST_TIMEOUT)) if may_be_dead => {
                            return Err(CallError::Stale(ErrorKind::ConnectionAborted.into()));
                        }
                        used => used?,
                    };
                    input.consume(used);
                    continue;
                }
                Err(error) => error,
            };
            let is_gone = net::is_gone(&error);
            if is_gone {
                // Its other connections are gone too.
                self.pool.clear();
            }
            let is_dead = is_gone || error.kind() != ErrorKind::TimedOut;
            let stale = may_be_dead && !answered && is_dead;
            return Err(if stale { CallError::Stale(error) } else { CallError::Receive(error) });
        }
        // A connection with unread bytes is not used again.
        if reader.keeps_alive() && input.unused().is_empty() {
            self.pool.put(connection);
        }
        line(reader.into_content()).map_err(CallError::Line)
    }

    fn failure(&self, error: &CallError) -> Failure {
        let (status, cause) = (error.status(), error.to_string());
        let fields: [(&str, &dyn fmt::Display); 3] =
            [("upstream", &self.name), ("url", &self.url), ("cause", &cause)];
        self.failed.event(LOG, "upstream failed", &fields);
        Failure { status, service: self.name, url: self.url.to_string(), cause }
    }
}

/// A call under way.
pub(crate) struct Call {
    upstream: Arc<Upstream>,
    /// Counted until it is answered.
    _permit: Option<Permit>,
    start: Instant,
    /// When its time is over.
    end: Instant,
    state: CallState,
}

/// How the leaf was asked.
enum CallState {
    Refused(CallError),
    /// On a pooled connection; the request, should it have died.
    Pooled(Pooled, Vec<u8>),
    /// By a coroutine, which has to connect first.
    Connecting(JoinHandle<Result<String, CallError>>),
}

impl Call {
    /// Waits for the leaf's line.
    fn answer(self) -> Outcome {
        let upstream = &self.upstream;
        let line = match self.state {
            CallState::Refused(error) => Err(error),
            CallState::Pooled(connection, request) => match upstream.receive(connection, true) {
                Err(CallError::Stale(_)) => upstream.call_on_new(&request, self.end),
                line => line,
            },
            CallState::Connecting(call) => call.join().unwrap_or_else(|panic| resume_unwind(panic)),
        };
        Outcome {
            service: upstream.name,
            line: line.map_err(|error| upstream.failure(&error)),
            elapsed: self.start.elapsed(),
        }
    }
}

/// Waits for one call after the other, which costs least: where nobody asks how long each took.
pub(crate) fn in_turn(calls: Vec<Call>) -> Vec<Outcome> {
    calls.into_iter().map(Call::answer).collect()
}

/// Waits for each call in a coroutine of its own, so that the time of each is its own.
pub(crate) fn side_by_side(calls: Vec<Call>) -> Vec<Outcome> {
    let calls = calls.into_iter().map(|call| go!(move || call.answer()));
    let calls: Vec<JoinHandle<Outcome>> = calls.collect();
    let joined = calls.into_iter().map(JoinHandle::join);
    joined.map(|joined| joined.unwrap_or_else(|panic| resume_unwind(panic))).collect()
}

/// What may go wrong with a call.
#[derive(Debug)]
enum CallError {
    TooMany,
    /// A pooled connection was dead before any byte of an answer: ask again, on a new one.
    Stale(io::Error),
    /// There is no connection.
    Connect(ConnectError),
    /// The request did not get out.
    Send(io::Error),
    /// The answer did not come in.
    Receive(io::Error),
    Answer(reply::Error),
    Line(LineError),
}

impl From<ConnectError> for CallError {
    fn from(error: ConnectError) -> Self {
        Self::Connect(error)
    }
}

impl From<reply::Error> for CallError {
    fn from(error: reply::Error) -> Self {
        Self::Answer(error)
    }
}

impl CallError {
    /// The status that tells a client so.
    fn status(&self) -> StatusCode {
        match self {
            Self::TooMany => StatusCode::SERVICE_UNAVAILABLE,
            Self::Connect(error) if error.is_timeout() => StatusCode::GATEWAY_TIMEOUT,
            Self::Stale(error) | Self::Send(error) | Self::Receive(error)
                if error.kind() == ErrorKind::TimedOut =>
            {
                StatusCode::GATEWAY_TIMEOUT
            }
            _ => StatusCode::BAD_GATEWAY,
        }
    }
}

impl fmt::Display for CallError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (error, late, doing) = match self {
            Self::TooMany => return f.write_str("too many calls in flight"),
            Self::Connect(error) => return error.fmt(f),
            Self::Answer(error) => return error.fmt(f),
            Self::Line(error) => return error.fmt(f),
            Self::Send(error) => (error, "the request was not taken in time", "send the request"),
            Self::Stale(error) | Self::Receive(error) => {
                (error, "no answer in time", "receive the answer")
            }
        };
        f.write_str(match error.kind() {
            _ if net::is_gone(error) => "connection lost: the host does not answer any more",
            ErrorKind::TimedOut => late,
            ErrorKind::ConnectionReset | ErrorKind::BrokenPipe => "connection reset",
            ErrorKind::UnexpectedEof => "connection closed before the end of the answer",
            _ => return write!(f, "cannot {doing}: {error}"),
        })
    }
}

impl std::error::Error for CallError {}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::net::{SocketAddr, TcpListener, TcpStream};
    use std::sync::OnceLock;

    use harness::Peer;
    use harness::peer::{ok, read_request};
    use net::{Family, LookUp, NotFound};
    use nix::sys::socket::Backlog;

    use super::*;

    /// Runs in a coroutine.
    fn with<T: Send + 'static>(test: impl FnOnce(Deadlines) -> T + Send + 'static) -> T {
        net::runtime::init();
        go!(move || test(Deadlines::start().unwrap())).join().unwrap()
    }

    fn line(call: Call) -> String {
        call.answer().line.unwrap_or_else(|failure| failure.to_string())
    }

    /// The first host is found only once the second service has been asked.
    #[test]
    fn one_is_asked_while_the_other_is_looked_up() {
        static ASKED: OnceLock<()> = OnceLock::new();
        let name = Peer::start(|_, mut stream| {
            while read_request(&mut stream).is_some() {
                let _ = ASKED.set(());
                let _ = stream.write_all(&ok("Emelia (name-1)"));
            }
        });
        let greeting = Peer::saying("Hello (greeting-1)");
        let lines = with(move |deadlines| {
            let port = greeting.address().port();
            let url: Uri = format!("http://slow.test:{port}").parse().unwrap();
            let resolver = Resolver::with("slow.test", port, |_, port, family| {
                if family == Family::V6 {
                    return Err(NotFound::NoAddress);
                }
                ASKED.wait();
                Ok(vec![SocketAddr::from(([127, 0, 0, 1], port))])
            });
            let connector = Connector::new(resolver, deadlines.clone());
            let greeting = Upstream::with("greeting", url, connector, deadlines.clone());
            let name = Upstream::new("name", name.url().parse().unwrap(), deadlines);
            let start = Instant::now();
            [greeting.ask(b"", start), name.ask(b"", start)].map(line)
        });
        assert_eq!(lines, ["Hello (greeting-1)", "Emelia (name-1)"]);
    }

    /// What went wrong is what is said, and the status is that of its kind.
    #[test]
    fn the_cause_is_the_cause() {
        fn failure(port: u16, look_up: LookUp) -> (String, StatusCode) {
            with(move |deadlines| {
                let url = format!("http://some.test:{port}").parse().unwrap();
                let resolver = Resolver::with("some.test", port, look_up);
                let connector = Connector::new(resolver, deadlines.clone());
                let name = Upstream::with("name", url, connector, deadlines);
                let failure = name.ask(b"", Instant::now()).answer().line.unwrap_err();
                (failure.cause, failure.status)
            })
        }
        let here: LookUp = |_, port, family| match family {
            Family::V4 => Ok(vec![SocketAddr::from(([127, 0, 0, 1], port))]),
            Family::V6 => Err(NotFound::NoAddress),
        };
        let hangs: LookUp = |_, _, _| {
            loop {
                std::thread::park();
            }
        };
        let unknown: LookUp = |_, _, _| Err(NotFound::NoName);
        let no_answer: LookUp = |_, _, _| Err(NotFound::NoAnswer);
        let listen = || TcpListener::bind("127.0.0.1:0").unwrap();
        let down = listen().local_addr().unwrap();
        let silent = Peer::start(|_, mut stream| while read_request(&mut stream).is_some() {});
        let closes = Peer::start(|_, mut stream| drop(read_request(&mut stream)));
        // Its queue of connections is full, so it is silent.
        let full = listen();
        nix::sys::socket::listen(&full, Backlog::new(0).unwrap()).unwrap();
        let full = (full.local_addr().unwrap(), full);
        let moment = Duration::from_millis(10);
        let _queue = [(); 4].map(|()| TcpStream::connect_timeout(&full.0, moment));
        for (port, look_up, cause, status) in [
            (80, hangs, "looking up some.test takes too long", StatusCode::GATEWAY_TIMEOUT),
            (80, unknown, "cannot look up some.test: no such name", StatusCode::BAD_GATEWAY),
            (
                80,
                no_answer,
                "cannot look up some.test: the name server gives no answer",
                StatusCode::GATEWAY_TIMEOUT,
            ),
            (full.0.port(), here, "no connection in time", StatusCode::GATEWAY_TIMEOUT),
            (down.port(), here, "connection refused", StatusCode::BAD_GATEWAY),
            (silent.address().port(), here, "no answer in time", StatusCode::GATEWAY_TIMEOUT),
            (
                closes.address().port(),
                here,
                "connection closed before the end of the answer",
                StatusCode::BAD_GATEWAY,
            ),
        ] {
            assert_eq!(failure(port, look_up), (cause.into(), status));
        }
    }

    /// What is left of a greeting's time holds on a kept connection too.
    #[test]
    fn the_budget_is_one_for_all() {
        let name = Peer::start(|number, mut stream| {
            while read_request(&mut stream).is_some() {
                let _ = stream.write_all(&ok(&format!("Emelia (name-{number})")));
                // The next request gets no answer.
                let _ = read_request(&mut stream);
                std::thread::sleep(limits::BUDGET / 2);
                let _ = stream.write_all(&ok("too late"));
            }
        });
        let url = name.url();
        let lines = with(move |deadlines| {
            let name = Upstream::new("name", url.parse().unwrap(), deadlines);
            let start = Instant::now();
            [start, start.checked_sub(limits::BUDGET).unwrap()]
                .map(|start| line(name.ask(b"", start)))
        });
        let late = format!("name ({}/): no answer in time", name.url());
        assert_eq!(lines, ["Emelia (name-0)", &late]);
    }
}
