//! One connection: reads requests and writes answers, in order.
//!
//! | wait | limit, of [`Limits`] | then |
//! |---|---|---|
//! | for the first byte | `receive` | closed |
//! | for a further request | `idle` | closed |
//! | for the rest of its head, from its first byte | `receive` | 408, closed |
//! | for its body | `receive` | 408, closed |
//! | for the client to read its answer | `send` | reset |
//!
//! The next request is not parsed before the last answer is written, so that a client that pipelines
//! requests and reads no answers is not read either (backpressure).

use std::fmt;
use std::io::{self, IoSlice};
use std::time::{Duration, SystemTime};

use chassis::Shutdown;
use chassis::log::Limited;
use http::StatusCode;
use http1::response::{self, Date};
use http1::{Answer, Awaited, Framing, Method, Next, Persistence, Refusal, Request, Requests};
use net::{Buffer, Socket};
use parking_lot::Mutex;

use crate::about::LOG;
use crate::answer::{Content, answer};
use crate::edge::Edge;
use crate::limits::{self, Limits};
use crate::request_info::{RequestInfo, Target};
use crate::traffic::Counters;

/// The state that all connections share.
pub(crate) struct Clients {
    edge: Edge,
    limits: Limits,
    shutdown: Shutdown,
    counters: Counters,
    /// Rate limit of the log lines about refused requests.
    refused: Limited,
    date: Mutex<Date>,
}

impl Clients {
    pub(crate) fn new(edge: Edge, limits: Limits, shutdown: Shutdown) -> Self {
        Self {
            edge,
            limits,
            shutdown,
            counters: Counters::default(),
            refused: Limited::new(),
            date: Mutex::default(),
        }
    }

    pub(crate) fn counters(&self) -> &Counters {
        &self.counters
    }

    /// Calls `write` with the `Date` header's value.
    fn with_date<T>(&self, write: impl FnOnce(&str) -> T) -> T {
        let mut date = self.date.lock();
        write(date.at(SystemTime::now()))
    }
}

/// Why a connection ends before its client closed it.
enum Stop {
    /// With an answer that has the reason.
    Refused(Reason),
    /// Idle for too long.
    Idle,
    /// The client does not read its answers.
    NotReading,
    /// The peer has closed, or the connection is broken.
    Gone,
}

/// Why a client is refused.
#[derive(Debug)]
enum Reason {
    Request(Refusal),
    /// The request took longer than this.
    TooSlow(Duration),
    TooMany,
}

impl Reason {
    fn status(&self) -> StatusCode {
        match self {
            Self::Request(refusal) => refusal.status(),
            Self::TooSlow(_) => StatusCode::REQUEST_TIMEOUT,
            Self::TooMany => StatusCode::SERVICE_UNAVAILABLE,
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Request(refusal) => refusal.fmt(f),
            Self::TooSlow(limit) => write!(f, "the request took more than {} s", limit.as_secs()),
            Self::TooMany => f.write_str("too many connections"),
        }
    }
}

impl std::error::Error for Reason {}

impl From<Refusal> for Stop {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(Reason::Request(refusal))
    }
}

/// Serves a connection until one side ends it.
pub(crate) fn serve(socket: Socket, clients: &Clients) {
    let mut connection = Connection::new(socket, clients);
    let stop = connection.run();
    connection.stop(stop);
}

/// Answers 503 to a connection over the limit.
pub(crate) fn reject(socket: Socket, clients: &Clients) {
    let mut connection = Connection::new(socket, clients);
    // Read first: HEAD gets no body. A client that sends nothing is answered all the same.
    connection.socket.set_deadline(limits::LINGER);
    let _ = connection.input.fill(&connection.socket, http1::limits::HEAD);
    connection.stop(Err(Stop::Refused(Reason::TooMany)));
}

struct Connection<'a> {
    socket: Socket,
    input: Buffer,
    /// A reused buffer for the heads of answers.
    head: Vec<u8>,
    requests: Requests<RequestInfo>,
    /// What input the deadline is for, while one is set.
    awaited: Option<Awaited>,
    /// Nothing was received yet.
    is_new: bool,
    clients: &'a Clients,
}

impl<'a> Connection<'a> {
    fn new(socket: Socket, clients: &'a Clients) -> Self {
        Self {
            socket,
            input: Buffer::default(),
            head: Vec::new(),
            requests: Requests::default(),
            awaited: None,
            is_new: true,
            clients,
        }
    }

    fn run(&mut self) -> Result<(), Stop> {
        let mut in_flight = None;
        loop {
            let (used, next) = self.requests.advance(self.input.unused())?;
            self.input.consume(used);
            match next {
                Next::Input(awaited) => {
                    if self.fill(awaited)? == 0 {
                        return Ok(self.requests.end(self.input.unused())?);
                    }
                }
                Next::Head => {
                    in_flight = self.requests.head().map(|request| {
                        let is_check = request.info.target == Target::Health;
                        self.clients.counters.receive(is_check)
                    });
                    self.let_continue()?;
                }
                Next::Request(request) => {
                    if !self.answer(request)? {
                        return Ok(());
                    }
                    in_flight.take();
                }
            }
        }
    }

    /// Waits for more input, and returns how many bytes came; 0 at the end.
    fn fill(&mut self, awaited: Awaited) -> Result<usize, Stop> {
        // One deadline for the whole head or body, not for each read.
        if self.awaited.replace(awaited) != Some(awaited) {
            let limits = &self.clients.limits;
            self.socket.set_deadline(match awaited {
                Awaited::Request if !self.is_new => limits.idle,
                _ => limits.receive,
            });
        }
        match self.input.fill(&self.socket, http1::limits::HEAD) {
            Ok(count) => {
                self.is_new = false;
                Ok(count)
            }
            Err(error) if error.kind() != io::ErrorKind::TimedOut => Err(Stop::Gone),
            Err(_) if awaited == Awaited::Request => Err(Stop::Idle),
            Err(_) => Err(Stop::Refused(Reason::TooSlow(self.clients.limits.receive))),
        }
    }

    /// Sends `100 Continue` to a client that waits for it before it sends the body.
    fn let_continue(&mut self) -> Result<(), Stop> {
        let waits = self.input.unused().is_empty()
            && self.requests.head().is_some_and(|r| r.expects_continue && r.body != Framing::NONE);
        if waits { self.write(response::CONTINUE, b"") } else { Ok(()) }
    }

    /// Answers a request, and returns whether another may follow.
    fn answer(&mut self, request: Request<RequestInfo>) -> Result<bool, Stop> {
        let (head_only, is_1_0) = (request.method == Method::Head, request.is_1_0);
        let keep_alive = request.keep_alive;
        let answer = self.clients.edge.answer(request);
        // Checked now, because the drain may have begun meanwhile.
        let persistence = match keep_alive && !self.clients.shutdown.begun() {
            false => Persistence::Close,
            true if is_1_0 => Persistence::KeepAlive,
            true => Persistence::Open,
        };
        self.write_answer(&answer, head_only, persistence)?;
        Ok(persistence != Persistence::Close)
    }

    fn write_answer(
        &mut self,
        answer: &Answer,
        head_only: bool,
        persistence: Persistence,
    ) -> Result<(), Stop> {
        let mut head = std::mem::take(&mut self.head);
        head.clear();
        self.clients.with_date(|date| response::write_head(&mut head, answer, persistence, date));
        let body = if head_only { b"" } else { &*answer.body };
        let written = if body.len() <= limits::SHORT_BODY {
            head.extend_from_slice(body);
            self.write(&head, b"")
        } else {
            self.write(&head, body)
        };
        self.head = head;
        written
    }

    /// Writes bytes, and a body behind them from where it stands.
    fn write(&mut self, bytes: &[u8], body: &[u8]) -> Result<(), Stop> {
        self.awaited = None;
        self.socket.set_deadline(self.clients.limits.send);
        let written = if body.is_empty() {
            self.socket.write_all(bytes)
        } else {
            self.socket.write_all_of(&mut [IoSlice::new(bytes), IoSlice::new(body)])
        };
        written.map_err(|error| match error.kind() {
            io::ErrorKind::TimedOut => Stop::NotReading,
            _ => Stop::Gone,
        })
    }

    fn stop(mut self, mut why: Result<(), Stop>) {
        let head_only = self.requests.is_head(self.input.unused());
        // The rest of the input is not needed.
        self.input = Buffer::default();
        if let Err(Stop::Refused(reason)) = &why {
            let text = reason.to_string();
            self.clients.refused.event(LOG, "refused", &[("cause", &text)]);
            let answer = answer(reason.status(), Content::PLAIN, text.into_bytes());
            why = self.write_answer(&answer, head_only, Persistence::Close);
        }
        match why {
            Ok(()) | Err(Stop::Idle) => self.close(),
            Err(Stop::NotReading) => self.socket.reset(),
            Err(Stop::Refused(_) | Stop::Gone) => {}
        }
    }

    /// Closes so that the client can read the last answer: closing a socket with unread input resets
    /// the connection, and a reset discards what the client has not read yet (RFC 9112, section 9.6).
    fn close(&mut self) {
        if self.socket.finish().is_err() {
            return;
        }
        self.socket.set_deadline(limits::LINGER);
        let mut scratch = [0; 2048];
        let mut left = limits::LINGER_BYTES;
        while let Ok(count @ 1..) = self.socket.read(&mut scratch)
            && count <= left
        {
            left -= count;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::net::{TcpListener, TcpStream};

    use may::go;
    use net::Deadlines;

    use super::*;
    use crate::settings::Settings;

    /// A client with no room for another byte, which then waits for `100 Continue`: it has as
    /// much time for those as for an answer.
    #[test]
    fn a_client_that_cannot_be_told_to_continue_is_dropped() {
        net::runtime::init();
        let (long, short) = (Duration::from_hours(1), Duration::from_millis(50));
        let settings = Settings {
            host: "greeter-1".to_owned(),
            // It asks none.
            leaves: Vec::new(),
            max_connections: 1,
            limits: Limits { idle: long, receive: short, send: short },
        };
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (mut stream, _) = listener.accept().unwrap();
        stream.set_nonblocking(true).unwrap();
        // The kernel moves what it can to the other end meanwhile, and has room again.
        let mut full = 0;
        while full < 20 {
            full = if stream.write(&[b'x'; 4096]).is_ok() { 0 } else { full + 1 };
            std::thread::sleep(Duration::from_millis(1));
        }
        client
            .write_all(
                b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n",
            )
            .unwrap();
        let serves = go!(move || {
            let deadlines = Deadlines::start().unwrap();
            let shutdown = Shutdown::on_call();
            let edge = Edge::new(&settings, &deadlines, shutdown.clone());
            let clients = Clients::new(edge, settings.limits, shutdown);
            serve(Socket::new(stream, &deadlines).unwrap(), &clients);
        });
        serves.join().unwrap();
    }
}
