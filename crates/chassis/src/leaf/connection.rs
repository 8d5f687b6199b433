//! One connection of a leaf: request for request, as the library hands them over.

use std::io;
use std::os::fd::RawFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::time::Duration;

use may::coroutine;
use may_minihttp::{HttpService, Request, Response};

use super::answer::Answer;
use super::request::Framing;
use super::turns::Moment;
use super::{Shared, socket};
use crate::runtime;

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
    /// A body has been read since the connection has waited, and has moved the buffer.
    blurred: bool,
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
        Self { shared, fd, progress, row, place, moment, blurred: false, busy: 0, unread: 0, ended }
    }

    /// Forgets the answers that the library has written since the last request: before it
    /// does it has either waited for more, or filled its buffer, in which the next request is
    /// then in front of the last.
    fn forget_what_is_written(&mut self, request: &Request) {
        let place = request.path().as_ptr().addr();
        if self.shared.turns.has_waited(self.moment) {
            (self.busy, self.blurred) = (0, false);
            self.row.clear();
        } else if place < self.place {
            self.row.clear();
        }
        self.place = place;
    }

    fn take(&mut self, request: Request, response: &mut Response) {
        self.forget_what_is_written(&request);
        let framing = Framing::of(&request);
        let mut answer = match &framing {
            Ok(_) => self.answer(&request),
            Err(refusal) => *refusal,
        };
        answer.last = match &framing {
            Ok(framing) => framing.close || framing.withheld || self.shared.shutdown.begun(),
            Err(_) => true,
        } || self.row.len() + 1 >= MAX_ROW;
        self.row.push(answer);
        if answer.last {
            self.end(answer, response);
        } else {
            answer.give(response, &self.shared.host);
        }
        if framing.is_ok_and(|framing| framing.body && !framing.withheld) {
            // Left unread, the library would take the body for the next request. Dropping
            // the reader reads it away; Framing has made sure that body() does not panic.
            drop(request.body());
            (self.place, self.blurred) = (0, true);
        }
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
            Answer::ok("ok")
        } else {
            self.shared.requests.fetch_add(1, Relaxed);
            Answer::word((self.shared.pick)())
        };
        if head { answer.without_body() } else { answer }
    }

    /// Writes what is unwritten, up to the last answer.
    fn end(&mut self, last: Answer, response: &mut Response) {
        self.ended = true;
        if self.blurred && self.row.len() > 1 {
            // Some of it may be written, who knows. So the library writes this one too, and
            // something for what follows it; then it finds the end of input.
            last.give(response, &self.shared.host);
            return socket::end_input(self.fd);
        }
        let mut bytes = String::new();
        for answer in self.row.drain(..) {
            answer.write(&mut bytes, &self.shared.host);
        }
        self.shared.handles.finish(self.fd, bytes.as_bytes());
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
            coroutine::sleep(READ_WAIT);
            runtime::give_way(); // back from the timers' thread to the worker's
        }
    }

    fn progress(&self) {
        if let Some(progress) = &self.progress {
            progress.store(progress.load(Relaxed).wrapping_add(1), Relaxed);
        }
    }
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
