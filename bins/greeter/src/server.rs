//! Accepting connections, up to a limit, until the service has drained.

use std::io::{self, ErrorKind};
use std::net::{TcpListener, TcpStream};
use std::os::fd::AsRawFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::Duration;

use chassis::log::Limited;
use chassis::runtime::{self, Turns};
use chassis::{Port, Shutdown, healthcheck, port, shutdown};
use may::go;
use may::io::{CoIo, WaitIo};
use socket2::SockRef;

use crate::LOG;
use crate::connection::{self, Limits};
use crate::deadline::Deadlines;
use crate::edge::Edge;
use crate::settings::Settings;
use crate::socket::Socket;

/// Connections over the limit that are answered 503 at a time; more are just closed.
const TURNED_AWAY: usize = 64;

/// Container health checks over the limit that are served at a time: ECS ends a task whose
/// checks fail, and one that is full is well. A check takes a connection, every 5 s.
const CHECKS: usize = 4;

/// The most that the kernel holds for a connection of answers that the client does not read,
/// and as much of requests that are not read here, in bytes; Linux takes twice as many, with
/// its own book-keeping. Without a limit it is 4 to 6 MiB (tcp(7)): 40 clients held 152 MiB.
/// So 4,096 hold 256 MiB, of a task's 512.
const UNREAD: usize = 16 * 1024;

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
        served: Places::new(settings.max_connections),
        turned_away: Places::new(TURNED_AWAY),
        checks: Places::new(CHECKS),
        accept_failed: Limited::new(),
    });
    let listeners = ports
        .into_iter()
        .map(|port| Ok(Arc::new(CoIo::new(listen(port, settings.limits)?)?)))
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
    // What was accepted last is answered, after a quiet second too.
    shutdown::drain(REST, shutdown::LAST_ANSWERS, traffic);
    LOG.event("stop", &[("requests", &edge.traffic().requests), ("quiet", &quiet)]);
    Ok(())
}

/// Listens. Connections inherit what is set here.
fn listen(port: Port, limits: Limits) -> io::Result<TcpListener> {
    let listener = port.listen()?;
    let socket = SockRef::from(&listener);
    socket.set_send_buffer_size(UNREAD)?;
    socket.set_recv_buffer_size(UNREAD)?;
    // Whoever does not read loses the connection, even when all that is to be said is written
    // and the connection is closed here (tcp(7)).
    #[cfg(target_os = "linux")]
    socket.set_tcp_user_timeout(Some(limits.send))?;
    Ok(listener)
}

struct Server {
    edge: Arc<Edge>,
    deadlines: Deadlines,
    served: Arc<Places>,
    turned_away: Arc<Places>,
    checks: Arc<Places>,
    accept_failed: Limited,
}

impl Server {
    fn accept_all(&self, listener: &CoIo<TcpListener>) {
        let turns = Turns::default();
        loop {
            match listener.inner().accept() {
                Ok((stream, _)) => {
                    if let Err(error) = self.start(stream) {
                        self.rest(&error);
                    }
                    turns.count();
                }
                Err(error) => match error.kind() {
                    ErrorKind::WouldBlock => {
                        listener.wait_io();
                        turns.waited();
                    }
                    ErrorKind::Interrupted | ErrorKind::ConnectionAborted => turns.count(),
                    // Shut down: see run().
                    ErrorKind::InvalidInput => return,
                    _ => self.rest(&error),
                },
            }
        }
    }

    fn start(&self, stream: TcpStream) -> io::Result<()> {
        let is_check = || stream.local_addr().is_ok_and(healthcheck::is_check);
        let (place, serve): (_, fn(_, &_)) = if let Some(place) = self.served.take() {
            (place, connection::serve)
        } else if let Some(place) = self.checks.take().filter(|_| is_check()) {
            (place, connection::serve)
        } else if let Some(place) = self.turned_away.take() {
            (place, connection::turn_away)
        } else {
            return Ok(());
        };
        let (socket, edge) = (Socket::new(stream, &self.deadlines)?, self.edge.clone());
        go!(move || {
            let _place = place;
            serve(socket, &edge);
        });
        Ok(())
    }

    fn rest(&self, error: &io::Error) {
        self.accept_failed.event(LOG, "accept failed", &[("cause", error)]);
        self.deadlines.sleep(REST);
    }
}

/// So many connections at a time.
struct Places {
    limit: usize,
    taken: AtomicUsize,
}

/// One of them, until dropped.
struct Place(Arc<Places>);

impl Places {
    fn new(limit: usize) -> Arc<Self> {
        Arc::new(Self { limit, taken: AtomicUsize::new(0) })
    }

    fn take(self: &Arc<Self>) -> Option<Place> {
        let place = Place(self.clone());
        // Counted before it is looked at: dropped, it gives back what it took.
        (self.taken.fetch_add(1, Relaxed) < self.limit).then_some(place)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.0.taken.fetch_sub(1, Relaxed);
    }
}
