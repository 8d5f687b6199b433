//! The coroutine runtime, set up for a quarter of a CPU: one worker serves everybody, so
//! nobody may keep it.

use std::io::{self, Read, Write};
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicU8, Ordering::Relaxed};
use std::sync::{Mutex, Once, OnceLock, PoisonError};
use std::thread;

use may::coroutine::{self, Coroutine};
use may::go;
use may::io::{CoIo, WaitIo};

/// Bytes of a coroutine's stack, of which only touched pages take memory. The deepest, a
/// greeting that fails and is logged, was measured at 12 KiB (opt-level 1); an overflow
/// ends the process.
const STACK: usize = 128 * 1024;

/// Stacks made at the start and kept for the next coroutine; past them each is mapped and
/// unmapped again. A coroutine here lives as long as a connection, so few serve. What many
/// cost: a leaf with 8 instead of 64 answers 0.5 ms sooner and is 480 KiB smaller.
const POOLED_STACKS: usize = 4;

/// What a coroutine may do in a row without waiting: reads, writes, accepted connections. To
/// give way costs about 2 us, a request 2 us at the least.
pub const LONGEST_STREAK: u8 = 16;

/// Configures may, once a process, and starts it.
///
/// # Errors
///
/// No files are left.
pub fn init() -> io::Result<()> {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        may::config()
            // More workers than CPUs only take turns, and one needs no locks between coroutines.
            .set_workers(1)
            .set_pool_capacity(POOLED_STACKS)
            .set_stack_size(STACK / size_of::<usize>())
            .set_worker_pin(false); // the quarter is not of one core
    });
    if GATE.get().is_none() {
        Gate::start()?;
    }
    Ok(())
}

/// The same, and what a service begins with, on a thread of its own that ends with it.
///
/// may builds its scheduler on the stack, 100 KiB, with room for 128 workers (its epoll.rs,
/// `Selector`). The main thread's would stay in memory, this one goes.
///
/// # Errors
///
/// Those of [`init`] and of `begin`.
pub fn start<T: Send>(begin: impl FnOnce() -> io::Result<T> + Send) -> io::Result<T> {
    thread::scope(|scope| {
        let starts = thread::Builder::new().spawn_scoped(scope, || {
            init()?;
            begin()
        })?;
        starts.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}

/// Lets every other coroutine have the worker, those too that the kernel has news for.
///
/// `coroutine::yield_now` does not: the worker runs what is queued before it asks the kernel,
/// and whoever yields is queued. So this coroutine waits for a byte through the kernel.
pub fn give_way() {
    match GATE.get() {
        Some(gate) => gate.wait(),
        None => coroutine::yield_now(),
    }
}

/// Counts what one coroutine does without waiting, and gives way at [`LONGEST_STREAK`].
#[derive(Debug, Default)]
pub struct Streak(AtomicU8);

impl Streak {
    /// One more thing was done.
    pub fn count(&self) {
        let count = self.0.load(Relaxed) + 1;
        if count < LONGEST_STREAK {
            self.0.store(count, Relaxed);
        } else {
            self.0.store(0, Relaxed);
            give_way();
        }
    }

    /// The coroutine has waited: the others have had their turn.
    pub fn waited(&self) {
        self.0.store(0, Relaxed);
    }
}

static GATE: OnceLock<Gate> = OnceLock::new();

/// Where coroutines wait while the worker sees to the others.
struct Gate {
    waiting: Mutex<Vec<Coroutine>>,
    bell: UnixStream,
}

impl Gate {
    fn start() -> io::Result<()> {
        let (bell, heard) = UnixStream::pair()?;
        bell.set_nonblocking(true)?;
        let heard = CoIo::new(heard)?;
        // Somebody else may have been faster: then this pair is closed again.
        if GATE.set(Self { waiting: Mutex::default(), bell }).is_ok() {
            go!(move || {
                while let Some(gate) = GATE.get() {
                    heard.wait_io();
                    while matches!(heard.inner().read(&mut [0; 8]), Ok(1..)) {}
                    gate.open();
                }
            });
        }
        Ok(())
    }

    fn wait(&self) {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        // The first of them rings for all.
        if waiting.is_empty() && (&self.bell).write(&[1]).is_err() {
            return; // one byte at a time always fits
        }
        waiting.push(coroutine::current());
        drop(waiting);
        coroutine::park();
    }

    fn open(&self) {
        let waiting =
            std::mem::take(&mut *self.waiting.lock().unwrap_or_else(PoisonError::into_inner));
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
    fn whoever_never_waits_gives_way() {
        init().unwrap();
        let (near, far) = UnixStream::pair().unwrap();
        let (served, done) = (Arc::<AtomicBool>::default(), Arc::<AtomicUsize>::default());
        let busy: Vec<_> = (0..3)
            .map(|_| {
                let (served, all) = (served.clone(), done.clone());
                go!(move || {
                    let streak = Streak::default();
                    while !served.load(Relaxed) {
                        all.fetch_add(1, Relaxed);
                        streak.count();
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
