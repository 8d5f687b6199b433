//! The coroutine runtime, set up for a quarter of a CPU: one worker runs all coroutines, so none may
//! block it.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicU8, Ordering::Relaxed};
use std::sync::{Once, OnceLock};

use generator::Gn;
use may::coroutine::{self, Coroutine};
use may::go;
use may::io::{CoIo, WaitIo};
use parking_lot::Mutex;

/// Bytes of a coroutine's stack, of which only touched pages take memory. The deepest, a
/// greeting that fails and is logged, was measured at 12 KiB (opt-level 1); an overflow
/// ends the process.
const STACK: usize = 128 * 1024;

/// The stack on which the scheduler is built, for a debug build too.
const SCHEDULER_STACK: usize = 1024 * 1024;

/// Stacks that are allocated at the start and reused; further ones are mapped and unmapped. A
/// coroutine here lives as long as a connection, so a few are enough. With 8 instead of 64, a leaf
/// starts 0.5 ms sooner and is 480 KiB smaller.
const POOLED_STACKS: usize = 4;

/// Operations that a coroutine may do without waiting: reads, writes, accepts. Yielding costs about
/// 2 us, and a request at least 2 us.
pub const COOP_BUDGET: u8 = 16;

/// Configures may, once a process, and starts it.
pub fn init() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        may::config()
            // More workers than CPUs only take turns, and one needs no locks between coroutines.
            .set_workers(1)
            .set_pool_capacity(POOLED_STACKS)
            .set_stack_size(STACK / size_of::<usize>())
            .set_worker_pin(false); // the quarter is not of one core
        // may builds its scheduler for the first coroutine, on the stack of whoever starts that: 100
        // KiB, with room for 128 workers (its epoll.rs, `Selector`). This stack is unmapped again.
        Gn::<()>::new_opt(SCHEDULER_STACK / size_of::<usize>(), || drop(go!(|| ()))).resume();
    });
}

/// Yields to every other coroutine, including those with pending socket events.
///
/// `coroutine::yield_now` does not: the worker runs queued coroutines before it polls for events, and
/// a coroutine that yields is queued at once. So this one waits for a byte from a socket pair.
pub fn yield_now() {
    match YIELDED.get().or_else(Yielded::start) {
        Some(yielded) => yielded.wait(),
        None => coroutine::yield_now(), // out of file descriptors
    }
}

/// A cooperative budget: how much one coroutine may do without waiting, before it yields.
#[derive(Debug, Default)]
pub struct CoopBudget {
    spent: AtomicU8,
}

impl CoopBudget {
    /// Counts an operation. At [`COOP_BUDGET`] the coroutine yields.
    pub fn spend(&self) {
        let spent = self.spent.load(Relaxed) + 1;
        if spent < COOP_BUDGET {
            self.spent.store(spent, Relaxed);
        } else {
            self.spent.store(0, Relaxed);
            yield_now();
        }
    }

    /// Resets the budget after the coroutine has waited.
    pub fn refill(&self) {
        self.spent.store(0, Relaxed);
    }
}

static YIELDED: OnceLock<Yielded> = OnceLock::new();

/// The coroutines that have yielded, until the worker has polled for events.
struct Yielded {
    waiting: Mutex<Vec<Coroutine>>,
    /// A byte written here is an event for the coroutine that wakes all of them.
    notifier: UnixStream,
}

impl Yielded {
    /// At the first yield, for which no service's start has to wait.
    fn start() -> Option<&'static Self> {
        let (notifier, events) = UnixStream::pair().ok()?;
        notifier.set_nonblocking(true).ok()?;
        let events = CoIo::new(events).ok()?;
        // If another thread was faster, this pair is closed again.
        if YIELDED.set(Self { waiting: Mutex::default(), notifier }).is_ok() {
            go!(move || {
                while let Some(yielded) = YIELDED.get() {
                    events.wait_io();
                    while matches!(events.inner().read(&mut [0; 8]), Ok(1..)) {}
                    yielded.wake_all();
                }
            });
        }
        YIELDED.get()
    }

    fn wait(&self) {
        let mut waiting = self.waiting.lock();
        // The first of them notifies for all.
        if waiting.is_empty() && (&self.notifier).write(&[1]).is_err() {
            return; // one byte at a time always fits
        }
        waiting.push(coroutine::current());
        drop(waiting);
        coroutine::park();
    }

    fn wake_all(&self) {
        let waiting = std::mem::take(&mut *self.waiting.lock());
        for coroutine in waiting {
            coroutine.unpark();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicBool, AtomicUsize};

    use super::*;

    /// Three coroutines that never wait: a fourth that waits for the kernel has its turn.
    #[test]
    fn a_coroutine_that_never_waits_yields() {
        init();
        let (near, far) = UnixStream::pair().unwrap();
        let (served, done) = (Arc::<AtomicBool>::default(), Arc::<AtomicUsize>::default());
        let busy: Vec<_> = (0..3)
            .map(|_| {
                let (served, all) = (served.clone(), done.clone());
                go!(move || {
                    let budget = CoopBudget::default();
                    while !served.load(Relaxed) {
                        all.fetch_add(1, Relaxed);
                        budget.spend();
                    }
                })
            })
            .collect();
        let waits = go!(move || {
            let far = CoIo::new(far).unwrap();
            while far.inner().read(&mut [0; 8]).is_err() {
                far.wait_io();
            }
            served.store(true, Relaxed);
        });
        // By now the others have kept the worker for a while.
        while done.load(Relaxed) < 1000 {
            std::thread::yield_now();
        }
        (&near).write_all(b"x").unwrap();
        waits.join().unwrap();
        for busy in busy {
            busy.join().unwrap();
        }
    }
}
