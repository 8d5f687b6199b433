//! One connection of a leaf: request for request, as the library hands them over.

use std::io;
use std::os::fd::RawFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::time::Duration;

use may::coroutine;
use may_minihttp::{HttpService, Request, Response};

use crate::answer::Answer;
use crate::request::Framing;
use crate::turns::Moment;
use crate::{Shared, socket};
use chassis::runtime;

/// Requests that are answered without waiting, before others get their turn.
const BUSY: usize = 64;

/// Requests that a client may send in one go: the answer to the last ends the connection.
/// The library keeps the answers to all of them in memory, 50 kB.
const MAX_ROW: usize = 256;

/// Answers that are given before it is looked at whether the client reads them.
const UNREAD: usize = 128;

/// A client that does not read is dropped after 10 s, looked at so often.
const READ_WAIT: Duration = Duration::from_millis(20);
const READ_WAITS: u32 = 500;

/// What the library asks, once a request.
///
/// It asks for all the requests that it has read, and only then writes all the answers. So
/// the answer that ends a connection cannot be its last word, if more has come behind it:
/// the library would answer that as well, or close on finding it no request, with every
/// answer unwritten. What is then still unwritten is therefore remembered, and written here,
/// up to the answer that ends the connection; then writing is shut down.
pub(super) struct Connection {
    shared: Arc<Shared>,
    /// The library closes it after this value is dropped.
    fd: RawFd,
    /// See [`Watch::add`](super::watch::Watch::add). `None`: refused.
    progress: Option<Arc<AtomicU32>>,
    /// The answers that the library has yet to write.
    row: Vec<Answer>,
    /// Where in the library's buffer the last request was.
    place: usize,
    /// When it was answered.
    moment: Moment,
    /// Requests since the connection, or the worker in its stead, has waited.
    busy: usize,
    /// Answers since the kernel had room for more.
    unread: usize,
    /// The answer that ends the connection has been given, or the connection refused.
    ended: bool,
}

impl Connection {
    pub(super) fn new(shared: Arc<Shared>, fd: RawFd) -> Self {
        let bounded = shared.handles.bound(fd).is_ok();
        let progress = if bounded { shared.watch.add(fd, &shared.handles) } else { None };
        if progress.is_none() {
            shared.handles.drop_client(fd);
        }
        let ended = progress.is_none();
        let (row, place, moment) = (Vec::new(), 0, Moment::default());
        Self { shared, fd, progress, row, place, moment, busy: 0, unread: 0, ended }
    }

    /// Forgets the answers that the library has written since the last request: before it
    /// does it has either waited for more, or filled its buffer, in which the next request is
    /// then in front of the last.
    fn forget_what_is_written(&mut self, request: &Request) {
        let place = request.path().as_ptr().addr();
        if self.shared.turns.has_waited(self.moment) {
            self.busy = 0;
            self.row.clear();
        } else if place < self.place {
            self.row.clear();
        }
        self.place = place;
    }

    fn take(&mut self, request: Request, response: &mut Response) {
        self.forget_what_is_written(&request);
        let (mut answer, last, body_follows) = match Framing::of(&request) {
            Ok(framing) => {
                let answer = self.answer(&request);
                let last = framing.last || self.shared.shutdown.begun();
                (answer, last, framing.body_follows)
            }
            Err(refusal) => (refusal, true, false),
        };
        answer.last = last || self.row.len() + 1 >= MAX_ROW;
        self.row.push(answer);
        if answer.last {
            return self.end(answer, response, body_follows.then_some(request));
        }
        answer.give(response, &self.shared.host);
        self.busy += 1;
        if self.busy >= BUSY {
            self.busy = 0;
            runtime::give_way();
        }
        self.unread += 1;
        if self.unread >= UNREAD {
            self.unread = 0;
            self.wait_for_room();
        }
    }

    fn answer(&self, request: &Request) -> Answer {
        let head = request.method() == "HEAD";
        let health = request.path().split('?').next() == Some("/health");
        let answer = if !head && request.method() != "GET" {
            Answer::new(405, "Method Not Allowed", "method not allowed: GET or HEAD")
        } else if health && self.shared.shutdown.begun() {
            Answer::new(503, "Service Unavailable", "draining")
        } else if health {
            self.shared.faults.health().unwrap_or(Answer::ok("ok"))
        } else {
            self.word()
        };
        if head { answer.without_body() } else { answer }
    }

    /// A word, or what a fault makes of it.
    fn word(&self) -> Answer {
        let Shared { faults, requests, delayed, shutdown, pick, .. } = &*self.shared;
        requests.fetch_add(1, Relaxed);
        // Once the drain has begun nothing is held back: it would keep the drain from ending.
        if let Some(delay) = faults.delay().filter(|_| !shutdown.begun()) {
            delayed.fetch_add(1, Relaxed);
            sleep(delay);
            delayed.fetch_sub(1, Relaxed);
        }
        faults.answer().unwrap_or_else(|| Answer::word(pick()))
    }

    /// Writes what is unwritten, up to the last answer, and reads the body that follows the
    /// last request away: left unread, the answer could be lost to a reset.
    fn end(&mut self, last: Answer, response: &mut Response, with_body: Option<Request>) {
        self.ended = true;
        // With more to read than its buffer holds, the library may have written some of the
        // row, who knows. So it writes this one too, and something for what follows it; then
        // it finds the end of input.
        let by_library = self.row.len() > 1 && self.shared.handles.has_more(self.fd);
        if by_library {
            last.give(response, &self.shared.host);
        } else {
            let mut bytes = String::new();
            for answer in self.row.drain(..) {
                answer.write(&mut bytes, &self.shared.host);
            }
            self.shared.handles.finish(self.fd, bytes.as_bytes());
        }
        if let Some(request) = with_body {
            // Dropping the reader reads it; Framing has made sure that body() does not panic.
            drop(request.body());
        }
        if by_library {
            socket::end_input(self.fd);
        }
    }

    /// Waits for the client to take answers. The library would go on reading requests while
    /// nobody does, and keep all the answers.
    fn wait_for_room(&self) {
        let mut waits = 0;
        while !self.shared.handles.has_room(self.fd).unwrap_or(false) {
            if waits == READ_WAITS {
                return self.shared.handles.drop_client(self.fd);
            }
            waits += 1;
            sleep(READ_WAIT);
        }
    }

    fn progress(&self) {
        if let Some(progress) = &self.progress {
            progress.store(progress.load(Relaxed).wrapping_add(1), Relaxed);
        }
    }
}

/// Holds this connection's coroutine up, and no other.
fn sleep(time: Duration) {
    coroutine::sleep(time);
    // Back from the timers' thread to the worker's. To give way would not do: this one could be
    // let go on before it has left its thread.
    coroutine::yield_now();
}

impl HttpService for Connection {
    fn call(&mut self, request: Request, response: &mut Response) -> io::Result<()> {
        // What follows a request that ended the connection may be its body. There is no
        // answer to it, and whatever the library makes of that does not get out.
        if !self.ended {
            self.progress();
            self.take(request, response);
            self.progress();
            self.moment = self.shared.turns.mark();
        }
        Ok(())
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        if self.progress.is_some() {
            self.shared.watch.remove(self.fd);
        }
    }
}
