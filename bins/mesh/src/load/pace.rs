//! When each request is due.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use smol::Timer;

/// By how many times the time between two of them requests at random moments are spread.
const SPREAD: u32 = 8;

/// The schedule that all clients share.
pub(super) struct Pace {
    start: Instant,
    time: Duration,
    /// Requests per second; `None` for no fixed rate.
    rate: Option<u32>,
    /// Each is late by a random part of this.
    spread: Duration,
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
            spread: Duration::ZERO,
            taken: 0.into(),
            sent: 0.into(),
            stopped: false.into(),
        }
    }

    /// At this rate on average, at random moments: beside others at an even pace of the same rate, all
    /// requests would be taken in turn with theirs, and fall to the same tasks.
    pub(super) fn at_random(rate: u32, time: Duration) -> Self {
        let spread = SPREAD * Duration::from_secs(1) / rate;
        Self { spread, ..Self::start(Some(rate), time) }
    }

    /// Waits until the next request is due, and returns that time, which may be past; `None` at the end.
    pub(super) async fn next(&self) -> Option<Instant> {
        let due = match self.rate {
            None => Instant::now(),
            Some(rate) => {
                let after = self.taken.fetch_add(1, Relaxed) * 1_000_000_000 / u64::from(rate);
                self.start + Duration::from_nanos(after)
            }
        };
        if due >= self.start + self.time {
            return None;
        }
        let due = due + self.spread.mul_f64(fastrand::f64());
        Timer::at(due).await;
        if Instant::now() >= self.end() || self.stopped.load(Relaxed) {
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
        self.start + self.time + self.spread
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn random_moments_are_spread() {
        let pace = Pace::at_random(1000, Duration::from_hours(1));
        let due = |_| (smol::block_on(pace.next()).unwrap() - pace.start).as_nanos();
        let due: Vec<_> = (0..50).map(due).collect();
        let late = due.iter().zip(0..).map(|(at, turn)| at - turn * 1_000_000);
        let late: Vec<_> = late.collect();
        assert!(late.iter().all(|late| *late < 8_000_000), "{late:?}");
        // All of them are early by chance once in 10^45.
        assert!(late.iter().any(|late| *late >= 1_000_000), "{late:?}");
    }
}
