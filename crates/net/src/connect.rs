//! New connections to one host, at whichever of its addresses answers.

use std::collections::VecDeque;
use std::io::{self, ErrorKind};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use crate::deadline::Deadlines;
use crate::limits;
use crate::resolver::Resolver;
use crate::socket::Socket;

/// Connects to one host.
#[derive(Debug)]
pub struct Connector {
    resolver: Arc<Resolver>,
    deadlines: Deadlines,
    /// The addresses that gave no connection, each once, with the time of the last failure.
    failed: Mutex<Vec<(SocketAddr, Instant)>>,
}

/// The result of trying an address.
enum Attempt {
    Connected(Socket),
    /// It has not answered yet, and may still do so.
    Late(Socket),
}

impl Connector {
    /// Connects to the host of `resolver`.
    pub fn new(resolver: Arc<Resolver>, deadlines: Deadlines) -> Self {
        Self { resolver, deadlines, failed: Mutex::default() }
    }

    /// Opens a connection, by `end` at the latest. It tries each address [`limits::ATTEMPTS`]
    /// times. An address that has not answered yet may still do so while others are tried.
    ///
    /// # Errors
    ///
    /// Those of [`Resolver::resolve`]; `TimedOut` if an address did not answer; otherwise the
    /// error of the last address.
    pub fn connect(&self, end: Instant) -> io::Result<Socket> {
        let mut addresses = self.resolver.resolve(&self.deadlines, end)?.to_vec();
        let start = Instant::now();
        addresses.sort_by_key(|&address| self.failed_at(address, start));

        let end = end.min(start + limits::CONNECT);
        let mut to_try: VecDeque<_> =
            addresses.into_iter().map(|address| (address, limits::ATTEMPTS)).collect();
        let mut late: Vec<Socket> = Vec::new();
        let mut failure = io::Error::from(ErrorKind::TimedOut);
        loop {
            let now = Instant::now();
            if now >= end {
                return Err(ErrorKind::TimedOut.into());
            }
            let until = end.min(now + limits::NEXT_ADDRESS);
            let tried = if let Some((address, times)) = to_try.pop_front() {
                let socket = Socket::connect(address, limits::CONNECT, &self.deadlines);
                let tried = socket.and_then(|socket| wait_until(until, socket));
                match &tried {
                    Ok(Attempt::Connected(_)) => {}
                    Ok(Attempt::Late(_)) if times > 1 => {
                        to_try.push_back((address, times - 1));
                        self.avoid(address);
                    }
                    _ => self.avoid(address),
                }
                tried
            } else if let Some(socket) = late.pop() {
                wait_until(until, socket)
            } else {
                return Err(failure);
            };
            match tried {
                Ok(Attempt::Connected(socket)) => return Ok(socket),
                Ok(Attempt::Late(socket)) => late.push(socket),
                Err(error) => failure = error,
            }
            // Meanwhile an earlier attempt may have connected.
            if let Some(place) = late.iter().position(|s| s.is_connected().unwrap_or(false)) {
                return Ok(late.swap_remove(place));
            }
        }
    }

    /// When the address last failed, if that was less than [`limits::AVOIDED`] ago.
    fn failed_at(&self, address: SocketAddr, now: Instant) -> Option<Instant> {
        let mut failed = self.failed();
        failed.retain(|&(_, at)| now.saturating_duration_since(at) < limits::AVOIDED);
        failed.iter().find(|&&(other, _)| other == address).map(|&(_, at)| at)
    }

    fn avoid(&self, address: SocketAddr) {
        let mut failed = self.failed();
        failed.retain(|&(other, _)| other != address);
        failed.push((address, Instant::now()));
    }

    fn failed(&self) -> MutexGuard<'_, Vec<(SocketAddr, Instant)>> {
        self.failed.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Waits for the connection, until `until`.
fn wait_until(until: Instant, socket: Socket) -> io::Result<Attempt> {
    socket.set_deadline_at(until);
    match socket.wait_until_connected() {
        Ok(()) => Ok(Attempt::Connected(socket)),
        Err(error) if error.kind() == ErrorKind::TimedOut => Ok(Attempt::Late(socket)),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;
    use std::time::Duration;

    use may::go;
    use socket2::{Domain, SockAddr, Type};

    use super::*;

    const LOCAL: [u8; 4] = [127, 0, 0, 1];

    /// An address that does not answer: its queue of connections is full.
    struct Silent {
        listener: socket2::Socket,
        _queue: Vec<socket2::Socket>,
    }

    impl Silent {
        fn new() -> Self {
            let socket = || socket2::Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
            let listener = socket();
            listener.bind(&SockAddr::from(SocketAddr::from((LOCAL, 0)))).unwrap();
            listener.listen(0).unwrap();
            let address = listener.local_addr().unwrap();
            let queue = (0..4).map(|_| {
                let client = socket();
                client.set_nonblocking(true).unwrap();
                let _ = client.connect(&address);
                client
            });
            Self { _queue: queue.collect(), listener }
        }

        fn address(&self) -> SocketAddr {
            self.listener.local_addr().unwrap().as_socket().unwrap()
        }
    }

    /// Connects `times` times to a host with these addresses. Returns the address of each
    /// connection, or why there was none.
    fn connected(addresses: &[SocketAddr], times: usize) -> Vec<Result<SocketAddr, ErrorKind>> {
        chassis::runtime::init().unwrap();
        let resolver = Resolver::knowing("some.test", addresses);
        let connect = go!(move || {
            let connector = Connector::new(resolver, Deadlines::start().unwrap());
            let connect = || {
                let socket = connector.connect(Instant::now() + Duration::from_secs(30));
                socket.map(|socket| socket.peer()).map_err(|error| error.kind())
            };
            let came = (0..times).map(|_| connect()).collect();
            let failed = connector.failed().len();
            assert!(failed <= connector.resolver.known().len(), "{failed}");
            came
        });
        connect.join().unwrap()
    }

    #[test]
    fn an_address_that_does_not_answer_costs_no_connection() {
        let (silent, live) = (Silent::new(), TcpListener::bind("127.0.0.1:0").unwrap());
        let live = live.local_addr().map(|address| (live, address)).unwrap();
        for addresses in [[silent.address(), live.1], [live.1, silent.address()]] {
            assert_eq!(connected(&addresses, 3), [Ok(live.1); 3]);
        }
        assert_eq!(connected(&[silent.address()], 1), [Err(ErrorKind::TimedOut)]);
    }

    /// However many addresses are silent, the live one has its turn: addresses that never failed
    /// are tried first.
    #[test]
    fn many_addresses_that_do_not_answer_do_not_hide_one_that_does() {
        let silent: Vec<_> = (0..6).map(|_| Silent::new()).collect();
        let live = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = live.local_addr().unwrap();
        let mut addresses: Vec<_> = silent.iter().map(Silent::address).collect();
        addresses.push(address);
        let came = connected(&addresses, 4);
        assert_eq!(came[2..], [Ok(address); 2], "{came:?}");
    }

    #[test]
    fn an_address_that_refuses_costs_no_connection() {
        let down = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let live = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = live.local_addr().unwrap();
        assert_eq!(connected(&[down, address], 2), [Ok(address); 2]);
        assert_eq!(connected(&[down], 2), [Err(ErrorKind::ConnectionRefused); 2]);
    }
}
