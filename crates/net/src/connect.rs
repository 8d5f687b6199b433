//! New connections to one host, trying its addresses in turn (RFC 8305, Happy Eyeballs).

use std::collections::VecDeque;
use std::fmt;
use std::io::{self, ErrorKind};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

use parking_lot::Mutex;

use crate::deadline::Deadlines;
use crate::limits;
use crate::resolver::{ResolveError, Resolver};
use crate::socket::Socket;

/// Connects to one host.
#[derive(Debug)]
pub struct Connector {
    resolver: Arc<Resolver>,
    deadlines: Deadlines,
    /// The addresses that failed, each once, with the time of the last failure.
    failed: Mutex<Vec<(SocketAddr, Instant)>>,
}

/// Why there is no connection.
#[derive(Debug)]
pub enum ConnectError {
    /// No address is known.
    Resolve(ResolveError),
    /// No address answered in time.
    TimedOut,
    /// The error of the last address.
    Io(io::Error),
}

impl ConnectError {
    /// Whether this is a timeout.
    #[must_use]
    pub fn is_timeout(&self) -> bool {
        match self {
            Self::Resolve(error) => error.is_timeout(),
            Self::TimedOut => true,
            Self::Io(_) => false,
        }
    }
}

impl From<ResolveError> for ConnectError {
    fn from(error: ResolveError) -> Self {
        Self::Resolve(error)
    }
}

impl fmt::Display for ConnectError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Resolve(error) => error.fmt(f),
            Self::TimedOut => f.write_str("no connection in time"),
            Self::Io(error) => match error.kind() {
                ErrorKind::ConnectionRefused => f.write_str("connection refused"),
                ErrorKind::ConnectionReset => f.write_str("connection reset"),
                _ => write!(f, "cannot connect: {error}"),
            },
        }
    }
}

impl std::error::Error for ConnectError {}

/// The result of a connection attempt.
enum Attempt {
    Connected(Socket),
    /// It has not answered yet, and may still do so.
    Pending(Socket),
}

impl Connector {
    /// Connects to the host of `resolver`.
    pub fn new(resolver: Arc<Resolver>, deadlines: Deadlines) -> Self {
        Self { resolver, deadlines, failed: Mutex::default() }
    }

    /// Opens a connection, by `end` at the latest. If all known addresses fail, the host may have
    /// moved: it is looked up again, and new addresses are tried.
    ///
    /// # Errors
    ///
    /// No address is known, none answered in time, or the last one failed.
    pub fn connect(&self, end: Instant) -> Result<Socket, ConnectError> {
        let known = self.resolver.resolve(&self.deadlines, end)?;
        self.try_each(&known, end).or_else(|error| {
            let others = self.resolver.resolve_others(&known, &self.deadlines, end);
            if others.is_empty() { Err(error) } else { self.try_each(&others, end) }
        })
    }

    /// Tries each address [`limits::ATTEMPTS`] times. Attempts without an answer stay pending while
    /// others are tried.
    fn try_each(&self, addresses: &[SocketAddr], end: Instant) -> Result<Socket, ConnectError> {
        let mut addresses = addresses.to_vec();
        let start = Instant::now();
        let failed = self.failed_lately(start);
        addresses.sort_by_key(|&address| {
            failed.iter().find(|(other, _)| *other == address).map(|&(_, at)| at)
        });

        let end = end.min(start + limits::CONNECT);
        let mut to_try: VecDeque<_> =
            addresses.into_iter().map(|address| (address, limits::ATTEMPTS)).collect();
        let mut pending: Vec<Socket> = Vec::new();
        let mut failure = ConnectError::TimedOut;
        loop {
            let now = Instant::now();
            if now >= end {
                return Err(ConnectError::TimedOut);
            }
            let until = end.min(now + limits::ATTEMPT_DELAY);
            let tried = if let Some((address, times)) = to_try.pop_front() {
                let socket = Socket::connect(address, limits::CONNECT, &self.deadlines);
                let tried = socket.and_then(|socket| wait_until(until, socket));
                match &tried {
                    Ok(Attempt::Connected(_)) => {}
                    Ok(Attempt::Pending(_)) if times > 1 => {
                        to_try.push_back((address, times - 1));
                        self.avoid(address);
                    }
                    _ => self.avoid(address),
                }
                tried
            } else if let Some(socket) = pending.pop() {
                wait_until(until, socket)
            } else {
                return Err(failure);
            };
            match tried {
                Ok(Attempt::Connected(socket)) => return Ok(socket),
                Ok(Attempt::Pending(socket)) => pending.push(socket),
                Err(error) => failure = ConnectError::Io(error),
            }
            // Meanwhile an earlier attempt may have connected.
            if let Some(place) = pending.iter().position(|s| s.is_connected().unwrap_or(false)) {
                return Ok(pending.swap_remove(place));
            }
        }
    }

    /// The addresses that failed within [`limits::ADDRESS_BACKOFF`], with the time.
    fn failed_lately(&self, now: Instant) -> Vec<(SocketAddr, Instant)> {
        let mut failed = self.failed.lock();
        failed.retain(|&(_, at)| now.saturating_duration_since(at) < limits::ADDRESS_BACKOFF);
        failed.clone()
    }

    fn avoid(&self, address: SocketAddr) {
        let mut failed = self.failed.lock();
        failed.retain(|&(other, _)| other != address);
        failed.push((address, Instant::now()));
    }
}

/// Waits for the connection, until `until`.
fn wait_until(until: Instant, socket: Socket) -> io::Result<Attempt> {
    socket.set_deadline_at(until);
    match socket.wait_until_connected() {
        Ok(()) => Ok(Attempt::Connected(socket)),
        Err(error) if error.kind() == ErrorKind::TimedOut => Ok(Attempt::Pending(socket)),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;
    use std::net::TcpListener;
    use std::sync::LazyLock;
    use std::time::Duration;

    use may::go;
    use socket2::{Domain, SockAddr, Type};

    use super::*;
    use crate::lookup::{Family, NotFound};
    use crate::resolver::LookUp;

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
    fn connected(addresses: &[SocketAddr], times: usize) -> Vec<Result<SocketAddr, String>> {
        moved(addresses, |_, _, _| Err(NotFound::NoAnswer), times)
    }

    /// The same, where a look-up finds others.
    fn moved(
        addresses: &[SocketAddr],
        look_up: LookUp,
        times: usize,
    ) -> Vec<Result<SocketAddr, String>> {
        crate::runtime::init();
        let resolver = Resolver::knowing("some.test", addresses, look_up);
        let connect = go!(move || {
            let connector = Connector::new(resolver, Deadlines::start().unwrap());
            let connect = || {
                let socket = connector.connect(Instant::now() + Duration::from_secs(30));
                socket.map(|socket| socket.peer()).map_err(|error| error.to_string())
            };
            let came = (0..times).map(|_| connect()).collect();
            let failed: Vec<_> =
                connector.failed.lock().iter().map(|&(address, _)| address).collect();
            let once: HashSet<_> = failed.iter().collect();
            assert_eq!(failed.len(), once.len(), "{failed:?}");
            came
        });
        connect.join().unwrap()
    }

    /// An address that refuses: nobody listens there, and nobody else can.
    fn refusing() -> (SocketAddr, socket2::Socket) {
        let socket = socket2::Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        socket.bind(&SockAddr::from(SocketAddr::from((LOCAL, 0)))).unwrap();
        (socket.local_addr().unwrap().as_socket().unwrap(), socket)
    }

    #[test]
    fn an_address_that_does_not_answer_costs_no_connection() {
        let (silent, live) = (Silent::new(), TcpListener::bind("127.0.0.1:0").unwrap());
        let live = live.local_addr().map(|address| (live, address)).unwrap();
        for addresses in [[silent.address(), live.1], [live.1, silent.address()]] {
            assert_eq!(connected(&addresses, 3), [Ok(live.1), Ok(live.1), Ok(live.1)]);
        }
        assert_eq!(connected(&[silent.address()], 1), [Err("no connection in time".into())]);
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
        assert_eq!(came[2..], [Ok(address), Ok(address)], "{came:?}");
    }

    #[test]
    fn an_address_that_refuses_costs_no_connection() {
        let (down, _held) = refusing();
        let live = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = live.local_addr().unwrap();
        assert_eq!(connected(&[down, address], 2), [Ok(address), Ok(address)]);
        let refused = || Err("connection refused".to_owned());
        assert_eq!(connected(&[down], 2), [refused(), refused()]);
    }

    /// The host has moved: the call that finds its old address dead finds the new one, whether
    /// the old one refuses or is silent; and the way back too.
    #[test]
    fn an_address_that_changed_costs_no_connection() {
        static LIVE: LazyLock<TcpListener> =
            LazyLock::new(|| TcpListener::bind("127.0.0.1:0").unwrap());
        let address = LIVE.local_addr().unwrap();
        let look_up: LookUp = |_, _, family| match family {
            Family::V4 => Ok(vec![LIVE.local_addr().unwrap()]),
            Family::V6 => Err(NotFound::NoAddress),
        };
        let silent = Silent::new();
        let ((down, _held), (other, _held_too)) = (refusing(), refusing());
        for old in [&[down][..], &[down, other], &[silent.address()], &[silent.address(), down]] {
            assert_eq!(moved(old, look_up, 2), [Ok(address), Ok(address)], "{old:?}");
        }
    }

    /// What a new look-up finds is dead too, or it fails: the cause is what came of connecting.
    #[test]
    fn an_address_that_refuses_is_the_cause_whatever_the_look_up_says() {
        let look_ups: [LookUp; 3] = [
            |_, _, _| Err(NotFound::NoName),
            |_, _, _| Err(NotFound::NoAnswer),
            |_, _, _| Ok(vec![SocketAddr::from((LOCAL, 1))]),
        ];
        let (down, _held) = refusing();
        for look_up in look_ups {
            assert_eq!(moved(&[down], look_up, 1), [Err("connection refused".into())]);
        }
    }
}
