//! Request counters, for the drain.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};

use chassis::shutdown::Traffic;

/// Counts requests.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    requests: AtomicU64,
    in_flight: AtomicUsize,
}

/// A request in flight, until dropped.
pub(crate) struct InFlight<'a>(&'a Counters);

impl Counters {
    /// Counts a request, which is in flight until the guard is dropped. Health checks are not counted
    /// as requests: they would prolong a drain.
    pub(crate) fn receive(&self, is_check: bool) -> InFlight<'_> {
        if !is_check {
            self.requests.fetch_add(1, Relaxed);
        }
        self.in_flight.fetch_add(1, Relaxed);
        InFlight(self)
    }

    /// The current counts.
    pub(crate) fn traffic(&self) -> Traffic {
        Traffic { requests: self.requests.load(Relaxed), in_flight: self.in_flight.load(Relaxed) }
    }
}

impl Drop for InFlight<'_> {
    fn drop(&mut self) {
        self.0.in_flight.fetch_sub(1, Relaxed);
    }
}
