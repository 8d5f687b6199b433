//! One connection: requests in, answers out, in order.
//!
//! | wait | limit | then |
//! |---|---|---|
//! | for the first byte | 10 s | closed |
//! | for a further request | 75 s, longer than the load balancer's 60 s | closed |
//! | for the rest of its head | 10 s from its first byte | 408, closed |
//! | for its body | 10 s | 408, closed |
//! | for the client to read its answer | 10 s | reset |
//!
//! The next request is not looked at before the last answer is written: a client that
//! pipelines and does not read is simply not read from.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use crate::LOG;
use crate::buffer::Buffer;
use crate::edge::Edge;
use crate::framing::Framing;
use crate::request::{Method, Refusal, Request};
use crate::requests::{Awaited, MAX_INPUT, Next, Requests};
use crate::response::{self, Answer, Connection as Header, Status};
use crate::socket::Socket;

/// How long a connection waits for its client.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// For a further request. The default, 75 s, is longer than the load balancer's 60 s: it
    /// must be the load balancer that closes, or it answers its clients 502.
    pub idle: Duration,
    /// For the first byte, for the rest of a head, and for a body: 10 s each.
    pub receive: Duration,
    /// For an answer to be read: 10 s.
    pub send: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            idle: Duration::from_secs(75),
            receive: Duration::from_secs(10),
            send: Duration::from_secs(10),
        }
    }
}

const TOO_SLOW: Refusal = Refusal(Status::REQUEST_TIMEOUT, "the request took more than 10 s");
const TOO_MANY: Refusal = Refusal(Status::UNAVAILABLE, "too many connections");

/// How long, and for how many bytes, a closing connection still listens.
const LINGER: Duration = Duration::from_secs(1);
const LINGER_BYTES: usize = 1024 * 1024;

const NO_BODY: Framing = Framing::Length(0);

/// The room for an answer that a connection keeps for the next one, in bytes: enough for
/// a greeting. The page must not cost memory for the rest of the connection.
const KEPT_OUTPUT: usize = 4096;

/// Why a connection ends before its client closed it.
enum Stop {
    /// With an answer that says why.
    Refused(Refusal),
    /// With nothing more to say.
    Idle,
    /// The client does not read what it is told.
    Deaf,
    /// Nobody is there.
    Gone,
}

impl From<Refusal> for Stop {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}

/// Serves a connection until one side ends it.
pub(crate) fn serve(socket: Socket, edge: &Arc<Edge>) {
    let mut connection = Connection::new(socket, edge);
    let stop = connection.run();
    connection.stop(stop);
}

/// Answers 503 to a connection that is one too many.
pub(crate) fn turn_away(socket: Socket, edge: &Arc<Edge>) {
    Connection::new(socket, edge).stop(Err(TOO_MANY.into()));
}

struct Connection<'a> {
    socket: Socket,
    input: Buffer,
    output: Vec<u8>,
    requests: Requests,
    /// What the deadline is for, while one is set for input.
    awaited: Option<Awaited>,
    /// Nothing has come yet.
    is_new: bool,
    edge: &'a Arc<Edge>,
}

impl<'a> Connection<'a> {
    fn new(socket: Socket, edge: &'a Arc<Edge>) -> Self {
        Self {
            socket,
            input: Buffer::default(),
            output: Vec::new(),
            requests: Requests::default(),
            awaited: None,
            is_new: true,
            edge,
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
                    in_flight = self.requests.head().map(|request| self.edge.receive(request));
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

    /// Waits for more input: how many bytes came, 0 at its end.
    fn fill(&mut self, awaited: Awaited) -> Result<usize, Stop> {
        // One deadline for all that is awaited, however often some of it comes.
        if self.awaited.replace(awaited) != Some(awaited) {
            let limits = &self.edge.limits;
            self.socket.set_deadline(match awaited {
                Awaited::Request if !self.is_new => limits.idle,
                _ => limits.receive,
            });
        }
        match self.input.fill(&self.socket, MAX_INPUT) {
            Ok(count) => {
                self.is_new = false;
                Ok(count)
            }
            Err(error) if error.kind() != io::ErrorKind::TimedOut => Err(Stop::Gone),
            Err(_) if awaited == Awaited::Request => Err(Stop::Idle),
            Err(_) => Err(TOO_SLOW.into()),
        }
    }

    /// Tells a client that waits for it to go on and send the body.
    fn let_continue(&mut self) -> Result<(), Stop> {
        let waits = self.input.unused().is_empty()
            && self.requests.head().is_some_and(|r| r.expects_continue && r.body != NO_BODY);
        if waits { self.write(response::CONTINUE) } else { Ok(()) }
    }

    /// Answers a request. Says whether another may follow.
    fn answer(&mut self, request: Request) -> Result<bool, Stop> {
        let (head_only, is_1_0) = (request.method == Method::Head, request.is_1_0);
        let keep_alive = request.keep_alive;
        let answer = self.edge.answer(request);
        // Asked now: the drain may have begun while the answer was made.
        let header = match keep_alive && !self.edge.shutdown.begun() {
            false => Header::Close,
            true if is_1_0 => Header::KeepAlive,
            true => Header::Open,
        };
        self.write_answer(&answer, head_only, header)?;
        Ok(header != Header::Close)
    }

    fn write_answer(
        &mut self,
        answer: &Answer,
        head_only: bool,
        header: Header,
    ) -> Result<(), Stop> {
        let mut output = std::mem::take(&mut self.output);
        self.edge.with_date(|date| response::write(&mut output, answer, head_only, header, date));
        let written = self.write(&output);
        if output.capacity() <= KEPT_OUTPUT {
            output.clear();
            self.output = output;
        }
        written
    }

    fn write(&mut self, bytes: &[u8]) -> Result<(), Stop> {
        self.awaited = None;
        self.socket.set_deadline(self.edge.limits.send);
        self.socket.write_all(bytes).map_err(|error| match error.kind() {
            io::ErrorKind::TimedOut => Stop::Deaf,
            _ => Stop::Gone,
        })
    }

    fn stop(mut self, mut why: Result<(), Stop>) {
        if let Err(Stop::Refused(refusal)) = why {
            self.edge.refused.event(LOG, "refused", &[("cause", &refusal.1)]);
            why = self.write_answer(&refusal.into(), false, Header::Close);
        }
        match why {
            Ok(()) | Err(Stop::Idle) => self.close(),
            Err(Stop::Deaf) => self.socket.reset(),
            Err(Stop::Refused(_) | Stop::Gone) => {}
        }
    }

    /// Closes so that the client can read what was written last: a socket closed with
    /// input unread is reset, and a reset takes away what the client has not read yet
    /// (RFC 9112, section 9.6).
    fn close(&mut self) {
        if self.socket.finish().is_err() {
            return;
        }
        self.socket.set_deadline(LINGER);
        let mut scratch = [0; 2048];
        let mut left = LINGER_BYTES;
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

    use chassis::Shutdown;
    use may::go;

    use super::*;
    use crate::deadline::Deadlines;
    use crate::settings::Settings;

    /// A client with no room for another byte, which then waits for `100 Continue`: it has as
    /// much time for those as for an answer.
    #[test]
    fn a_client_that_cannot_be_told_to_continue_is_dropped() {
        chassis::runtime::init().unwrap();
        let nowhere = "http://127.0.0.1:1".parse().unwrap();
        let (long, short) = (Duration::from_hours(1), Duration::from_millis(50));
        let settings = Settings {
            host: "greeter-1".to_owned(),
            greeting: ureq::http::Uri::clone(&nowhere),
            name: nowhere,
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
            let edge = Arc::new(Edge::new(&settings, &deadlines, Shutdown::on_call()));
            serve(Socket::new(stream, &deadlines).unwrap(), &edge);
        });
        serves.join().unwrap();
    }
}
