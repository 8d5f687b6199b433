//! What the tests share: real processes, and HTTP byte for byte.
//!
//! Everything panics on failure, with what it saw: it is for tests alone.

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
