//! When each request is due.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use smol::Timer;

/// The schedule that all clients share.
pub(super) struct Pace {
    start: Instant,
    time: Duration,
    /// Requests per second; `None` for no fixed rate.
    rate: Option<u32>,
    taken: AtomicU64,
    sent: AtomicU64,
    stopped: AtomicBool,
}

impl Pace {
    /// Starts now, and ends after `time`.
    pub(super) fn start(rate: Option<u32>, time: Duration) -> Self {
        Self {
            start: Instant::now(),
            time,
            rate,
            taken: 0.into(),
            sent: 0.into(),
            stopped: false.into(),
        }
    }

    /// Waits until the next request is due, and returns that time, which may be past; `None` at the end.
    pub(super) async fn next(&self) -> Option<Instant> {
        let end = self.end();
        let due = match self.rate {
            None => Instant::now(),
            Some(rate) => {
                let after = self.taken.fetch_add(1, Relaxed) * 1_000_000_000 / u64::from(rate);
                self.start + Duration::from_nanos(after)
            }
        };
        if due < end {
            Timer::at(due).await;
        }
        if due >= end || Instant::now() >= end || self.stopped.load(Relaxed) {
            return None;
        }
        self.sent.fetch_add(1, Relaxed);
        Some(due)
    }

    /// Ends it sooner.
    pub(super) fn stop(&self) {
        self.stopped.store(true, Relaxed);
    }

    /// When the last request may be due.
    pub(super) fn end(&self) -> Instant {
        self.start + self.time
    }

    pub(super) fn elapsed(&self) -> Duration {
        self.start.elapsed()
    }

    /// Requests that were due, but had no free connection before the end.
    pub(super) fn never_sent(&self) -> u64 {
        let Some(rate) = self.rate else { return 0 };
        let time = self.elapsed().min(self.time).as_nanos();
        let due = (u128::from(rate) * time).div_ceil(1_000_000_000);
        u64::try_from(due).unwrap_or(u64::MAX).saturating_sub(self.sent.load(Relaxed))
    }
}
