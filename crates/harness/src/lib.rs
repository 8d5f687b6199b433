//! What the tests share: real processes, and HTTP byte for byte.
//!
//! Everything panics on failure, with what it saw: it is for tests alone.

#![allow(clippy::missing_panics_doc)]

mod browser;
mod client;
pub mod contract;
pub mod peer;
mod process;

use std::time::Duration;

pub use browser::Browser;
pub use client::{Client, get};
pub use peer::Peer;
pub use process::{Finished, Process, run, service};

/// Nothing a test waits for takes this long on the slowest machine.
pub const PATIENCE: Duration = Duration::from_secs(30);
