//! Deadlines for waiting coroutines.
//!
//! A coroutine waits without a timeout of its own. One thread watches all deadlines: it wakes a
//! coroutine whose deadline has passed, and the coroutine checks the deadline to learn why it woke.
//! In an idle process this thread sleeps.
//!
//! A deadline never fires early. It fires late by [`SLACK`] at most, and only if others fired just
//! before it: 9,000 slow clients must not wake the thread 9,000 times.
//!
//! may has timers of its own, but they cut a wait to whole milliseconds, and 0 means no limit; a
//! coroutine continues on the timers' thread; and the timers for I/O wake an idle worker a
//! hundred times a second.

use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, OnceLock};
use std::thread::{self, Thread};
use std::time::{Duration, Instant};

use may::coroutine::{self, Coroutine};
use may::io::{CoIo, WaitIo, WaitIoWaker};
use parking_lot::Mutex;

/// Timer slack: deadlines that are closer together fire together. The shortest timeout, for trying an
/// upstream's next address, is twenty times as long. So the thread wakes at most 200 times a second,
/// however many deadlines there are.
const SLACK: Duration = Duration::from_millis(5);

/// All deadlines, and the thread that watches them. Clones share both.
#[derive(Clone, Debug)]
pub struct Deadlines(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    queue: Mutex<Queue>,
    ids: AtomicU64,
    thread: OnceLock<Thread>,
}

#[derive(Debug, Default)]
struct Queue {
    /// The timers, by the time at which the thread checks them. Each is here once at most, and never
    /// later than its deadline.
    timers: BTreeMap<Key, Arc<Timer>>,
    /// When the thread checks the timers next; `None` while it sleeps until it is woken. May be
    /// stale: one spurious wake-up is cheaper than waking for every new timer.
    next_wake: Option<Instant>,
}

/// The time and the timer's id, because two timers may have the same time.
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
    /// Locked before the queue, never after it.
    state: Mutex<TimerState>,
}

/// The coroutine that is woken.
enum Waiter {
    /// One that waits for a socket.
    Socket(WaitIoWaker),
    /// One that is parked.
    Coroutine(Coroutine),
}

#[derive(Debug, Default)]
struct TimerState {
    /// When the wait ends.
    at: Option<Instant>,
    /// Whether that time has passed.
    passed: bool,
    /// Its key in the queue, no later than `at`. Moving a deadline later, the common case, leaves the
    /// key unchanged.
    queued: Option<Instant>,
}

impl Deadlines {
    /// Starts the thread, which lives as long as the process.
    ///
    /// # Errors
    ///
    /// No thread can be started.
    pub fn start() -> io::Result<Self> {
        Self::start_as("deadlines")
    }

    fn start_as(name: &str) -> io::Result<Self> {
        let shared = Arc::new(Shared {
            queue: Mutex::default(),
            ids: AtomicU64::new(0),
            thread: OnceLock::new(),
        });
        let watching = shared.clone();
        let handle = thread::Builder::new().name(name.into()).spawn(move || watching.run())?;
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
        let mut state = self.timer.state.lock();
        (state.at, state.passed) = (Some(at), false);
        if state.queued.is_none_or(|queued| at < queued) {
            self.shared.enqueue(&self.timer, &mut state, at);
        }
    }

    /// Its unique id.
    pub(crate) fn id(&self) -> u64 {
        self.timer.id
    }

    /// Removes the deadline, whether it has passed or not.
    pub(crate) fn clear(&self) {
        let mut state = self.timer.state.lock();
        (state.at, state.passed) = (None, false);
    }

    /// Whether it has passed since it was set.
    pub(crate) fn has_passed(&self) -> bool {
        self.timer.state.lock().passed
    }
}

impl Drop for Deadline {
    fn drop(&mut self) {
        let mut state = self.timer.state.lock();
        state.at = None;
        if let Some(queued) = state.queued.take() {
            self.shared.queue.lock().timers.remove(&(queued, self.timer.id));
        }
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
    /// Queues the timer, and removes its later key. Wakes the thread if it would check the timer too
    /// late.
    fn enqueue(&self, timer: &Arc<Timer>, state: &mut TimerState, at: Instant) {
        let mut queue = self.queue.lock();
        if let Some(later) = state.queued.replace(at) {
            queue.timers.remove(&(later, timer.id));
        }
        queue.timers.insert((at, timer.id), timer.clone());
        if queue.next_wake.is_none_or(|next_wake| at < next_wake) {
            // The thread wakes now; timers queued meanwhile need not wake it again.
            queue.next_wake = Some(at);
            if let Some(thread) = self.thread.get() {
                thread.unpark();
            }
        }
    }

    fn run(&self) {
        // Timer slack: deadlines have just fired, so the next ones wait until then.
        let mut quiet_until = Instant::now();
        loop {
            let now = Instant::now();
            let mut queue = self.queue.lock();
            match queue.timers.first_key_value().map(|(&(at, _), _)| at) {
                Some(at) if at <= now => {
                    let first = queue.timers.pop_first();
                    drop(queue);
                    if let Some(((queued, _), timer)) = first {
                        self.check(&timer, queued, now);
                    }
                    quiet_until = now + SLACK;
                }
                Some(at) if at < quiet_until => {
                    // Too short to be woken from.
                    queue.next_wake = Some(now);
                    drop(queue);
                    thread::sleep(quiet_until - now);
                }
                next => {
                    // Keeps an earlier time that was set already.
                    let sooner = queue.next_wake.filter(|&at| at > now);
                    let next = next.into_iter().chain(sooner).min();
                    queue.next_wake = next;
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
    fn check(&self, timer: &Arc<Timer>, queued: Instant, now: Instant) {
        let mut state = timer.state.lock();
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
        crate::runtime::init();
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
                let queue = deadlines.0.queue.lock();
                let ids: HashSet<_> = queue.timers.keys().map(|(_, id)| id).collect();
                assert_eq!((queue.timers.len(), ids.len()), (100, 100));
            }
            drop(all);
            assert!(deadlines.0.queue.lock().timers.is_empty());
        });
    }

    /// The thread still sleeps until a deadline that has gone: one before it, or after it, passes.
    #[test]
    fn one_that_goes_holds_up_no_other() {
        with(|deadlines| {
            for gone in [20 * MS, LONG] {
                let (start, goes) = (Instant::now(), deadlines.watch_this());
                goes.set(start + gone);
                drop(goes);
                deadlines.sleep(50 * MS);
                assert!(start.elapsed() >= 50 * MS);
            }
        });
    }

    /// How often the thread of this name went to sleep.
    #[cfg(target_os = "linux")]
    fn sleeps(name: &str) -> u64 {
        use std::fs::{read_dir, read_to_string};

        let is_its = |status: &String| status.lines().next() == Some(&format!("Name:\t{name}"));
        // A thread has its name a moment after its start.
        let status = loop {
            let tasks = read_dir("/proc/self/task").unwrap().map(|task| task.unwrap().path());
            // Other tests' threads come and go.
            let mut statuses = tasks.filter_map(|task| read_to_string(task.join("status")).ok());
            match statuses.find(is_its) {
                Some(status) => break status,
                None => thread::yield_now(),
            }
        };
        let count = status.lines().find_map(|l| l.strip_prefix("voluntary_ctxt_switches:"));
        count.unwrap().trim().parse().unwrap()
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn many_deadlines_pass_together() {
        const NAME: &str = "together";
        crate::runtime::init();
        let passes = go!(|| {
            let deadlines = Deadlines::start_as(NAME).unwrap();
            let all: Vec<_> = (0..2000).map(|_| deadlines.watch_this()).collect();
            let first = Instant::now() + 100 * MS;
            for (number, deadline) in (0..).zip(&all) {
                deadline.set(first + number * MS / 10);
            }
            let (before, mut passed) = (sleeps(NAME), 0);
            while passed < all.len() {
                coroutine::park();
                // One that has passed has passed in time, and none after it was before it.
                while passed < all.len() && all[passed].has_passed() {
                    passed += 1;
                }
                let due = Instant::now().saturating_duration_since(first);
                assert!((passed as u128) < 2 + due.as_micros() / 100, "{passed} after {due:?}");
            }
            sleeps(NAME) - before
        });
        // 40 looks in 200 ms, and a few where both wait for the same lock.
        let sleeps = passes.join().unwrap();
        assert!(sleeps < 400, "{sleeps} looks at 2,000 deadlines");
    }

    /// Connections that come and go, each with a deadline that never passes.
    #[cfg(target_os = "linux")]
    #[test]
    fn those_that_come_and_go_wake_nobody() {
        const NAME: &str = "come and go";
        crate::runtime::init();
        let passes = go!(|| {
            let deadlines = Deadlines::start_as(NAME).unwrap();
            let come_and_go = || {
                let deadline = deadlines.watch_this();
                deadline.set(Instant::now() + LONG);
                deadline.set(Instant::now() + LONG / 2);
            };
            come_and_go();
            let before = sleeps(NAME);
            for _ in 0..1000 {
                come_and_go();
                // The thread has time to go to sleep again.
                thread::sleep(MS / 10);
            }
            sleeps(NAME) - before
        });
        let sleeps = passes.join().unwrap();
        assert!(sleeps < 100, "{sleeps} wake-ups for 1,000 deadlines");
    }
}
