//! One connection: requests in, answers out, in order.
//!
//! | wait | limit | then |
//! |---|---|---|
//! | for a request | 75 s, longer than the load balancer's 60 s | closed |
//! | for the rest of its head | 10 s from its first byte | 408, closed |
//! | for its body | 10 s | 408, closed |
//! | for the client to read its answer | 10 s | closed |
//!
//! The next request is not looked at before the last answer is written: a client that
//! pipelines and does not read is simply not read from.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use crate::LOG;
use crate::body::Decoder;
use crate::buffer::Buffer;
use crate::deadline::End;
use crate::edge::Edge;
use crate::request::{self, MAX_HEAD, Parser, Refusal, Request};
use crate::response::{self, Answer, Connection as Header, Status};
use crate::socket::Socket;

/// How long a connection waits for its client.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// For a request. The default, 75 s, is longer than the load balancer's 60 s: it must
    /// be the load balancer that closes, or it answers its clients 502.
    pub idle: Duration,
    /// For the rest of a head, and for a body: 10 s each.
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

/// The room for an answer that a connection keeps for the next one, in bytes: enough for
/// a greeting. The page must not cost memory for the rest of the connection.
const KEPT_OUTPUT: usize = 4096;

/// Why a connection ends before its client closed it.
enum Stop {
    /// With an answer that says why.
    Refused(Refusal),
    /// Without one: nobody is there to read it.
    Gone,
}

impl From<Refusal> for Stop {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}

impl From<io::Error> for Stop {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::TimedOut => Self::Refused(TOO_SLOW),
            _ => Self::Gone,
        }
    }
}

/// Serves a connection until one side ends it.
pub(crate) fn serve(socket: Socket, edge: &Arc<Edge>) {
    let mut connection = Connection::new(socket, edge);
    match connection.run() {
        Ok(()) => connection.close(),
        Err(Stop::Refused(refusal)) => connection.refuse(refusal),
        Err(Stop::Gone) => {}
    }
}

/// Answers 503 to a connection that is one too many.
pub(crate) fn turn_away(socket: Socket, edge: &Arc<Edge>) {
    Connection::new(socket, edge).refuse(TOO_MANY);
}

struct Connection<'a> {
    socket: Socket,
    input: Buffer,
    output: Vec<u8>,
    edge: &'a Arc<Edge>,
}

impl<'a> Connection<'a> {
    fn new(socket: Socket, edge: &'a Arc<Edge>) -> Self {
        Self { socket, input: Buffer::default(), output: Vec::new(), edge }
    }

    fn run(&mut self) -> Result<(), Stop> {
        while let Some(request) = self.read_head()? {
            let _in_flight = self.edge.receive(&request);
            self.skip_body(&request)?;
            self.socket.clear_deadline();

            let (head_only, is_1_0) = (request.method == request::Method::Head, request.is_1_0);
            let keep_alive = request.keep_alive;
            let answer = self.edge.answer(request);
            // Asked now: the drain may have begun while the answer was made.
            let header = match keep_alive && !self.edge.shutdown.begun() {
                false => Header::Close,
                true if is_1_0 => Header::KeepAlive,
                true => Header::Open,
            };
            if self.write(&answer, head_only, header).is_err() || header == Header::Close {
                break;
            }
        }
        Ok(())
    }

    /// The next request's head; `None` when the client has no more, or idles too long.
    fn read_head(&mut self) -> Result<Option<Request>, Stop> {
        if self.input.unused().is_empty() {
            self.socket.set_deadline(self.edge.limits.idle, End::Reading);
            match self.input.fill(&self.socket, MAX_HEAD) {
                Ok(0) => return Ok(None),
                Err(error) if error.kind() == io::ErrorKind::TimedOut => return Ok(None),
                result => result?,
            };
        }
        let mut parser = Parser::default();
        let mut waits = false;
        loop {
            if let Some((request, length)) = parser.parse(self.input.unused())? {
                self.input.consume(length);
                return Ok(Some(request));
            }
            if !std::mem::replace(&mut waits, true) {
                self.socket.set_deadline(self.edge.limits.receive, End::Reading);
            }
            if self.input.fill(&self.socket, MAX_HEAD)? == 0 {
                // A blank line behind the last body is an old client's habit, no request.
                if self.input.unused().trim_ascii().is_empty() {
                    return Ok(None);
                }
                return Err(Refusal::malformed("the request ends within its head").into());
            }
        }
    }

    /// Reads the body away. What follows it is the next request.
    fn skip_body(&mut self, request: &Request) -> Result<(), Stop> {
        let mut body = Decoder::new(request.body)?;
        if body.is_done() {
            return Ok(());
        }
        self.socket.set_deadline(self.edge.limits.receive, End::Reading);
        if request.expects_continue && self.input.unused().is_empty() {
            self.socket.write_all(response::CONTINUE)?;
        }
        loop {
            let used = body.advance(self.input.unused(), |_| {})?;
            self.input.consume(used);
            if body.is_done() {
                return Ok(());
            }
            if self.input.fill(&self.socket, MAX_HEAD)? == 0 {
                return Err(Refusal::malformed("the request ends within its body").into());
            }
        }
    }

    fn write(&mut self, answer: &Answer, head_only: bool, header: Header) -> io::Result<()> {
        self.output.clear();
        let output = &mut self.output;
        self.edge.with_date(|date| response::write(output, answer, head_only, header, date));
        self.socket.set_deadline(self.edge.limits.send, End::Both);
        let written = self.socket.write_all(&self.output);
        if self.output.capacity() > KEPT_OUTPUT {
            self.output = Vec::new();
        }
        written
    }

    fn refuse(&mut self, refusal: Refusal) {
        let answer = Answer::from(refusal);
        self.edge.refused.event(LOG, "refused", &[("cause", &refusal.1)]);
        if self.write(&answer, false, Header::Close).is_ok() {
            self.close();
        }
    }

    /// Closes so that the client can read what was written last: a socket closed with
    /// input unread is reset, and a reset takes away what the client has not read yet
    /// (RFC 9112, section 9.6).
    fn close(&mut self) {
        if self.socket.finish().is_err() {
            return;
        }
        self.socket.set_deadline(LINGER, End::Both);
        let mut scratch = [0; 2048];
        let mut left = LINGER_BYTES;
        while let Ok(count @ 1..) = self.socket.read(&mut scratch)
            && count <= left
        {
            left -= count;
        }
    }
}
