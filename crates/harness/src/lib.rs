//! Test helpers: real processes, and HTTP byte for byte.
//!
//! All functions panic on failure and show what they found: they are only for tests.

#![allow(clippy::missing_panics_doc)]

mod browser;
mod client;
pub mod contract;
pub mod peer;
mod process;

use std::io::Write;
use std::thread::sleep;
use std::time::{Duration, Instant};

pub use browser::Browser;
pub use client::{Client, Traffic, get};
pub use peer::Peer;
pub use process::{Finished, Process, after, fill, run, service, with_files};

/// The timeout of every wait: longer than any takes on the slowest machine.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// Prints what cannot be tested on this machine, directly to standard error: the test runner hides
/// the output of passing tests.
pub fn say(what: &str) {
    // Who cannot be told can still see the others.
    let _ = writeln!(std::io::stderr(), "{what}");
}

/// Waits until `wanted` is true; panics with `otherwise` if it never is.
pub fn eventually(otherwise: &str, wanted: impl Fn() -> bool) {
    let end = Instant::now() + PATIENCE;
    while !wanted() {
        assert!(Instant::now() < end, "{otherwise}");
        sleep(Duration::from_millis(10));
    }
}
