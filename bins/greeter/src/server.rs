//! Accepting connections, up to a limit, until the service has drained.

use std::io::{self, ErrorKind};
use std::net::{TcpListener, TcpStream};
use std::os::fd::AsRawFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::Duration;

use chassis::log::Limited;
use chassis::{Port, Shutdown, port, runtime, shutdown};
use may::coroutine;
use may::go;
use may::io::{CoIo, WaitIo};

use crate::LOG;
use crate::connection;
use crate::deadline::Deadlines;
use crate::edge::Edge;
use crate::settings::Settings;
use crate::socket::Socket;

/// Connections over the limit that are answered 503 at a time; more are just closed.
const TURNED_AWAY: usize = 64;

/// How long accepting rests when it fails: there are no files left until some connection
/// ends, and trying again at once would take the CPU that ending needs.
const REST: Duration = Duration::from_millis(50);

/// Serves until `shutdown` has drained it.
pub(crate) fn run(settings: Settings, ports: Vec<Port>, shutdown: &Shutdown) -> io::Result<()> {
    runtime::init()?;
    let deadlines = Deadlines::start()?;
    let edge = Arc::new(Edge::new(&settings, &deadlines, shutdown.clone()));

    let address = port::addresses(&ports);
    let server = Arc::new(Server {
        edge: edge.clone(),
        deadlines,
        connections: AtomicUsize::new(0),
        max_connections: settings.max_connections,
        accept_failed: Limited::new(),
    });
    let listeners = ports
        .into_iter()
        .map(|port| Ok(Arc::new(CoIo::new(port.listen()?)?)))
        .collect::<io::Result<Vec<_>>>()?;
    for listener in &listeners {
        let (server, listener) = (server.clone(), listener.clone());
        go!(move || server.accept_all(&listener));
    }
    LOG.event("start", &[("version", &crate::SERVICE.version), ("address", &address)]);

    shutdown.wait();
    LOG.event("drain", &[]);
    let traffic = || edge.traffic();
    let quiet = shutdown::drain(shutdown::QUIET, shutdown::DRAIN_LIMIT, traffic);
    for listener in &listeners {
        // New connections are refused from here on: the proxies try another task.
        let _ = nix::sys::socket::shutdown(listener.as_raw_fd(), nix::sys::socket::Shutdown::Read);
    }
    if !quiet {
        shutdown::drain(REST, shutdown::LAST_ANSWERS, traffic);
    }
    LOG.event("stop", &[("requests", &edge.traffic().requests), ("quiet", &quiet)]);
    Ok(())
}

struct Server {
    edge: Arc<Edge>,
    deadlines: Deadlines,
    connections: AtomicUsize,
    max_connections: usize,
    accept_failed: Limited,
}

impl Server {
    fn accept_all(self: &Arc<Self>, listener: &CoIo<TcpListener>) {
        loop {
            match listener.inner().accept() {
                Ok((stream, _)) => {
                    if let Err(error) = self.start(stream) {
                        self.rest(&error);
                    }
                }
                Err(error) => match error.kind() {
                    ErrorKind::WouldBlock => {
                        listener.wait_io();
                    }
                    ErrorKind::Interrupted | ErrorKind::ConnectionAborted => {}
                    // Shut down: see run().
                    ErrorKind::InvalidInput => return,
                    _ => self.rest(&error),
                },
            }
        }
    }

    fn start(self: &Arc<Self>, stream: TcpStream) -> io::Result<()> {
        let place = Place::take(self);
        let serve = match place.number {
            number if number <= self.max_connections => connection::serve,
            number if number <= self.max_connections + TURNED_AWAY => connection::turn_away,
            _ => return Ok(()),
        };
        let socket = Socket::new(stream, &self.deadlines)?;
        go!(move || serve(socket, &place.server.edge));
        Ok(())
    }

    fn rest(&self, error: &io::Error) {
        self.accept_failed.event(LOG, "accept failed", &[("cause", error)]);
        coroutine::sleep(REST);
    }
}

/// A connection's place among those open.
struct Place {
    server: Arc<Server>,
    number: usize,
}

impl Place {
    fn take(server: &Arc<Server>) -> Self {
        let number = server.connections.fetch_add(1, Relaxed) + 1;
        Self { server: server.clone(), number }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.server.connections.fetch_sub(1, Relaxed);
    }
}
