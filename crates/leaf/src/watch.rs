//! The limits in number, time and memory that the library does not have.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering::Relaxed};
use std::time::{Duration, Instant};

use chassis::memory;
use may::coroutine::{self, Coroutine};
use may::go;
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

/// How often the connections are looked at, while there are any: a head without an end brings
/// 30 MiB meanwhile. More often would be felt in what an idle leaf costs.
const LOOK: Duration = Duration::from_millis(250);
/// The same once `MEMORY` is taken: it may be about to grow fast.
const CLOSE_LOOK: Duration = Duration::from_millis(50);

/// How long a connection's first request may take, a body, and an answer.
pub(crate) const REQUEST_LIMIT: Duration = Duration::from_secs(10);

/// How long a connection may be without a request: Service Connect's proxy keeps an idle one for
/// five minutes, and should be the one to close it.
const IDLE_LIMIT: Duration = Duration::from_mins(6);

/// KiB over those of the start, and for each connection besides, past which some are dropped while
/// it grows. What a handler keeps from the start is no client's, nor is what an emulator takes.
const MEMORY: usize = 16 * 1024;
const MEMORY_EACH: usize = 80;

/// All open connections of a leaf, and the most since memory was given back.
pub(crate) struct Watch {
    open: Arc<Mutex<Vec<Watched>>>,
    most: usize,
    peak: AtomicUsize,
    watcher: Coroutine,
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
    pub(crate) fn start() -> Self {
        let files = getrlimit(Resource::RLIMIT_NOFILE)
            .map_or(0, |(soft, _)| usize::try_from(soft).unwrap_or(usize::MAX));
        // With files for the own ones alone, one at a time is still better than none.
        let most = files.saturating_sub(OTHER_FILES).clamp(1, MAX_CONNECTIONS);
        let open = Arc::<Mutex<Vec<Watched>>>::default();
        let all = open.clone();
        let statm = File::open("/proc/self/statm").ok();
        let most_memory = resident(statm.as_ref()) + MEMORY;
        let watcher = go!(move || {
            let (mut over, mut now) = (0, 0);
            loop {
                if all.lock().is_empty() {
                    coroutine::park();
                }
                // Behind this it runs on the thread of may's timers, whatever keeps the worker.
                coroutine::sleep(if now > most_memory { CLOSE_LOOK } else { LOOK });
                let before = std::mem::replace(&mut now, resident(statm.as_ref()));
                let mut open = all.lock();
                // What is freed stays with the process for a while, and is no reason.
                let grows = now > before && now > most_memory + MEMORY_EACH * open.len();
                over = if grows { over + 1 } else { 0 };
                open.iter_mut().for_each(|connection| connection.look(over));
            }
        });
        let watcher = watcher.coroutine().clone();
        Self { open, most, peak: AtomicUsize::new(0), watcher }
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
        self.peak.fetch_max(open.len(), Relaxed);
        if open.len() == 1 {
            self.watcher.unpark();
        }
        Some(progress)
    }

    /// Its file is about to be closed. When three of four connections have gone, what they took
    /// goes back to the system: 68 KiB each, which the allocator would keep.
    pub(crate) fn remove(&self, progress: &Arc<AtomicU32>) {
        let mut open = self.open.lock();
        open.retain(|watched| !Arc::ptr_eq(&watched.progress, progress));
        let (left, peak) = (open.len(), self.peak.load(Relaxed));
        drop(open);
        if peak > 1 && 4 * left <= peak {
            self.peak.store(left, Relaxed);
            memory::give_back();
        }
    }
}

impl Watched {
    /// `over`: the looks in a row that have found too much memory, and more each time.
    fn look(&mut self, over: u32) {
        let progress = self.progress.load(Relaxed);
        let moved = progress != self.seen;
        if moved {
            (self.seen, self.since) = (progress, Instant::now());
        }
        let in_work = progress % 2 == 1;
        let limit = if in_work || progress == 0 { REQUEST_LIMIT } else { IDLE_LIMIT };
        // First those that send and send and do not get to the end of a request.
        let is_suspect = over > 0 && !moved && (over > 4 || self.socket.has_more());
        let is_late = self.since.elapsed() >= limit;
        if is_suspect || is_late && self.ended && in_work {
            self.socket.drop_client();
        } else if is_late {
            self.ended = true;
            self.socket.end_input();
        }
    }
}

/// Resident KiB, 0 where there is no /proc: field 2 of statm, in pages of 4 KiB. It allocates
/// nothing: a thread that does has 24 KiB of its own.
fn resident(statm: Option<&File>) -> usize {
    let mut text = [0; 128];
    let count = statm.and_then(|file| file.read_at(&mut text, 0).ok()).unwrap_or(0);
    let text = std::str::from_utf8(&text[..count]).unwrap_or_default();
    let pages = text.split(' ').nth(1).and_then(|pages| pages.parse().ok());
    pages.map_or(0, |pages: usize| 4 * pages)
}
