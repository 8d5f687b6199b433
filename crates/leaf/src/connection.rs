//! One connection of a leaf: request for request, as the library hands them over.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::time::Instant;

use may_minihttp::{HttpService, Response};
use net::runtime;

use crate::answer::Answer;
use crate::request::{self, Framing, Request, Whole};
use crate::shared::Shared;
use crate::socket::Socket;
use crate::watch::REQUEST_LIMIT;

/// Bytes of answers after which others have their turn, and it is looked at whether the client
/// has taken any since the last look. Where it has not, the answer is the last. So in one go a
/// client is given twice that at most, and two answers: 260 KiB, for which the kernel has room.
const BUDGET: usize = 64 * 1024;

/// Bytes that an answer's head has at most.
const HEAD: usize = 256;

/// Requests behind the last one that are read before the client is dropped.
const BEHIND: u32 = 1024;

/// What the library asks, once a request.
///
/// It asks for all the requests that it has read, and then writes all the answers. So an answer
/// that ends a connection ends its input only: the library writes what it has, finds the end, and
/// closes. What it has read behind the last request it asks for as well, and writes an empty 200.
pub(crate) struct Connection {
    shared: Arc<Shared>,
    socket: Socket,
    /// See [`Watch::add`](crate::watch::Watch::add). `None`: refused.
    pub(crate) progress: Option<Arc<AtomicU32>>,
    /// Bytes of answers since the last look, and what the client had taken of all at that.
    given: usize,
    taken: Option<u64>,
    /// The answer that ends the connection has been given, or the connection refused.
    ended: bool,
    /// Requests behind the last one.
    behind: u32,
}

impl Connection {
    pub(crate) fn new(shared: Arc<Shared>, id: usize) -> Self {
        let socket = Socket::of(id);
        let progress = socket.bound().ok().and_then(|()| shared.watch.add(socket));
        let ended = progress.is_none();
        if ended {
            socket.drop_client();
        }
        Self { shared, socket, progress, given: 0, taken: None, ended, behind: 0 }
    }

    fn take(&mut self, request: may_minihttp::Request, response: &mut Response) {
        let (answer, last) = match Framing::of(&request) {
            Err(refusal) => (refusal, true),
            Ok(framing) if framing.length == 0 => {
                (self.answer(&Request::new(&request, Some(b""))), framing.last)
            }
            Ok(framing) if framing.is_too_long() || framing.expects => {
                let answer = if framing.is_too_long() {
                    request::too_long()
                } else {
                    self.answer(&Request::new(&request, None))
                };
                // The reader takes what has come of it, and then finds the end: left where it is,
                // the library would take it for a request.
                self.socket.end_input();
                drop(request.body());
                (answer, true)
            }
            Ok(framing) => (self.answer_with_body(request, &framing), true),
        };
        // In this order: whatever is given counts.
        let last = self.is_spent(&answer) || last || self.shared.shutdown.begun();
        answer.give(response, &self.shared.host, last);
        if last {
            self.ended = true;
            self.socket.end_input();
        }
    }

    fn answer_with_body(&self, request: may_minihttp::Request, framing: &Framing) -> Answer {
        let start = Instant::now();
        match Whole::read(request, framing) {
            Some(whole) => whole.ask(|request| self.answer(request)),
            None if start.elapsed() < REQUEST_LIMIT => Answer::text::<400>("the body ends early"),
            None => Answer::text::<408>("the body takes too long"),
        }
    }

    fn answer(&self, request: &Request) -> Answer {
        let Shared { shutdown, faults, .. } = &*self.shared;
        let answer = if request.path() != "/health" {
            self.shared.ask(request)
        } else if !request.is_get() {
            Answer::get_only()
        } else if shutdown.begun() {
            Answer::text::<503>("draining")
        } else {
            faults.health().unwrap_or_else(|| Answer::text::<200>("ok"))
        };
        if request.method() == "HEAD" { answer.without_body() } else { answer }
    }

    /// Whether the client has been given what it may be in one go.
    fn is_spent(&mut self, answer: &Answer) -> bool {
        self.given += HEAD + answer.len();
        if self.given < BUDGET {
            return false;
        }
        self.given = 0;
        runtime::yield_now();
        let before = std::mem::replace(&mut self.taken, self.socket.taken());
        before.is_some() && before == self.taken
    }

    fn progress(&self) {
        if let Some(progress) = &self.progress {
            progress.store(progress.load(Relaxed).wrapping_add(1), Relaxed);
        }
    }
}

impl HttpService for Connection {
    fn call(&mut self, request: may_minihttp::Request, response: &mut Response) -> io::Result<()> {
        if !self.ended {
            self.progress();
            self.take(request, response);
            self.progress();
            return Ok(());
        }
        // It may be the body of the last one. The client must not read what is written behind
        // `Connection: close` (RFC 9112, section 9.6).
        self.behind += 1;
        if self.behind > BEHIND {
            self.socket.drop_client();
        }
        Ok(())
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        if self.progress.is_some() {
            self.shared.watch.remove(self.socket);
        }
    }
}
