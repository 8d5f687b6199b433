//! The mesh's own proxies: one in front of each service, all in the mesh's process.
//!
//! | module | what it is for |
//! |---|---|
//! | `proxy` | HTTP from clients to targets, balanced per request |
//! | `head` | what a request's head loses and gets on its way; no I/O |
//! | `target` | a task as a proxy sees it: an address, and connections kept open |

mod head;
mod proxy;
mod target;

use std::collections::BTreeMap;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use application::{EDGE, LEAVES, Service};
use chassis::Port;
use smol::{Async, Task};

use crate::arguments::Options;
use crate::mesh::{Engine, Register, loopback};
use crate::program::Program;
use proxy::Proxy;
use target::Target;

/// The proxies of a mesh.
pub(crate) struct BuiltIn {
    /// The load balancer, and a proxy for each service that greeter calls.
    proxies: BTreeMap<Service, Running>,
}

impl BuiltIn {
    /// Starts the proxies. No task is up yet.
    ///
    /// # Errors
    ///
    /// A port cannot be had.
    pub(crate) fn new(options: Options, front: Port) -> io::Result<Self> {
        let tasks = options.tasks;
        let mut proxies =
            BTreeMap::from([(EDGE, Running::start("load balancer", EDGE, tasks, front)?)]);
        for &leaf in LEAVES {
            proxies.insert(leaf, Running::start(leaf.dns_name, leaf, tasks, loopback(0)?)?);
        }
        Ok(Self { proxies })
    }

    fn running(&self, service: Service) -> &Running {
        &self.proxies[&service]
    }
}

/// A proxy that accepts connections, until it is dropped.
struct Running {
    proxy: Arc<Proxy>,
    address: SocketAddr,
    _accepting: Task<()>,
}

impl Running {
    fn start(name: &'static str, service: Service, tasks: usize, port: Port) -> io::Result<Self> {
        let address = port.address();
        let listener = Async::new(port.listen()?)?;
        let targets = (1..=tasks).map(|number| Arc::new(Target::new(service.task(number))));
        let proxy = Proxy::new(name, service.dns_name, targets.collect());
        let accepting = smol::spawn(proxy.clone().serve(listener));
        Ok(Self { proxy, address, _accepting: accepting })
    }
}

impl Engine for BuiltIn {
    fn address(&self, _: Service, _: usize) -> IpAddr {
        Ipv4Addr::LOCALHOST.into()
    }

    fn upstream(&self, _: usize, leaf: Service) -> SocketAddr {
        self.running(leaf).address
    }

    fn front(&self, service: Service) -> Option<SocketAddr> {
        Some(self.running(service).address)
    }

    fn register(&self, service: Service, number: usize) -> Register {
        let target = self.running(service).proxy.targets[number - 1].clone();
        Box::new(move |address| match address {
            Some(address) => target.up(address),
            None => target.down(),
        })
    }

    fn programs(&self) -> Vec<Vec<(String, Program)>> {
        Vec::new()
    }

    fn hint(&self) -> Option<String> {
        None
    }

    fn close(&self) {
        self.running(EDGE).proxy.close();
    }

    fn answered(&self) -> Vec<String> {
        let counts = |running: &Running| {
            let counts = running.proxy.targets.iter();
            let counts = counts.map(|t| format!("{} {}", t.name, t.answered.load(Relaxed)));
            format!("{} answered: {}", running.proxy.name, counts.collect::<Vec<_>>().join(", "))
        };
        [EDGE].iter().chain(LEAVES).map(|service| counts(self.running(*service))).collect()
    }
}
