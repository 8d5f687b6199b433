//! The connections of a leaf, request for request, and what they share.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::time::Instant;
use std::{io, ptr};

use chassis::shutdown::{Shutdown, Traffic};
use may::coroutine;
use may_minihttp::{HttpService, Response};
use net::runtime;

use crate::answer::Answer;
use crate::fault::Faults;
use crate::request::{Framing, Request, Whole};
use crate::socket::Socket;
use crate::watch::{REQUEST_LIMIT, Watch};

/// Bytes of answers after which a connection yields, and checks whether its client has taken any
/// since the last check. If not, the answer is the last. So a client gets at most twice that and two
/// answers at once: 256 KiB, for which the kernel has room.
const BUDGET: usize = 64 * 1024;
const HEAD: usize = 256; // of an answer, at most

/// Requests behind the last one that are read before the client is dropped.
const BEHIND: u32 = 1024;

/// What the library calls for each request.
///
/// It calls for all requests that it has read, and then writes all answers. So the last answer ends
/// the input only: the library writes what it has, finds the end, and closes. It also calls for what
/// it has read behind the last request, and writes an empty 200.
pub(crate) struct Connection {
    shared: Arc<Shared>,
    socket: Socket,
    /// See [`Watch::add`](crate::watch::Watch::add). `None`: refused.
    pub(crate) progress: Option<Arc<AtomicU32>>,
    /// Bytes of answers since the last check, and how many the client had ever taken then.
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
            Ok(framing) if framing.expects || framing.refuse().is_some() => {
                let answer = framing.refuse();
                let answer = answer.unwrap_or_else(|| self.answer(&Request::new(&request, None)));
                // Discards what has come of the body, which the library would take for a request.
                self.socket.end_input();
                drop(request.body());
                (answer, true)
            }
            Ok(framing) => (self.answer_with_body(request, &framing), true),
        };
        // is_spent first: it counts every answer.
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

    /// Whether the client has been given as much as it may be in one go.
    fn is_spent(&mut self, answer: &Answer) -> bool {
        self.given += HEAD + answer.body.len();
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
        // It may be the body of the last one. A client must not read what follows `Connection: close`
        // (RFC 9112, section 9.6).
        self.behind += 1;
        if self.behind > BEHIND {
            self.socket.drop_client();
        }
        Ok(())
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.progress.iter().for_each(|progress| self.shared.watch.remove(progress));
    }
}

/// What all connections share.
pub(crate) struct Shared {
    pub(crate) handler: Box<dyn Fn(&Request) -> Answer + Send + Sync>,
    /// ` (host)`: what follows a line.
    pub(crate) host: Box<str>,
    pub(crate) faults: Faults,
    /// Requests received, except health checks, which would keep a drain from ending.
    pub(crate) requests: AtomicU64,
    /// Those of them not answered yet.
    pub(crate) in_flight: AtomicUsize,
    pub(crate) shutdown: Shutdown,
    pub(crate) watch: Watch,
}

impl Shared {
    /// The handler's answer, or a fault's.
    fn ask(&self, request: &Request) -> Answer {
        self.requests.fetch_add(1, Relaxed);
        self.in_flight.fetch_add(1, Relaxed);
        let worker = thread();
        let answer = (self.handler)(request);
        // A fault replaces no refusal. And once a drain has begun nothing is delayed: it would take
        // longer.
        let is_fine = answer.status < 400;
        let is_held = is_fine && !self.shutdown.begun();
        self.faults.delay().filter(|_| is_held).into_iter().for_each(coroutine::sleep);
        let spoilt = self.faults.answer().filter(|_| is_fine);
        if thread() != worker {
            // A wait ends on the thread of may's timers: back to the worker's.
            coroutine::yield_now();
        }
        self.in_flight.fetch_sub(1, Relaxed);
        spoilt.unwrap_or(answer)
    }

    pub(crate) fn traffic(&self) -> Traffic {
        Traffic { requests: self.requests.load(Relaxed), in_flight: self.in_flight.load(Relaxed) }
    }
}

/// Tells this thread from others. Not inlined: to the compiler a function stays on its thread.
#[inline(never)]
fn thread() -> usize {
    thread_local!(static OWN: u8 = const { 0 });
    OWN.with(|own| ptr::from_ref(own).addr())
}
