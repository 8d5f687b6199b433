//! A port of 127.0.0.1.

use std::io;
use std::net::{Ipv4Addr, TcpListener};
use std::sync::LazyLock;
use std::sync::atomic::{AtomicU16, Ordering::Relaxed};

use chassis::Port;

/// Binds a port of 127.0.0.1; 0 means any free one.
///
/// # Errors
///
/// The port is in use or not permitted: the message names it.
pub(crate) fn port(number: u16) -> io::Result<Port> {
    let ports = Port::bind(&[Ipv4Addr::LOCALHOST.into()], number)?;
    ports.into_iter().next().ok_or_else(|| io::ErrorKind::AddrNotAvailable.into())
}

/// Below those that the kernel gives to connections (32768 on Linux, ip(7)), which come and go.
const FIRST_FOR_OTHERS: u16 = 16384;
const FOR_OTHERS: u16 = 16384;

/// A port for another process: free on every address, and not one that this mesh gave away lately.
pub(crate) fn free_port() -> u16 {
    // Other meshes begin elsewhere.
    static NEXT: LazyLock<AtomicU16> = LazyLock::new(|| fastrand::u16(..).into());
    let next = || FIRST_FOR_OTHERS + NEXT.fetch_add(1, Relaxed) % FOR_OTHERS;
    // If none is free, who is to listen says so.
    (1..FOR_OTHERS).map(|_| next()).find(|&port| is_free(port)).unwrap_or_else(next)
}

/// Whether nobody has the port.
pub(crate) fn is_free(port: u16) -> bool {
    TcpListener::bind((Ipv4Addr::UNSPECIFIED, port)).is_ok()
}
