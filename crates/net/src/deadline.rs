//! Deadlines for coroutines that wait.
//!
//! A coroutine itself waits without a limit. One thread ends waits that take too long: it wakes a
//! coroutine whose deadline has passed, and the coroutine asks the deadline why it woke. In an
//! idle process this thread sleeps.
//!
//! may has timers of its own, but they cut a wait to whole milliseconds, and 0 means no limit; a
//! coroutine continues on the timers' thread; and the timers for I/O wake an idle worker a
//! hundred times a second.

use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::thread::{self, Thread};
use std::time::{Duration, Instant};

use may::coroutine::{self, Coroutine};
use may::io::{CoIo, WaitIo, WaitIoWaker};

/// All deadlines, and the thread that watches them. Clones share both.
#[derive(Clone, Debug)]
pub struct Deadlines(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    /// The timers, by the time at which the thread looks at them. Each stands here once at most,
    /// and never later than its deadline.
    queue: Mutex<BTreeMap<Key, Arc<Timer>>>,
    ids: AtomicU64,
    thread: OnceLock<Thread>,
}

/// The time, and the timer's number, because two timers may have the same time.
type Key = (Instant, u64);

/// The time at which a waiting coroutine wakes at the latest. Dropping it removes the deadline.
#[derive(Debug)]
pub(crate) struct Deadline {
    shared: Arc<Shared>,
    timer: Arc<Timer>,
}

#[derive(Debug)]
struct Timer {
    id: u64,
    waiter: Waiter,
    state: Mutex<Wait>,
}

/// What is woken.
enum Waiter {
    /// The coroutine that waits for the socket.
    Socket(WaitIoWaker),
    /// A parked coroutine.
    Coroutine(Coroutine),
}

#[derive(Debug, Default)]
struct Wait {
    /// When the wait ends.
    at: Option<Instant>,
    /// That time has passed.
    passed: bool,
    /// Its place in the queue, no later than `at`. A deadline that moves later, as most do, does
    /// not move this place.
    queued: Option<Instant>,
}

impl Deadlines {
    /// Starts the thread, which lives as long as the process.
    ///
    /// # Errors
    ///
    /// The system has no thread left.
    pub fn start() -> io::Result<Self> {
        let shared = Arc::new(Shared {
            queue: Mutex::default(),
            ids: AtomicU64::new(0),
            thread: OnceLock::new(),
        });
        let watching = shared.clone();
        let handle =
            thread::Builder::new().name("deadlines".into()).spawn(move || watching.run())?;
        // Set once, here: the cell is empty.
        let _ = shared.thread.set(handle.thread().clone());
        Ok(Self(shared))
    }

    /// A deadline for coroutines that wait for `io`. It is not set yet.
    pub(crate) fn watch<T: std::os::fd::AsRawFd>(&self, io: &CoIo<T>) -> Deadline {
        self.deadline(Waiter::Socket(io.waker()))
    }

    /// A deadline for this coroutine while it is parked. It is not set yet.
    pub(crate) fn watch_this(&self) -> Deadline {
        self.deadline(Waiter::Coroutine(coroutine::current()))
    }

    /// Parks this coroutine for `time`.
    pub fn sleep(&self, time: Duration) {
        let deadline = self.watch_this();
        deadline.set(Instant::now() + time);
        while !deadline.has_passed() {
            coroutine::park();
        }
    }

    fn deadline(&self, waiter: Waiter) -> Deadline {
        let id = self.0.ids.fetch_add(1, Relaxed);
        let timer = Arc::new(Timer { id, waiter, state: Mutex::default() });
        Deadline { shared: self.0.clone(), timer }
    }
}

impl Deadline {
    /// Wakes the coroutine at `at`, in place of any earlier deadline.
    pub(crate) fn set(&self, at: Instant) {
        let mut state = self.timer.state();
        (state.at, state.passed) = (Some(at), false);
        if state.queued.is_none_or(|queued| at < queued) {
            self.shared.enqueue(&self.timer, &mut state, at);
        }
    }

    /// Its number, which no other deadline has.
    pub(crate) fn id(&self) -> u64 {
        self.timer.id
    }

    /// Removes the deadline, whether it has passed or not.
    pub(crate) fn clear(&self) {
        let mut state = self.timer.state();
        (state.at, state.passed) = (None, false);
    }

    /// Whether it has passed since it was set.
    pub(crate) fn has_passed(&self) -> bool {
        self.timer.state().passed
    }
}

impl Drop for Deadline {
    fn drop(&mut self) {
        let mut state = self.timer.state();
        state.at = None;
        if let Some(queued) = state.queued.take() {
            self.shared.queue().remove(&(queued, self.timer.id));
        }
    }
}

impl Timer {
    fn state(&self) -> MutexGuard<'_, Wait> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Waiter {
    fn wake(&self) {
        match self {
            Self::Socket(waker) => waker.wakeup(),
            Self::Coroutine(coroutine) => coroutine.unpark(),
        }
    }
}

impl fmt::Debug for Waiter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Waiter")
    }
}

impl Shared {
    // A timer's state is locked before the queue, never after it.
    fn queue(&self) -> MutexGuard<'_, BTreeMap<Key, Arc<Timer>>> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Puts the timer into the queue, and removes it from a later place. If the timer is now the
    /// first, the thread has to look at it sooner.
    fn enqueue(&self, timer: &Arc<Timer>, state: &mut Wait, at: Instant) {
        let mut queue = self.queue();
        if let Some(later) = state.queued.replace(at) {
            queue.remove(&(later, timer.id));
        }
        let key = (at, timer.id);
        queue.insert(key, timer.clone());
        if queue.first_key_value().is_some_and(|(first, _)| *first == key)
            && let Some(thread) = self.thread.get()
        {
            thread.unpark();
        }
    }

    fn run(&self) {
        loop {
            let now = Instant::now();
            let mut queue = self.queue();
            match queue.first_key_value().map(|(&(at, _), _)| at) {
                Some(at) if at <= now => {
                    let first = queue.pop_first();
                    drop(queue);
                    if let Some(((queued, _), timer)) = first {
                        self.look_at(&timer, queued, now);
                    }
                }
                next => {
                    drop(queue);
                    match next {
                        Some(at) => thread::park_timeout(at - now),
                        None => thread::park(),
                    }
                }
            }
        }
    }

    /// Wakes the coroutine if its deadline has passed; otherwise queues the timer again.
    fn look_at(&self, timer: &Arc<Timer>, queued: Instant, now: Instant) {
        let mut state = timer.state();
        if state.queued != Some(queued) {
            return; // its coroutine has just moved or dropped it
        }
        state.queued = None;
        match state.at {
            Some(at) if at <= now => {
                (state.at, state.passed) = (None, true);
                drop(state);
                timer.waiter.wake();
            }
            Some(at) => self.enqueue(timer, &mut state, at),
            None => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use may::go;

    use super::*;

    const MS: Duration = Duration::from_millis(1);
    const LONG: Duration = Duration::from_hours(1);

    /// Runs in a coroutine, with deadlines.
    fn with<T: Send + 'static>(test: impl FnOnce(Deadlines) -> T + Send + 'static) -> T {
        chassis::runtime::init().unwrap();
        go!(move || test(Deadlines::start().unwrap())).join().unwrap()
    }

    fn parked_until(deadline: &Deadline) {
        while !deadline.has_passed() {
            coroutine::park();
        }
    }

    #[test]
    fn a_wait_ends_at_its_deadline_and_not_before() {
        with(|deadlines| {
            for wait in [Duration::ZERO, MS / 10, 100 * MS] {
                let start = Instant::now();
                deadlines.sleep(wait);
                assert!(start.elapsed() >= wait);
            }
        });
    }

    #[test]
    fn the_last_deadline_counts_whatever_came_before() {
        with(|deadlines| {
            let [moved, cleared, early] = [(); 3].map(|()| deadlines.watch_this());
            let start = Instant::now();
            moved.set(start + 50 * MS);
            moved.set(start + LONG);
            cleared.set(start + 50 * MS);
            cleared.clear();
            early.set(start + LONG);
            early.set(start + 100 * MS);
            parked_until(&early);
            assert!(start.elapsed() >= 100 * MS);
            assert!(!moved.has_passed() && !cleared.has_passed());
            early.set(start + LONG);
            assert!(!early.has_passed());
            early.set(start);
            parked_until(&early);
            early.clear();
            assert!(!early.has_passed());
        });
    }

    /// Each timer stands in the queue once at most, and a dropped timer not at all.
    #[test]
    fn the_queue_holds_no_more_than_there_is() {
        with(|deadlines| {
            let all: Vec<_> = (0..100).map(|_| deadlines.watch_this()).collect();
            let start = Instant::now();
            for round in 1..100 {
                for (number, deadline) in (0..).zip(&all) {
                    deadline.set(start + LONG + MS * (number * round % 97));
                }
            }
            {
                let queue = deadlines.0.queue();
                let ids: HashSet<_> = queue.keys().map(|(_, id)| id).collect();
                assert_eq!((queue.len(), ids.len()), (100, 100));
            }
            drop(all);
            assert!(deadlines.0.queue().is_empty());
        });
    }
}
