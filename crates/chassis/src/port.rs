//! Binding a port, before anything listens on it.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener};

use socket2::{Domain, Protocol, Socket, Type};

/// All addresses of the machine, IPv4 and IPv6.
pub const ALL_ADDRESSES: &[IpAddr] =
    &[IpAddr::V4(Ipv4Addr::UNSPECIFIED), IpAddr::V6(Ipv6Addr::UNSPECIFIED)];

/// The listen backlog. More than the default of `MAX_CONNECTIONS` would be useless; Linux caps it at
/// net.core.somaxconn (4096).
const BACKLOG: i32 = 4096;

/// A TCP port that is bound on one address. Nothing listens on it yet.
#[derive(Debug)]
pub struct Port {
    socket: Socket,
    address: SocketAddr,
}

impl Port {
    /// Binds `port` on each of `addresses`; 0 binds any free one, the same on all.
    /// IPv6 addresses are skipped on a machine without IPv6.
    ///
    /// # Errors
    ///
    /// The port is in use or not permitted: the message names the address.
    pub fn bind(addresses: &[IpAddr], mut port: u16) -> io::Result<Vec<Self>> {
        let mut bound = Vec::with_capacity(addresses.len());
        for &ip in addresses {
            let address = SocketAddr::new(ip, port);
            match Self::bind_one(address) {
                Ok(one) => {
                    port = one.address.port();
                    bound.push(one);
                }
                Err(error) if ip.is_ipv6() && !bound.is_empty() && has_no_ipv6(&error) => {}
                Err(error) => {
                    let text = format!("cannot listen on {address}: {error}");
                    return Err(io::Error::new(error.kind(), text));
                }
            }
        }
        Ok(bound)
    }

    fn bind_one(address: SocketAddr) -> io::Result<Self> {
        let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
        if address.is_ipv6() {
            socket.set_only_v6(true)?; // IPv4 has its own
        }
        // Allows binding while connections of the last process are in TIME_WAIT.
        socket.set_reuse_address(true)?;
        socket.bind(&address.into())?;
        let address = socket.local_addr()?.as_socket().ok_or(io::ErrorKind::AddrNotAvailable)?;
        Ok(Self { socket, address })
    }

    /// The address, with the port that was bound.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Listens.
    pub fn listen(self) -> io::Result<TcpListener> {
        self.socket.listen(BACKLOG)?;
        Ok(self.socket.into())
    }

    /// Allows the same user to bind the port again, for a library that insists on binding itself
    /// (with `SO_REUSEPORT`). While this value lives the port stays bound; it never listens, so it
    /// gets no connections.
    pub fn share(&self) -> io::Result<SocketAddr> {
        self.socket.set_reuse_port(true)?;
        Ok(self.address)
    }
}

/// The ports' addresses, for the log: `0.0.0.0:3000, [::]:3000`.
#[must_use]
pub fn addresses(ports: &[Port]) -> String {
    let addresses: Vec<_> = ports.iter().map(|p| p.address.to_string()).collect();
    addresses.join(", ")
}

/// Whether this is the error of a machine or container without IPv6.
fn has_no_ipv6(error: &io::Error) -> bool {
    use nix::errno::Errno;
    [Errno::EAFNOSUPPORT, Errno::EADDRNOTAVAIL]
        .iter()
        .any(|&e| error.raw_os_error() == Some(e as i32))
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    const LOOPBACK: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

    #[test]
    fn a_port_in_use_is_refused_by_its_address() {
        let first = Port::bind(&[LOOPBACK], 0).unwrap().remove(0);
        let address = first.address();
        let _listening = first.listen().unwrap();
        let error = Port::bind(&[LOOPBACK], address.port()).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::AddrInUse);
        assert!(error.to_string().starts_with(&format!("cannot listen on {address}: ")), "{error}");
    }

    #[test]
    fn a_shared_port_is_still_refused_to_those_who_want_it_alone() {
        let port = Port::bind(&[LOOPBACK], 0).unwrap().remove(0);
        let address = port.share().unwrap();
        let library = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        library.set_reuse_port(true).unwrap();
        library.bind(&address.into()).unwrap();
        library.listen(1).unwrap();
        assert!(Port::bind(&[LOOPBACK], address.port()).is_err());
    }

    #[test]
    fn every_address_has_the_same_port() {
        let mut addresses = ALL_ADDRESSES.to_vec();
        if let Err(error) = TcpListener::bind((Ipv6Addr::LOCALHOST, 0)) {
            // The test runner does not hold this back, as it would what eprintln! writes.
            writeln!(io::stderr(), "IPv6 is not seen: {error}").unwrap();
            addresses.retain(IpAddr::is_ipv4);
        }
        let ports = Port::bind(ALL_ADDRESSES, 0).unwrap();
        let port = ports[0].address().port();
        let expected: Vec<_> = addresses.iter().map(|&ip| SocketAddr::new(ip, port)).collect();
        assert_eq!(ports.iter().map(Port::address).collect::<Vec<_>>(), expected);
    }
}
