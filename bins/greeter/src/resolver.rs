//! Host names to addresses, never on the worker: getaddrinfo(3) blocks.

use std::io;
use std::net::{IpAddr, SocketAddr, ToSocketAddrs};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use may::sync::{Condvar, Mutex};
use ureq::http::Uri;

/// How long an address is used before it is looked up again, in the background. Service
/// Connect's names are lines in /etc/hosts and never change while a task lives.
const FRESH: Duration = Duration::from_secs(10);

/// getaddrinfo(3), or a test's.
type GetAddresses = fn(&str, u16) -> io::Result<Vec<SocketAddr>>;

/// The addresses of one host.
pub(crate) struct Resolver {
    host: String,
    port: u16,
    /// The host is an address, which needs no look-up, ever.
    is_address: bool,
    get_addresses: GetAddresses,
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    /// Found last; used however old while nothing newer is known.
    addresses: Option<Arc<[SocketAddr]>>,
    /// Why the last look-up failed.
    error: Option<String>,
    looked_up: Option<Instant>,
    /// One look-up at a time: a name server that hangs costs one thread.
    looking: bool,
}

impl Resolver {
    /// For the host and port of a URL that has both, 80 being the default port.
    pub(crate) fn new(url: &Uri) -> Arc<Self> {
        Self::with(url, |host, port| Ok((host, port).to_socket_addrs()?.collect()))
    }

    fn with(url: &Uri, get_addresses: GetAddresses) -> Arc<Self> {
        let host = url.host().unwrap_or_default().trim_matches(['[', ']']).to_owned();
        let port = url.port_u16().unwrap_or(80);
        let addresses: Option<Arc<[_]>> =
            host.parse::<IpAddr>().ok().map(|ip| Arc::from([SocketAddr::new(ip, port)]));
        let is_address = addresses.is_some();
        let state = State { addresses, ..State::default() };
        Arc::new(Self {
            host,
            port,
            is_address,
            get_addresses,
            state: Mutex::new(state),
            changed: Condvar::new(),
        })
    }

    /// The addresses, at least one. Waits only when none are known yet.
    pub(crate) fn resolve(self: &Arc<Self>, wait: Duration) -> io::Result<Arc<[SocketAddr]>> {
        let start = Instant::now();
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
        loop {
            if let Some(addresses) = &state.addresses {
                return Ok(addresses.clone());
            }
            if !state.looking {
                let cause = state.error.as_deref().unwrap_or("no address");
                let text = format!("cannot look up {}: {cause}", self.host);
                return Err(io::Error::new(io::ErrorKind::NotFound, text));
            }
            let left = wait.saturating_sub(start.elapsed());
            if left.is_zero() {
                let text = format!("looking up {} takes too long", self.host);
                return Err(io::Error::new(io::ErrorKind::TimedOut, text));
            }
            state = match self.changed.wait_timeout(state, left) {
                Ok((state, _)) => state,
                Err(poisoned) => poisoned.into_inner().0,
            };
        }
    }

    fn is_fresh(&self, state: &State) -> bool {
        let recent = state.looked_up.is_some_and(|at| at.elapsed() < FRESH);
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
        drop(state);
        self.changed.notify_all();
    }

    fn lock(&self) -> may::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};

    use super::*;

    fn resolve(url: &'static str) -> io::Result<Arc<[SocketAddr]>> {
        Resolver::new(&Uri::from_static(url)).resolve(Duration::from_secs(30))
    }

    #[test]
    fn an_address_is_itself() {
        assert_eq!(*resolve("http://127.0.0.1:81").unwrap(), ["127.0.0.1:81".parse().unwrap()]);
        assert_eq!(*resolve("http://[::1]/x").unwrap(), ["[::1]:80".parse().unwrap()]);
    }

    #[test]
    fn a_name_is_looked_up() {
        let addresses = resolve("http://localhost:82").unwrap();
        assert!(addresses.iter().all(|a| a.ip().is_loopback() && a.port() == 82));
    }

    #[test]
    fn a_name_that_is_not_there_is_named() {
        let error = resolve("http://no-such-host.invalid").unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::NotFound);
        assert!(error.to_string().starts_with("cannot look up no-such-host.invalid: "), "{error}");
    }

    /// A name server that hangs: everybody who waits gives up in time, one thread waits
    /// on, and what it finds is found by the next.
    #[test]
    fn a_look_up_that_hangs_holds_nobody() {
        static ASKED: AtomicUsize = AtomicUsize::new(0);
        let resolver = Resolver::with(&Uri::from_static("http://slow.test:83"), |_, port| {
            ASKED.fetch_add(1, SeqCst);
            thread::sleep(Duration::from_secs(1));
            Ok(vec![SocketAddr::from(([127, 0, 0, 1], port))])
        });
        let waiting: Vec<_> = (0..8)
            .map(|_| {
                let resolver = resolver.clone();
                thread::spawn(move || resolver.resolve(Duration::from_millis(100)))
            })
            .collect();
        for waiting in waiting {
            let error = waiting.join().unwrap().unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::TimedOut);
            assert_eq!(error.to_string(), "looking up slow.test takes too long");
        }
        let found = resolver.resolve(Duration::from_secs(30)).unwrap();
        assert_eq!(*found, ["127.0.0.1:83".parse().unwrap()]);
        assert_eq!(ASKED.load(SeqCst), 1);
    }
}
