//! Test helpers: real processes, and HTTP byte for byte.
//!
//! All functions panic on failure and show what they found: they are only for tests.

#![allow(clippy::missing_panics_doc)]

mod browser;
mod client;
pub mod contract;
pub mod peer;
mod process;
mod wait;

pub use browser::Browser;
pub use client::{Client, Traffic, get};
pub use peer::Peer;
pub use process::{Finished, Process, after, fill, is_emulated, run, service, with_files};
pub use wait::{PATIENCE, eventually, say};
