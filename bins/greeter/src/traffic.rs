//! How many requests there were and are, which the drain asks for.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};

use chassis::shutdown::Traffic;

/// Counts requests.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    requests: AtomicU64,
    in_flight: AtomicUsize,
}

/// A request received and not yet answered.
pub(crate) struct InFlight<'a>(&'a Counters);

impl Counters {
    /// Counts a request, until the guard is dropped as one in flight. Health checks are no
    /// traffic: they would keep a drain from being quiet.
    pub(crate) fn receive(&self, is_check: bool) -> InFlight<'_> {
        if !is_check {
            self.requests.fetch_add(1, Relaxed);
        }
        self.in_flight.fetch_add(1, Relaxed);
        InFlight(self)
    }

    /// What they have come to.
    pub(crate) fn traffic(&self) -> Traffic {
        Traffic { requests: self.requests.load(Relaxed), in_flight: self.in_flight.load(Relaxed) }
    }
}

impl Drop for InFlight<'_> {
    fn drop(&mut self) {
        self.0.in_flight.fetch_sub(1, Relaxed);
    }
}
