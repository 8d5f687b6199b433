//! The services of one implementation, while they run.

use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::process::{Command, id};
use std::sync::LazyLock;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::time::Duration;

use application::{EDGE, SERVICES, Service};
use harness::{Client, Process, eventually, get};

use crate::table::count;

/// The leaves, then the edge, which calls them.
pub(crate) struct Services(Vec<Running>);

/// One of them.
pub(crate) struct Running {
    pub(crate) service: Service,
    pub(crate) process: Process,
    pub(crate) address: SocketAddr,
}

impl Services {
    /// Starts them; each has answered once when this returns.
    pub(crate) fn start(folder: &Path) -> Self {
        let mut all = Self(Vec::new());
        for service in SERVICES {
            let address = free_address();
            let mut command = Command::new(folder.join(service.name));
            command.env("PORT", address.port().to_string());
            for Running { service, address, .. } in all.called_by(*service) {
                command.env(service.variable, format!("http://{address}"));
            }
            let process = Process::start(&mut command);
            let silent = format!("{} does not listen", folder.join(service.name).display());
            eventually(&silent, || Client::try_connect(address).is_some());
            all.0.push(Running { service: *service, process, address });
        }
        for Running { service, address, .. } in all.iter() {
            assert_eq!(get(*address, "/").0, 200, "the status of {}", service.name);
        }
        all
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Running> {
        self.0.iter()
    }

    pub(crate) fn find(&self, name: &str) -> &Running {
        self.iter().find(|one| one.service.name == name).expect("it is in the table")
    }

    pub(crate) fn called_by(&self, caller: Service) -> impl Iterator<Item = &Running> {
        self.iter().filter(move |one| caller.calls().contains(&one.service))
    }

    /// Ends the edge, which was the leaves' client.
    pub(crate) fn end_edge(&mut self) {
        self.0.retain(|one| one.service != EDGE);
    }
}

impl Running {
    /// Memory that is resident, in KiB.
    pub(crate) fn memory(&self) -> f64 {
        count(self.process.memory())
    }

    /// CPU time of all threads in seconds, by the scheduler's own clock.
    pub(crate) fn cpu(&self) -> f64 {
        self.process.cpu_of_threads().values().map(Duration::as_secs_f64).sum()
    }
}

/// An address that is not used, nor was since this process began. It is below the ephemeral ports:
/// repeated attempts to connect to one of those may end in a connection to oneself.
pub(crate) fn free_address() -> SocketAddr {
    static NEXT: LazyLock<AtomicU32> = LazyLock::new(|| AtomicU32::new(id()));
    loop {
        let port = 18_000 + NEXT.fetch_add(1, Relaxed) % 14_000;
        let port = u16::try_from(port).expect("less than 32,000");
        if TcpListener::bind(("0.0.0.0", port)).is_ok() {
            return ([127, 0, 0, 1], port).into();
        }
    }
}
