//! Waiting for what a test expects, and saying what it cannot see.

use std::io::Write;
use std::thread::sleep;
use std::time::{Duration, Instant};

/// Nothing a test waits for takes this long on the slowest machine.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// Says what a test cannot see on this machine, on standard error past the test runner, which
/// shows nothing of a test that passes.
pub fn say(what: &str) {
    // Who cannot be told can still see the others.
    let _ = writeln!(std::io::stderr(), "{what}");
}

/// Waits until it is as wanted; `otherwise` says what went wrong if it never is.
pub fn eventually(otherwise: &str, wanted: impl Fn() -> bool) {
    let end = Instant::now() + PATIENCE;
    while !wanted() {
        assert!(Instant::now() < end, "{otherwise}");
        sleep(Duration::from_millis(10));
    }
}
