//! What all connections of a leaf share.

use std::ptr;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};

use chassis::shutdown::{Shutdown, Traffic};
use may::coroutine;

use crate::answer::Answer;
use crate::fault::Faults;
use crate::request::Request;
use crate::watch::Watch;

/// The handler, whichever it is.
type Ask = Box<dyn Fn(&Request) -> Answer + Send + Sync>;

/// What all connections share.
pub(crate) struct Shared {
    handler: Ask,
    /// ` (host)`: what follows a line.
    pub(crate) host: Box<str>,
    pub(crate) faults: Faults,
    /// Requests asked. Health checks do not count: they would keep a drain from being quiet.
    requests: AtomicU64,
    /// Those of them that are not answered.
    in_flight: AtomicUsize,
    pub(crate) shutdown: Shutdown,
    pub(crate) watch: Watch,
}

impl Shared {
    /// Of a leaf on this host. Its watch starts.
    pub(crate) fn new(handler: Ask, host: &str, faults: Faults, shutdown: &Shutdown) -> Self {
        Self {
            handler,
            host: format!(" ({host})").into(),
            faults,
            requests: AtomicU64::new(0),
            in_flight: AtomicUsize::new(0),
            shutdown: shutdown.clone(),
            watch: Watch::start(),
        }
    }

    /// The handler's answer, or what a fault makes of it.
    pub(crate) fn ask(&self, request: &Request) -> Answer {
        self.requests.fetch_add(1, Relaxed);
        self.in_flight.fetch_add(1, Relaxed);
        let worker = thread();
        let answer = (self.handler)(request);
        // What is refused is no answer that a fault could spoil. And once the drain has begun
        // nothing is held back: it would keep the drain from ending.
        let spoilt = if answer.is_error() { None } else { self.faults.answer() };
        if let Some(delay) = self.faults.delay()
            && !answer.is_error()
            && !self.shutdown.begun()
        {
            coroutine::sleep(delay);
        }
        if thread() != worker {
            // From the thread of may's timers, where a wait ends, back to the worker's. To give
            // way would not do: this one could be let go on before it has left its thread.
            coroutine::yield_now();
        }
        self.in_flight.fetch_sub(1, Relaxed);
        spoilt.unwrap_or(answer)
    }

    /// What is asked of it so far.
    pub(crate) fn traffic(&self) -> Traffic {
        let (requests, in_flight) = (self.requests.load(Relaxed), self.in_flight.load(Relaxed));
        Traffic { requests, in_flight }
    }
}

/// Tells this thread from others: where it has a value of its own. Not inlined, for the compiler
/// would take a function to stay on its thread.
#[inline(never)]
fn thread() -> usize {
    thread_local!(static OWN: u8 = const { 0 });
    OWN.with(|own| ptr::from_ref(own).addr())
}
