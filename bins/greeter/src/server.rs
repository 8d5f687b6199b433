//! Accepting connections, up to a limit, until the service has drained.

use std::io;
use std::net::TcpStream;
use std::sync::Arc;

use chassis::log::Limited;
use chassis::memory::HighWaterMark;
use chassis::{Port, Shutdown, healthcheck, port, shutdown};
use may::go;
use net::{Deadlines, Listener, Semaphore, Socket, runtime};

use crate::about::{LOG, VERSION};
use crate::connection::{self, Clients};
use crate::edge::Edge;
use crate::limits;
use crate::settings::Settings;

/// Serves until `shutdown` has drained it.
pub(crate) fn run(settings: Settings, ports: Vec<Port>, shutdown: &Shutdown) -> io::Result<()> {
    let address = port::addresses(&ports);
    let (clients, listeners) = begin(&settings, ports, shutdown)?;
    LOG.event("start", &[("version", &VERSION), ("address", &address)]);

    shutdown.wait();
    LOG.event("drain", &[]);
    let traffic = || clients.counters().traffic();
    let quiet = shutdown::drain(shutdown::QUIET, shutdown::DRAIN_LIMIT, traffic);
    for listener in &listeners {
        // New connections are refused from here on; the proxies use another task.
        listener.shut_down();
    }
    // Connections accepted last are still answered, even after a quiet second.
    shutdown::drain(limits::LAST_QUIET, shutdown::LAST_ANSWERS, traffic);
    LOG.event("stop", &[("requests", &clients.counters().traffic().requests), ("quiet", &quiet)]);
    Ok(())
}

/// Starts listening and serving.
fn begin(
    settings: &Settings,
    ports: Vec<Port>,
    shutdown: &Shutdown,
) -> io::Result<(Arc<Clients>, Vec<Arc<Listener>>)> {
    runtime::init();
    let deadlines = Deadlines::start()?;
    let edge = Edge::new(settings, &deadlines, shutdown.clone());
    let clients = Arc::new(Clients::new(edge, settings.limits, shutdown.clone()));
    let server = Arc::new(Server {
        clients: clients.clone(),
        deadlines,
        served: Semaphore::new(settings.max_connections),
        memory: HighWaterMark::new(16), // fewer take little
        rejected: Semaphore::new(limits::MAX_REJECTIONS),
        checks: Semaphore::new(limits::MAX_HEALTH_CHECKS),
        accept_failed: Limited::new(),
    });
    let listeners = ports
        .into_iter()
        .map(|port| Ok(Arc::new(Listener::new(port.listen()?, settings.limits.send)?)))
        .collect::<io::Result<Vec<_>>>()?;
    for listener in &listeners {
        let (server, listener) = (server.clone(), listener.clone());
        go!(move || server.accept_all(&listener));
    }
    Ok((clients, listeners))
}

struct Server {
    clients: Arc<Clients>,
    deadlines: Deadlines,
    served: Arc<Semaphore>,
    /// The number of served connections, for returning memory.
    memory: HighWaterMark,
    rejected: Arc<Semaphore>,
    checks: Arc<Semaphore>,
    accept_failed: Limited,
}

impl Server {
    fn accept_all(self: &Arc<Self>, listener: &Listener) {
        let failed = |error: &io::Error| {
            self.accept_failed.event(LOG, "accept failed", &[("cause", error)]);
        };
        listener.accept_all(&self.deadlines, |stream| self.start(stream), failed);
    }

    fn start(self: &Arc<Self>, stream: TcpStream) -> io::Result<()> {
        let is_check = || stream.local_addr().is_ok_and(healthcheck::is_check);
        let (permit, serve): (_, fn(_, &_)) = if let Some(permit) = self.served.try_acquire() {
            (permit, connection::serve)
        } else if let Some(permit) = self.checks.try_acquire().filter(|_| is_check()) {
            (permit, connection::serve)
        } else if let Some(permit) = self.rejected.try_acquire() {
            (permit, connection::reject)
        } else {
            return Ok(());
        };
        let (socket, server) = (Socket::new(stream, &self.deadlines)?, self.clone());
        self.memory.raise_to(self.served.acquired());
        go!(move || {
            serve(socket, &server.clients);
            drop(permit);
            server.memory.lower_to(server.served.acquired());
        });
        Ok(())
    }
}
