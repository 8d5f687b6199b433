//! Waiting for what a test expects, and reporting what it skips.

use std::io::Write;
use std::thread::sleep;
use std::time::{Duration, Instant};

/// How long a test waits: more than enough on the slowest machine.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// Reports what a test skips on this machine, on standard error itself: the test runner hides the output
/// of tests that pass.
pub fn say(what: &str) {
    let _ = writeln!(std::io::stderr(), "{what}");
}

/// Waits until `wanted` is true, and panics with `otherwise` if it never is.
pub fn eventually(otherwise: &str, wanted: impl Fn() -> bool) {
    let end = Instant::now() + PATIENCE;
    while !wanted() {
        assert!(Instant::now() < end, "{otherwise}");
        sleep(Duration::from_millis(10));
    }
}
