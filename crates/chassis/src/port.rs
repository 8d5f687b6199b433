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
    /// Another socket on this address would get IPv4 too: the system's default (ipv6(7), bindv6only).
    is_dual_stack: bool,
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
        let mut is_dual_stack = false;
        if address.is_ipv6() {
            is_dual_stack = address.ip().is_unspecified() && !socket.only_v6()?;
            socket.set_only_v6(true)?; // IPv4 has its own
        }
        // Allows binding while connections of the last process are in TIME_WAIT.
        socket.set_reuse_address(true)?;
        socket.bind(&address.into())?;
        let address = socket.local_addr()?.as_socket().ok_or(io::ErrorKind::AddrNotAvailable)?;
        Ok(Self { socket, address, is_dual_stack })
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
}

/// Allows the same user to bind these ports again, for a library that insists on binding itself (with
/// `SO_REUSEPORT`), and returns the addresses to bind: one for both families where the system allows
/// that, because a listener costs a start. While the ports live they stay bound; they never listen,
/// so they get no connections.
///
/// # Errors
///
/// The system call that failed.
pub fn share(ports: &[Port]) -> io::Result<Vec<SocketAddr>> {
    for port in ports {
        port.socket.set_reuse_port(true)?;
    }
    let dual_stack = ports.iter().find(|port| port.is_dual_stack);
    let bound = dual_stack.map_or(ports, std::slice::from_ref);
    Ok(bound.iter().map(Port::address).collect())
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
    use std::net::TcpStream;

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
        let port = Port::bind(&[LOOPBACK], 0).unwrap();
        let address = share(&port).unwrap()[0];
        let _library = listen(address);
        assert!(Port::bind(&[LOOPBACK], address.port()).is_err());
    }

    /// As a library does.
    fn listen(address: SocketAddr) -> Socket {
        let library = Socket::new(Domain::for_address(address), Type::STREAM, None).unwrap();
        library.set_reuse_port(true).unwrap();
        library.bind(&address.into()).unwrap();
        library.listen(1).unwrap();
        library
    }

    #[test]
    fn a_shared_port_is_reached_on_every_address() {
        let ports = Port::bind(ALL_ADDRESSES, 0).unwrap();
        let _library: Vec<_> = share(&ports).unwrap().into_iter().map(listen).collect();
        for port in &ports {
            let localhost: IpAddr = match port.address() {
                SocketAddr::V4(_) => Ipv4Addr::LOCALHOST.into(),
                SocketAddr::V6(_) => Ipv6Addr::LOCALHOST.into(),
            };
            TcpStream::connect((localhost, port.address().port())).unwrap();
        }
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
