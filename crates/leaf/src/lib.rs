//! A leaf: a service that answers from memory, on `may_minihttp`.
//!
//! greeter faces strangers; a leaf does not. Only its sidecar and its own health check reach it, in a
//! security group that admits nothing else (SECURITY.md). `may_minihttp` is the fastest way to answer
//! those. It has no limits and few hooks: it makes a service for each connection, passes it the number
//! of the socket, and calls it for each request. It reads and writes by itself; a leaf ends a
//! connection's input behind the last answer (`connection`). The bounds are the kernel's (`socket`)
//! and those of one watch (`watch`). `scheduling` is about CPU time, `fault` about errors on purpose.
//!
//! docs/http.md lists what the library does not support, and a test holds each row but one: the library
//! reads until EAGAIN (`http_server.rs`), so a client that floods a throttled leaf with one head may
//! hold the worker. No client behind a sidecar does.

use std::fmt::Display;
use std::fs::File;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use chassis::log::Log;
use chassis::settings::{self, Env, Invalid};
use chassis::shutdown::{self, Shutdown, Traffic};
use chassis::{Port, Service, port};
use may_minihttp::HttpServiceFactory;
use net::runtime::{self, CoopBudget};
use nix::unistd::dup2_stderr;

mod answer;
mod connection;
mod fault;
mod request;
mod scheduling;
mod socket;
mod watch;

pub use answer::{Answer, JSON, TEXT};
use connection::{Connection, Shared};
use fault::Faults;
pub use fault::check_fault;
pub use request::Request;
use watch::{Memory, Watch};

/// What makes one leaf different from another: `examples/wishes` is one. Its value holds its
/// settings, and what it keeps.
pub trait Handler: Sized + Send + Sync + 'static {
    /// Its name, for the command line and the log.
    const NAME: &'static str;
    /// Its version: `env!("CARGO_PKG_VERSION")`.
    const VERSION: &'static str;
    /// One line for `--help`.
    const ABOUT: &'static str;
    /// The variables of its own: a line each for `--help`.
    const VARIABLES: &'static str = "";

    /// Reads its own settings. An error ends the start with exit code 78.
    fn new(env: Env) -> Result<Self, Invalid>;

    /// Answers a request, any but those for `/health`.
    ///
    /// All connections share one thread. Whatever blocks it, a lock that is held for long, a
    /// blocking socket, a file, holds all of them up; waiting with `may` holds up this one, whose
    /// client is dropped after 10 to 16 s. The stack has 128 KiB. A panic ends the process.
    fn answer(&self, request: &Request) -> Answer;
}

/// What can be set.
#[derive(Debug)]
pub struct Settings<H> {
    host: String,
    faults: Faults,
    handler: H,
}

/// The service that answers as the handler does, and on `/health`.
#[must_use]
pub const fn service<H: Handler>() -> Service<Settings<H>> {
    Service {
        name: H::NAME,
        version: H::VERSION,
        about: H::ABOUT,
        variables: || [H::VARIABLES, fault::HELP].concat(),
        settings: |env| {
            let (host, faults) = (settings::host(env)?, Faults::read(env)?);
            Ok(Settings { host, faults, handler: H::new(env)? })
        },
        run: run::<H>,
    }
}

/// Serves until `shutdown` has drained it. The library's listeners end with the process.
fn run<H: Handler>(settings: Settings<H>, ports: Vec<Port>, shutdown: &Shutdown) -> io::Result<()> {
    // First: threads inherit it.
    scheduling::wait_for_a_turn();
    let log = Log::new(H::NAME);
    let address = port::addresses(&ports);
    let Settings { host, faults, handler } = settings;
    runtime::init();
    let shared = Arc::new(Shared {
        handler: Box::new(move |request| handler.answer(request)),
        host: format!(" ({host})").into(),
        faults,
        requests: 0.into(),
        in_flight: 0.into(),
        shutdown: shutdown.clone(),
        watch: Watch::new(),
    });
    for address in port::share(&ports)? {
        let accepting = CoopBudget::default();
        Connections { shared: shared.clone(), accepting }.start(address)?;
    }
    // The library writes a line to standard error for every bad head: it panics if that fails, and
    // blocks if nobody reads. From here on standard error is a file open for reading: writes fail
    // with EBADF, which std takes for a closed standard error and ignores.
    dup2_stderr(File::open("/")?)?;
    let start: [(&str, &dyn Display); 3] =
        [("version", &H::VERSION), ("address", &address), ("fault", &shared.faults)];
    log.event("start", if shared.faults.any() { &start } else { &start[..2] });
    let mut memory = Memory::new();
    shutdown.wait_and_look(|| shared.watch.look(&mut memory));
    log.event("drain", &[]);
    let mut traffic = || {
        shared.watch.look(&mut memory);
        shared.traffic()
    };
    let quiet = shutdown::drain(shutdown::QUIET, shutdown::DRAIN_LIMIT, &mut traffic);
    // Lets what is still in flight be answered and written, whatever else is asked.
    let in_flight = || Traffic { requests: 0, ..traffic() };
    shutdown::drain(Duration::from_millis(20), shutdown::LAST_ANSWERS, in_flight);
    log.event("stop", &[("requests", &shared.traffic().requests), ("quiet", &quiet)]);
    Ok(())
}

/// Makes a service for each connection. While connections are queued, accepting never waits.
struct Connections {
    shared: Arc<Shared>,
    accepting: CoopBudget,
}

impl HttpServiceFactory for Connections {
    type Service = Connection;

    fn new_service(&self, id: usize) -> Connection {
        let connection = Connection::new(self.shared.clone(), id);
        if connection.progress.is_none() {
            // Files of refused connections are not counted: the others are closed meanwhile.
            runtime::yield_now();
        } else {
            self.accepting.spend();
        }
        connection
    }
}
