//! Looks up the addresses of a host name, on a thread of its own: getaddrinfo(3) would block the
//! worker.

use std::io;
use std::net::{IpAddr, SocketAddr, ToSocketAddrs};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Instant;

use may::coroutine::{self, Coroutine};

use crate::deadline::Deadlines;
use crate::limits;

/// getaddrinfo(3), or what a test puts in its place.
pub type GetAddresses = fn(&str, u16) -> io::Result<Vec<SocketAddr>>;

/// The addresses of one host.
#[derive(Debug)]
pub struct Resolver {
    host: String,
    port: u16,
    /// The host is an address, which never needs a look-up.
    is_address: bool,
    get_addresses: GetAddresses,
    state: Mutex<Known>,
}

#[derive(Debug, Default)]
struct Known {
    /// Those found last. However old, they are used until newer ones are found.
    addresses: Option<Arc<[SocketAddr]>>,
    /// Why the last look-up failed.
    error: Option<String>,
    looked_up: Option<Instant>,
    /// A look-up is under way. There is one at a time, so a name server that hangs costs one
    /// thread.
    looking: bool,
    /// The coroutines that are parked until it ends, each with the number of its deadline.
    waiting: Vec<(u64, Coroutine)>,
}

impl Resolver {
    /// Finds the addresses of `host`, with this port. An IPv6 address may stand in brackets, as
    /// in a URL.
    #[must_use]
    pub fn new(host: &str, port: u16) -> Arc<Self> {
        Self::with(host, port, |host, port| Ok((host, port).to_socket_addrs()?.collect()))
    }

    /// The same, with another function in place of getaddrinfo(3).
    #[must_use]
    pub fn with(host: &str, port: u16, get_addresses: GetAddresses) -> Arc<Self> {
        let host = host.trim_matches(['[', ']']).to_owned();
        let addresses: Option<Arc<[_]>> =
            host.parse::<IpAddr>().ok().map(|ip| Arc::from([SocketAddr::new(ip, port)]));
        let is_address = addresses.is_some();
        let state = Known { addresses, ..Known::default() };
        Arc::new(Self { host, port, is_address, get_addresses, state: Mutex::new(state) })
    }

    /// Returns the addresses, at least one. It waits only while none are known, and until `end`
    /// at the latest. Call it inside a coroutine.
    ///
    /// # Errors
    ///
    /// `TimedOut` if the look-up has not ended by `end`; `NotFound`, with the cause, if it
    /// failed.
    pub fn resolve(
        self: &Arc<Self>,
        deadlines: &Deadlines,
        end: Instant,
    ) -> io::Result<Arc<[SocketAddr]>> {
        let mut state = self.lock();
        if !state.looking && !self.is_fresh(&state) {
            state.looking = true;
            state.error = None;
            let this = self.clone();
            if let Err(error) = thread::Builder::new().spawn(move || this.look_up()) {
                state.looking = false;
                state.error = Some(error.to_string());
            }
        }
        if state.addresses.is_none() && state.looking {
            let deadline = deadlines.watch_this();
            deadline.set(end);
            while state.addresses.is_none() && state.looking && !deadline.has_passed() {
                state.waiting.push((deadline.id(), coroutine::current()));
                drop(state);
                coroutine::park();
                state = self.lock();
                state.waiting.retain(|(id, _)| *id != deadline.id());
            }
        }
        if let Some(addresses) = &state.addresses {
            return Ok(addresses.clone());
        }
        let (kind, text) = if state.looking {
            (io::ErrorKind::TimedOut, format!("looking up {} takes too long", self.host))
        } else {
            let cause = state.error.as_deref().unwrap_or("no address");
            (io::ErrorKind::NotFound, format!("cannot look up {}: {cause}", self.host))
        };
        Err(io::Error::new(kind, text))
    }

    /// Knows these addresses of `host`, for as long as they are fresh.
    #[cfg(test)]
    pub(crate) fn knowing(host: &str, addresses: &[SocketAddr]) -> Arc<Self> {
        let resolver = Self::new(host, 80);
        let mut state = resolver.lock();
        (state.addresses, state.looked_up) = (Some(addresses.into()), Some(Instant::now()));
        drop(state);
        resolver
    }

    /// The addresses that it knows.
    #[cfg(test)]
    pub(crate) fn known(&self) -> Arc<[SocketAddr]> {
        self.lock().addresses.clone().unwrap_or_default()
    }

    fn is_fresh(&self, state: &Known) -> bool {
        let recent = state.looked_up.is_some_and(|at| at.elapsed() < limits::FRESH);
        self.is_address || (recent && state.addresses.is_some())
    }

    fn look_up(&self) {
        let found = (self.get_addresses)(&self.host, self.port);
        let mut state = self.lock();
        match found {
            Ok(addresses) if !addresses.is_empty() => state.addresses = Some(addresses.into()),
            Ok(_) => state.error = Some("no address".into()),
            Err(error) => state.error = Some(error.to_string()),
        }
        state.looked_up = Some(Instant::now());
        state.looking = false;
        for (_, waiting) in std::mem::take(&mut state.waiting) {
            waiting.unpark();
        }
    }

    fn lock(&self) -> MutexGuard<'_, Known> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
    use std::sync::{Barrier, LazyLock};
    use std::time::Duration;

    use may::go;

    use super::*;

    const LONG: Duration = Duration::from_secs(30);

    /// Resolves in a coroutine.
    fn wait(resolver: &Arc<Resolver>, time: Duration) -> io::Result<Arc<[SocketAddr]>> {
        begin(resolver, time).join().unwrap()
    }

    fn begin(
        resolver: &Arc<Resolver>,
        time: Duration,
    ) -> coroutine::JoinHandle<io::Result<Arc<[SocketAddr]>>> {
        static DEADLINES: LazyLock<Deadlines> = LazyLock::new(|| Deadlines::start().unwrap());
        chassis::runtime::init().unwrap();
        let resolver = resolver.clone();
        go!(move || resolver.resolve(&DEADLINES, Instant::now() + time))
    }

    fn resolve(host: &str, port: u16) -> io::Result<Arc<[SocketAddr]>> {
        wait(&Resolver::new(host, port), LONG)
    }

    #[test]
    fn an_address_is_itself() {
        assert_eq!(*resolve("127.0.0.1", 81).unwrap(), ["127.0.0.1:81".parse().unwrap()]);
        assert_eq!(*resolve("[::1]", 80).unwrap(), ["[::1]:80".parse().unwrap()]);
    }

    #[test]
    fn a_name_is_looked_up() {
        let addresses = resolve("localhost", 82).unwrap();
        assert!(addresses.iter().all(|a| a.ip().is_loopback() && a.port() == 82));
    }

    #[test]
    fn a_name_that_is_not_there_is_named() {
        let error = resolve("no-such-host.invalid", 80).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::NotFound);
        assert!(error.to_string().starts_with("cannot look up no-such-host.invalid: "), "{error}");
    }

    /// The name server is silent. Everyone who waits gives up in time, however short that is; one
    /// thread goes on waiting, and the next caller gets what it finds.
    #[test]
    fn a_look_up_that_hangs_holds_nobody() {
        static ASKED: AtomicUsize = AtomicUsize::new(0);
        static ANSWER: Barrier = Barrier::new(2);
        let resolver = Resolver::with("slow.test", 83, |_, port| {
            ASKED.fetch_add(1, SeqCst);
            ANSWER.wait();
            Ok(vec![SocketAddr::from(([127, 0, 0, 1], port))])
        });
        let times = [0, 1, 300, 999, 1000, 100_000].map(Duration::from_micros);
        let waiting: Vec<_> = times.into_iter().map(|time| begin(&resolver, time)).collect();
        for waiting in waiting {
            let error = waiting.join().unwrap().unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::TimedOut);
            assert_eq!(error.to_string(), "looking up slow.test takes too long");
        }
        assert!(resolver.lock().waiting.is_empty());
        let waiting = begin(&resolver, LONG);
        ANSWER.wait();
        assert_eq!(*waiting.join().unwrap().unwrap(), ["127.0.0.1:83".parse().unwrap()]);
        assert_eq!(ASKED.load(SeqCst), 1);
    }
}
