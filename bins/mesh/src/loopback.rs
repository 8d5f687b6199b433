//! A port that only this machine reaches.

use std::io;
use std::net::Ipv4Addr;

use chassis::Port;

/// Takes a port of 127.0.0.1, or, for 0, one that is free.
///
/// # Errors
///
/// The port is in use, or not ours to take: the message names it.
pub(crate) fn port(number: u16) -> io::Result<Port> {
    let ports = Port::take(&[Ipv4Addr::LOCALHOST.into()], number)?;
    ports.into_iter().next().ok_or_else(|| io::ErrorKind::AddrNotAvailable.into())
}
