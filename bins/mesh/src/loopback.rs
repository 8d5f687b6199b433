//! A port of 127.0.0.1.

use std::io;
use std::net::Ipv4Addr;

use chassis::Port;

/// Binds a port of 127.0.0.1; 0 means any free one.
///
/// # Errors
///
/// The port is in use or not permitted: the message names it.
pub(crate) fn port(number: u16) -> io::Result<Port> {
    let ports = Port::take(&[Ipv4Addr::LOCALHOST.into()], number)?;
    ports.into_iter().next().ok_or_else(|| io::ErrorKind::AddrNotAvailable.into())
}
