//! How the proxies learn of a process.

use std::net::SocketAddr;

/// Called when a process begins to take requests, and when it stops.
pub(crate) type Register = Box<dyn Fn(Registration) + Send + Sync>;

/// A process takes requests at an address, or no longer does. Once a new process has replaced an old
/// one, the end of the old one has no effect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Registration {
    Up(SocketAddr),
    Down(SocketAddr),
}
