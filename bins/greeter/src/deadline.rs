//! Deadlines for sockets.
//!
//! A coroutine waiting for a socket waits for as long as it takes. What ends the wait is
//! one thread: it shuts a socket down once its deadline has passed, the coroutine wakes
//! to the end of its input, and asks the deadline why. Nothing is allocated, queued or
//! locked per wait, and an idle process sleeps: may's own I/O timers take a lock and
//! often a system call each, and wake an idle worker a hundred times a second.

use std::collections::HashMap;
use std::net::{Shutdown, TcpStream};
use std::os::fd::{AsRawFd, RawFd};
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::thread::{self, Thread};
use std::time::{Duration, Instant};

/// What ends with the deadline.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// Reading. An answer can still be written.
    Reading,
    /// Reading and writing.
    Both,
}

/// All watched sockets. Clones share them.
#[derive(Clone, Debug)]
pub(crate) struct Deadlines(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    start: Instant,
    sockets: Mutex<HashMap<RawFd, Arc<Watched>>>,
    /// When the thread looks next, in milliseconds since `start`.
    next: AtomicU64,
    thread: OnceLock<Thread>,
}

/// A socket and the time at which it is shut down.
#[derive(Debug)]
pub(crate) struct Watched {
    stream: TcpStream,
    /// `NEVER`, `PASSED`, or twice the milliseconds since the start, plus one for `End::Both`.
    at: AtomicU64,
}

const NEVER: u64 = u64::MAX;
const PASSED: u64 = 0;

impl Deadlines {
    /// Starts the thread, which lives as long as the process.
    pub(crate) fn start() -> std::io::Result<Self> {
        let shared = Arc::new(Shared {
            start: Instant::now(),
            sockets: Mutex::default(),
            next: AtomicU64::new(NEVER),
            thread: OnceLock::new(),
        });
        let watching = shared.clone();
        let handle =
            thread::Builder::new().name("deadlines".into()).spawn(move || watching.run())?;
        // Set once, here: the cell is empty.
        let _ = shared.thread.set(handle.thread().clone());
        Ok(Self(shared))
    }

    /// Watches a socket until [`Self::forget`].
    pub(crate) fn watch(&self, stream: TcpStream) -> Arc<Watched> {
        let watched = Arc::new(Watched { stream, at: AtomicU64::new(NEVER) });
        self.0.sockets().insert(watched.as_raw_fd(), watched.clone());
        watched
    }

    /// Lets go of a socket, before it is closed.
    pub(crate) fn forget(&self, watched: &Watched) {
        self.0.sockets().remove(&watched.as_raw_fd());
    }

    /// Shuts the socket down after `wait`, in place of any earlier deadline.
    pub(crate) fn set(&self, watched: &Watched, wait: Duration, end: End) {
        let at = self.0.now() + u64::try_from(wait.as_millis()).unwrap_or(NEVER / 4).max(1);
        watched.at.store(at << 1 | u64::from(end == End::Both), SeqCst);
        // Deadlines mostly move later, so the thread mostly looks soon enough.
        if at < self.0.next.load(SeqCst) {
            self.0.next.fetch_min(at, SeqCst);
            if let Some(thread) = self.0.thread.get() {
                thread.unpark();
            }
        }
    }
}

impl Watched {
    pub(crate) fn stream(&self) -> &TcpStream {
        &self.stream
    }

    /// Takes the deadline away, passed or not.
    pub(crate) fn clear_deadline(&self) {
        self.at.store(NEVER, SeqCst);
    }

    /// Whether the deadline has passed, and with it the socket's reading or more.
    pub(crate) fn deadline_passed(&self) -> bool {
        self.at.load(SeqCst) == PASSED
    }

    /// Shuts the socket down if its deadline is over; else says when it will be.
    fn check(&self, now: u64) -> u64 {
        let at = self.at.load(SeqCst);
        if at == NEVER || at == PASSED {
            return NEVER;
        }
        if at >> 1 > now {
            return at >> 1;
        }
        // Unless its coroutine has just moved the deadline: then look again soon.
        if self.at.compare_exchange(at, PASSED, SeqCst, SeqCst).is_err() {
            return now + 1;
        }
        let how = if at & 1 == 1 { Shutdown::Both } else { Shutdown::Read };
        // Fails if the peer is gone already, which wakes the coroutine as well.
        let _ = self.stream.shutdown(how);
        NEVER
    }
}

impl AsRawFd for Watched {
    fn as_raw_fd(&self) -> RawFd {
        self.stream.as_raw_fd()
    }
}

impl Shared {
    fn now(&self) -> u64 {
        u64::try_from(self.start.elapsed().as_millis()).unwrap_or(NEVER / 4)
    }

    fn sockets(&self) -> std::sync::MutexGuard<'_, HashMap<RawFd, Arc<Watched>>> {
        self.sockets.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn run(&self) {
        loop {
            // From here on every set() unparks: a deadline this round misses gets another.
            self.next.store(NEVER, SeqCst);
            let now = self.now();
            let next = self.sockets().values().map(|w| w.check(now)).min().unwrap_or(NEVER);
            match self.next.fetch_min(next, SeqCst).min(next) {
                NEVER => thread::park(),
                next => {
                    thread::park_timeout(Duration::from_millis(next.saturating_sub(self.now())));
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::TcpListener;

    use super::*;

    const MS: Duration = Duration::from_millis(1);

    /// A watched socket and the peer it is connected to.
    fn pair(deadlines: &Deadlines) -> (Arc<Watched>, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let peer = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        (deadlines.watch(listener.accept().unwrap().0), peer)
    }

    #[test]
    fn a_wait_ends_at_its_deadline_and_not_before() {
        let deadlines = Deadlines::start().unwrap();
        let (socket, mut peer) = pair(&deadlines);
        let start = Instant::now();
        deadlines.set(&socket, 100 * MS, End::Reading);
        assert_eq!(socket.stream().read(&mut [0; 8]).unwrap(), 0);
        // The clock counts whole milliseconds.
        assert!(start.elapsed() >= 99 * MS);
        assert!(socket.deadline_passed());

        socket.stream().write_all(b"sorry").unwrap();
        let mut said = [0; 5];
        peer.read_exact(&mut said).unwrap();
        assert_eq!(&said, b"sorry");
    }

    #[test]
    fn both_ends_writing_too() {
        let deadlines = Deadlines::start().unwrap();
        let (socket, peer) = pair(&deadlines);
        deadlines.set(&socket, 50 * MS, End::Both);
        let block = vec![0; 65536];
        let endless = std::iter::repeat_with(|| socket.stream().write(&block));
        assert!(endless.take(10_000).any(|written| written.is_err()));
        assert!(socket.deadline_passed());
        drop(peer);
    }

    #[test]
    fn the_last_deadline_counts_whatever_came_before() {
        let deadlines = Deadlines::start().unwrap();
        let (early, _peer) = pair(&deadlines);
        let (moved, mut moved_peer) = pair(&deadlines);
        let (cleared, mut cleared_peer) = pair(&deadlines);
        deadlines.set(&moved, 50 * MS, End::Reading);
        deadlines.set(&moved, Duration::from_hours(1), End::Reading);
        deadlines.set(&cleared, 50 * MS, End::Reading);
        cleared.clear_deadline();
        deadlines.set(&early, Duration::from_hours(1), End::Reading);
        deadlines.set(&early, 100 * MS, End::Reading);
        assert_eq!(early.stream().read(&mut [0; 8]).unwrap(), 0);
        for (socket, peer) in [(&moved, &mut moved_peer), (&cleared, &mut cleared_peer)] {
            assert!(!socket.deadline_passed());
            peer.write_all(b"x").unwrap();
            assert_eq!(socket.stream().read(&mut [0; 8]).unwrap(), 1);
        }
    }

    #[test]
    fn a_forgotten_socket_is_closed() {
        let deadlines = Deadlines::start().unwrap();
        let (socket, mut peer) = pair(&deadlines);
        deadlines.forget(&socket);
        drop(socket);
        assert_eq!(peer.read(&mut [0; 8]).unwrap(), 0);
    }
}
