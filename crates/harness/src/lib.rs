//! What the tests share: real processes, and HTTP byte for byte.
//!
//! Everything panics on failure, with what it saw: it is for tests alone.

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
pub use process::{Finished, Process, after, fill, run, service, with_files};
pub use wait::{PATIENCE, eventually, say};
