//! The HTTP of a leaf: a service that answers from memory, on `may_minihttp`.
//!
//! Only the task's own sidecar and its own health check talk to a leaf, and
//! `may_minihttp` is the fastest way to answer those. It has no limits, and its interface
//! gives hold on little: a service is made for each connection, told the number of its
//! socket, and asked once a request. What is made of that:
//!
//! | module | what it is for |
//! |---|---|
//! | `connection` | the answers, and the end of a connection right behind the last one |
//! | `answer` | what is answered, as the library writes it and as we do |
//! | `fault` | what it does wrong on purpose |
//! | `scheduling` | when the kernel lets it run |
//! | `request` | where a request ends, and whether another may follow |
//! | `turns` | whether a coroutine has waited |
//! | `watch` | the limits in number, time and memory |
//! | `socket` | what can be done with the number of a socket |
//!
//! What it gives no hold on, each held by a test of `harness::contract`:
//!
//! - More than 16 request headers: the connection is closed without an answer (its
//!   parser has room for 16). Two Envoys bring about 12; greeter passes on six at most.
//! - A malformed head: closed without an answer, and so are the requests before it in the
//!   same segment: the library parses it before it writes their answers, then gives up.
//! - HEAD: `Content-Length: 0`. The library derives it from the body, which HEAD has none of.
//! - A client that half-closes right after its request may get no answer: the library sees
//!   the end of input before it looks at the input.
//! - A chunked body cannot be read: 400, and the connection ends. `100 Continue` cannot be
//!   said: who waits for it gets the answer without it. A body of known length is read away;
//!   whichever it is, the connection ends with it.
//! - Where more stands behind the last request than was read, the client may lose what it has
//!   not taken yet to a reset; where more stands there than the library's buffer holds, some
//!   empty 200s may follow the answer that says `Connection: close`.
//! - A head without an end: the service is not asked before it is whole, and the library
//!   takes all of it. `watch` sees but the memory that goes, and bounds that.
//! - A failed accept (no files are left in the whole system): the library tries again at
//!   once. Of its own files a leaf never runs out.

use std::fmt::Display;
use std::fs::File;
use std::io;
use std::os::fd::RawFd;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};

use may_minihttp::HttpServiceFactory;

use chassis::log::Log;
use chassis::settings::{self, Env, Invalid};
use chassis::shutdown::{self, Shutdown, Traffic};
use chassis::{Port, Service, port, runtime};

mod answer;
mod connection;
mod fault;
mod request;
mod scheduling;
mod socket;
mod turns;
mod watch;

use connection::Connection;
use fault::Faults;
use socket::Handles;
use turns::{Moment, Turns};
use watch::Watch;

/// What makes one leaf different from the other.
///
/// ```
/// use chassis::Service;
/// use leaf::{self, Leaf};
///
/// struct Farewell;
///
/// impl Leaf for Farewell {
///     const NAME: &'static str = "farewell";
///     const VERSION: &'static str = "1.0.0";
///     const ABOUT: &'static str = "answers with a farewell";
///
///     fn pick() -> &'static str {
///         "Goodbye"
///     }
/// }
///
/// pub const SERVICE: Service<leaf::Settings> = leaf::service::<Farewell>();
/// # assert_eq!(SERVICE.name, "farewell");
/// ```
pub trait Leaf {
    /// Its name, for the command line and the log.
    const NAME: &'static str;
    /// Its version: `env!("CARGO_PKG_VERSION")`.
    const VERSION: &'static str;
    /// One line for `--help`.
    const ABOUT: &'static str;

    /// Picks the word to answer with.
    fn pick() -> &'static str;
}

/// What can be set.
#[derive(Debug)]
pub struct Settings {
    /// Who answers say they come from.
    host: String,
    faults: Faults,
}

impl Settings {
    fn read(env: Env) -> Result<Self, Invalid> {
        Ok(Self { host: settings::host(env)?, faults: Faults::read(env)? })
    }
}

/// The service that answers `WORD (host)` on every path but `/health`.
#[must_use]
pub const fn service<L: Leaf>() -> Service<Settings> {
    Service {
        name: L::NAME,
        version: L::VERSION,
        about: L::ABOUT,
        variables: || fault::HELP.into(),
        settings: Settings::read,
        run: run::<L>,
    }
}

/// Serves until `shutdown` has drained it.
///
/// The library cannot be told to stop listening: its listeners end with the process.
fn run<L: Leaf>(settings: Settings, ports: Vec<Port>, shutdown: &Shutdown) -> io::Result<()> {
    // First: threads take after the one that starts them.
    scheduling::wait_for_a_turn();
    let log = Log::new(L::NAME);
    let address = port::addresses(&ports);
    let shared = runtime::start(|| {
        let shared = Arc::new(Shared {
            pick: L::pick,
            host: format!(" ({})", settings.host).into(),
            faults: settings.faults,
            requests: AtomicU64::new(0),
            delayed: AtomicUsize::new(0),
            shutdown: shutdown.clone(),
            handles: Handles::new()?,
            turns: Turns::start(),
            watch: Watch::start()?,
        });
        for port in &ports {
            Connections::new(&shared).start(port.share()?)?;
        }
        silence_the_library()?;
        Ok(shared)
    })?;
    let start: [(&str, &dyn Display); 3] =
        [("version", &L::VERSION), ("address", &address), ("fault", &shared.faults)];
    log.event("start", if shared.faults.any() { &start } else { &start[..2] });
    shutdown.wait();
    log.event("drain", &[]);
    let requests = || shared.requests.load(Relaxed);
    // Without a delay, an answer is written in the same turn of the worker its request is read in.
    let traffic = || Traffic { requests: requests(), in_flight: shared.delayed.load(Relaxed) };
    let quiet = shutdown::drain(shutdown::QUIET, shutdown::DRAIN_LIMIT, traffic);
    log.event("stop", &[("requests", &requests()), ("quiet", &quiet)]);
    Ok(())
}

/// The library writes a line to standard error for every bad head, panics when it cannot,
/// and waits when nobody reads them. Nothing of ours goes there once we serve, so from here
/// on it is a file open for reading: each write fails with EBADF, which std takes for a
/// closed standard error and ignores.
fn silence_the_library() -> io::Result<()> {
    Ok(rustix::stdio::dup2_stderr(File::open("/")?)?)
}

struct Shared {
    pick: fn() -> &'static str,
    /// ` (host)`: what follows the word.
    host: Box<str>,
    /// Words given. Health checks do not count: they would keep a drain from being quiet.
    requests: AtomicU64,
    faults: Faults,
    /// Requests whose answer a fault holds back.
    delayed: AtomicUsize,
    shutdown: Shutdown,
    handles: Handles,
    turns: Turns,
    watch: Watch,
}

struct Connections {
    shared: Arc<Shared>,
    /// With a queue of connections, accepting never waits.
    accepted: runtime::Streak,
    /// When the last one was accepted.
    moment: Mutex<Moment>,
}

impl Connections {
    fn new(shared: &Arc<Shared>) -> Self {
        let (accepted, moment) = Default::default();
        Self { shared: shared.clone(), accepted, moment }
    }
}

impl HttpServiceFactory for Connections {
    type Service = Connection;

    /// `id` is the connection's file descriptor.
    fn new_service(&self, id: usize) -> Connection {
        // One coroutine accepts, so nobody waits for the lock.
        let mut moment = self.moment.lock().unwrap_or_else(PoisonError::into_inner);
        if self.shared.turns.has_waited(*moment) {
            self.accepted.waited();
        }
        self.accepted.count();
        let fd = RawFd::try_from(id).unwrap_or(-1);
        let connection = Connection::new(self.shared.clone(), fd);
        *moment = self.shared.turns.mark();
        connection
    }
}
