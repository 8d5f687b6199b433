//! What becomes of a process, as the proxies are told.

use std::net::SocketAddr;

/// Told what becomes of a process.
pub(crate) type Register = Box<dyn Fn(Registration) + Send + Sync>;

/// A process takes requests at an address, or no longer does. Where a new process has taken the
/// place of an old one, the old one's end changes nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Registration {
    Up(SocketAddr),
    Down(SocketAddr),
}
