//! From SIGTERM to the end of the process, without losing a request.
//!
//! When ECS, `docker stop` or the mesh stops a task, the proxies in front of it learn of it a little
//! later. So the service keeps serving, announces the drain in every answer (`Connection: close`,
//! `/health` 503), and ends once no more requests come.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use nix::libc;
use nix::sys::signal::{SigSet, Signal};
use nix::sys::time::{TimeVal, TimeValLike};
use nix::unistd::alarm;
use parking_lot::{Condvar, Mutex};

/// A drain ends after this long without a request.
pub const QUIET: Duration = Duration::from_secs(1);

/// A drain accepts no more connections after this long.
pub const DRAIN_LIMIT: Duration = Duration::from_secs(10);

/// The requests in flight at that limit have this long: a greeting's budget of 2 s, and the time to
/// write it.
pub const LAST_ANSWERS: Duration = Duration::from_secs(3);

/// From SIGTERM to the end of the process, at most.
pub const LONGEST_DRAIN: Duration = DRAIN_LIMIT.saturating_add(LAST_ANSWERS);

/// From SIGTERM to SIGKILL, in ECS (`StopTimeout`), compose.yaml (`stop_grace_period`) and the mesh.
/// Longer than [`LONGEST_DRAIN`], or a drain would be cut off.
pub const STOP_TIMEOUT: Duration = Duration::from_secs(15);
const _: () = assert!(LONGEST_DRAIN.as_secs() < STOP_TIMEOUT.as_secs());

/// The CPU time of the process between two looks of [`Shutdown::wait_and_look`].
pub const LOOK_CPU: Duration = Duration::from_millis(50);

/// Whether the service is to stop. Clones share one state.
#[derive(Clone, Debug)]
pub struct Shutdown(Arc<State>);

#[derive(Debug)]
struct State {
    begun: AtomicBool,
    trigger: Trigger,
}

#[derive(Debug)]
enum Trigger {
    Signals(SigSet),
    Call(Mutex<()>, Condvar),
}

/// The requests of a service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Traffic {
    /// Requests received since the start, except health checks, which would never end.
    pub requests: u64,
    /// Requests received and not yet answered.
    pub in_flight: usize,
}

impl Shutdown {
    /// Begins on SIGTERM or SIGINT; a second one ends the process at once.
    ///
    /// Call it before any thread is started: it blocks both signals, and the timers', so that
    /// [`Self::wait`] receives them. A blocked signal reaches PID 1 too, where the kernel ignores one
    /// that has no handler (see signal(7), `pid_namespaces(7)`).
    #[must_use]
    pub fn on_signals() -> Self {
        let signals: SigSet = [Signal::SIGTERM, Signal::SIGINT].into_iter().collect();
        // Fails for an invalid mask only, which this is not.
        let _ = (signals | timers()).thread_block();
        Self::new(Trigger::Signals(signals))
    }

    /// Begins when [`Self::begin`] is called.
    #[must_use]
    pub fn on_call() -> Self {
        Self::new(Trigger::Call(Mutex::default(), Condvar::new()))
    }

    fn new(trigger: Trigger) -> Self {
        Self(Arc::new(State { begun: AtomicBool::new(false), trigger }))
    }

    /// Whether the service is draining.
    #[must_use]
    pub fn begun(&self) -> bool {
        self.0.begun.load(Ordering::Relaxed)
    }

    /// Begins the drain.
    pub fn begin(&self) {
        self.0.begun.store(true, Ordering::Relaxed);
        if let Trigger::Call(lock, changed) = &self.0.trigger {
            let _guard = lock.lock();
            changed.notify_all();
        }
    }

    /// Blocks this thread until the drain begins.
    pub fn wait(&self) {
        match &self.0.trigger {
            Trigger::Signals(signals) => {
                while signals.wait().is_err() {}
                self.begin_on_signal(*signals);
            }
            Trigger::Call(lock, changed) => {
                changed.wait_while(&mut lock.lock(), |()| !self.begun());
            }
        }
    }

    /// The same, and calls `look` meanwhile: after as many whole seconds as it returned, and each time
    /// the process has used [`LOOK_CPU`]. So an idle process is hardly ever woken, and a busy one is
    /// looked at as often as it does something. Without signals, several times a second.
    pub fn wait_and_look(&self, mut look: impl FnMut() -> Duration) {
        match &self.0.trigger {
            Trigger::Signals(signals) => {
                let all = *signals | timers();
                signal_after_cpu(LOOK_CPU);
                loop {
                    alarm::set(u32::try_from(look().as_secs()).unwrap_or(u32::MAX));
                    if all.wait().is_ok_and(|signal| signals.contains(signal)) {
                        break;
                    }
                }
                self.begin_on_signal(*signals);
            }
            Trigger::Call(state, changed) => {
                let mut guard = state.lock();
                while !self.begun() {
                    changed.wait_for(&mut guard, look().min(2 * LOOK_CPU));
                }
            }
        }
    }

    fn begin_on_signal(&self, signals: SigSet) {
        self.begin();
        // Without a thread, only the shortcut is lost.
        let _ = thread::Builder::new().spawn(move || {
            if let Ok(signal) = signals.wait() {
                // As a shell reports a process that a signal ended.
                std::process::exit(128 + signal as i32);
            }
        });
    }
}

/// The signals of alarm(2) and of [`signal_after_cpu`].
fn timers() -> SigSet {
    [Signal::SIGALRM, Signal::SIGPROF].into_iter().collect()
}

/// Raises SIGPROF each time the process has used so much CPU.
#[allow(unsafe_code)] // nix does not have it
fn signal_after_cpu(time: Duration) {
    let time = *TimeVal::microseconds(i64::from(time.subsec_micros())).as_ref();
    let timer = libc::itimerval { it_interval: time, it_value: time };
    // SAFETY: it reads `timer`. It fails for an unknown timer or a time over 999,999 us, which these
    // are not.
    unsafe { libc::setitimer(libc::ITIMER_PROF, &raw const timer, std::ptr::null_mut()) };
}

/// Blocks this thread until there was no request for `quiet` and none is in flight, or until `limit`.
/// Returns whether it ended quietly.
pub fn drain(quiet: Duration, limit: Duration, mut traffic: impl FnMut() -> Traffic) -> bool {
    let start = Instant::now();
    let mut last = traffic();
    let mut quiet_since = start;
    while start.elapsed() < limit {
        thread::sleep(Duration::from_millis(20).min(quiet));
        let now = traffic();
        if now != last || now.in_flight > 0 {
            last = now;
            quiet_since = Instant::now();
        } else if quiet_since.elapsed() >= quiet {
            return true;
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicU64;

    use super::*;

    const MS: Duration = Duration::from_millis(1);

    #[test]
    fn wait_returns_once_it_has_begun() {
        let shutdown = Shutdown::on_call();
        assert!(!shutdown.begun());
        let waiting = thread::spawn({
            let shutdown = shutdown.clone();
            move || shutdown.wait()
        });
        shutdown.begin();
        waiting.join().unwrap();
        assert!(shutdown.begun());
    }

    #[test]
    fn an_idle_service_drains_after_the_quiet_time() {
        let idle = || Traffic { requests: 7, in_flight: 0 };
        let start = Instant::now();
        assert!(drain(50 * MS, Duration::from_mins(1), idle));
        assert!(start.elapsed() >= 50 * MS);
    }

    #[test]
    fn requests_keep_it_up_until_the_limit() {
        let requests = AtomicU64::new(0);
        let busy = || Traffic { requests: requests.fetch_add(1, Ordering::Relaxed), in_flight: 0 };
        assert!(!drain(50 * MS, 200 * MS, busy));
    }

    #[test]
    fn a_request_in_flight_keeps_it_up() {
        let stuck = || Traffic { requests: 1, in_flight: 1 };
        assert!(!drain(MS, 100 * MS, stuck));
    }
}
