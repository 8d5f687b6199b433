//! The limits in number, time and memory that the library does not have.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::time::{Duration, Instant};

use chassis::memory::{HighWaterMark, Resident};
use nix::sys::resource::{Resource, getrlimit};
use parking_lot::Mutex;

use crate::socket::Socket;

/// Connections at a time: one greeter has 1,024 calls at most, a sidecar needs a handful.
const MAX_CONNECTIONS: usize = 1024;

/// Files for others: a dozen of the process's own, the health checks', and two of each listener's
/// that are refused.
const OTHER_FILES: usize = 40;

/// Connections over that for health checks: a leaf that is full is well, and ECS ends a task
/// whose own check fails.
const CHECKS: usize = 4;

/// How often the time limits are looked at, while a request is waited for or in work, and else.
const LOOK: Duration = Duration::from_secs(1);
const IDLE_LOOK: Duration = Duration::from_secs(5);

/// How long a connection's first request may take, a body, and an answer.
pub(crate) const REQUEST_LIMIT: Duration = Duration::from_secs(10);

/// How long a connection may be without a request: Service Connect's proxy keeps an idle one for
/// five minutes, and should be the one to close it.
const IDLE_LIMIT: Duration = Duration::from_mins(6);

/// KiB over those of the start, and for each connection besides, past which some are dropped while
/// it grows. What a handler keeps from the start is no client's, nor is what an emulator takes.
const MEMORY: usize = 16 * 1024;
const MEMORY_EACH: usize = 80;

/// All open connections of a leaf.
pub(crate) struct Watch {
    open: Mutex<Vec<Watched>>,
    most: usize,
    peak: HighWaterMark,
}

/// A connection, from its begin until just before the library closes its file.
struct Watched {
    socket: Socket,
    /// Requests begun and answered: odd while one is in work, or the last one is answered.
    progress: Arc<AtomicU32>,
    /// The progress when it was last looked at, and since when it is so.
    seen: u32,
    since: Instant,
    /// It has been too slow, and its input is ended.
    ended: bool,
}

impl Watch {
    pub(crate) fn new() -> Self {
        let files = getrlimit(Resource::RLIMIT_NOFILE)
            .map_or(0, |(soft, _)| usize::try_from(soft).unwrap_or(usize::MAX));
        // With files for the own ones alone, one at a time is still better than none.
        let most = files.saturating_sub(OTHER_FILES).clamp(1, MAX_CONNECTIONS);
        Self { open: Mutex::default(), most, peak: HighWaterMark::new(2) }
    }

    /// Looks at the connections and the memory. Returns when to look at the time again.
    pub(crate) fn look(&self, memory: &mut Memory) -> Duration {
        // The lock is not held while /proc is read: whoever connects needs it.
        let connections = self.open.lock().len();
        let over = memory.look(connections);
        let mut open = self.open.lock();
        open.iter_mut().fold(IDLE_LOOK, |next, connection| next.min(connection.look(over)))
    }

    /// Watches a connection, unless there are too many. The result is to be counted up when a
    /// request begins and when it is answered.
    pub(crate) fn add(&self, socket: Socket) -> Option<Arc<AtomicU32>> {
        let mut open = self.open.lock();
        if open.len() >= self.most && !(open.len() < self.most + CHECKS && socket.is_check()) {
            return None;
        }
        let (progress, since) = (Arc::<AtomicU32>::default(), Instant::now());
        open.push(Watched { socket, progress: progress.clone(), seen: 0, since, ended: false });
        self.peak.raise_to(open.len());
        Some(progress)
    }

    /// Its file is about to be closed. A connection took 68 KiB, which the allocator would keep.
    pub(crate) fn remove(&self, progress: &Arc<AtomicU32>) {
        let mut open = self.open.lock();
        open.retain(|watched| !Arc::ptr_eq(&watched.progress, progress));
        let left = open.len();
        drop(open);
        self.peak.lower_to(left);
    }
}

impl Watched {
    /// `over`: the looks in a row that have found too much memory, and more each time. Returns when to
    /// look again.
    fn look(&mut self, over: u32) -> Duration {
        let progress = self.progress.load(Relaxed);
        let moved = progress != self.seen;
        if moved {
            (self.seen, self.since) = (progress, Instant::now());
        }
        let in_work = progress % 2 == 1;
        let is_idle = !in_work && progress != 0;
        let (limit, next) = if is_idle { (IDLE_LIMIT, IDLE_LOOK) } else { (REQUEST_LIMIT, LOOK) };
        // First those that send and send and do not get to the end of a request.
        let is_suspect = over > 0 && !moved && (over > 4 || self.socket.has_more());
        let is_late = self.since.elapsed() >= limit;
        if is_suspect || is_late && self.ended && in_work {
            self.socket.drop_client();
        } else if is_late {
            self.ended = true;
            self.socket.end_input();
        }
        next
    }
}

/// The memory of the process, from the start on.
pub(crate) struct Memory {
    resident: Resident,
    most: usize,
    now: usize,
    /// The looks in a row that have found too much.
    over: u32,
}

impl Memory {
    pub(crate) fn new() -> Self {
        let resident = Resident::open();
        let now = resident.kib();
        Self { resident, most: now + MEMORY, now, over: 0 }
    }

    /// How many looks in a row have found too much, with so many connections, and more each time:
    /// what is freed stays with the process for a while, and is no reason.
    fn look(&mut self, connections: usize) -> u32 {
        let before = std::mem::replace(&mut self.now, self.resident.kib());
        let grows = self.now > before && self.now > self.most + MEMORY_EACH * connections;
        self.over = if grows { self.over + 1 } else { 0 };
        self.over
    }
}
