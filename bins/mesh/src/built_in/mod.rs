//! The mesh's own proxies: one in front of each service, all in the mesh's process.
//!
//! | module | what it is for |
//! |---|---|
//! | `proxy` | HTTP from clients to targets, balanced per request |
//! | `balance` | whose turn it is, and who is out |
//! | `head` | what a request's head loses and gets on its way; no I/O |
//! | `target` | a task as a proxy sees it: an address, and connections kept open |

mod balance;
mod head;
mod proxy;
mod target;

use std::collections::BTreeMap;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;

use application::{EDGE, LEAVES, SERVICES, Service};
use chassis::Port;
use smol::Async;

use crate::arguments::Options;
use crate::engine::{Engine, ProxyProcess, Register, front_name};
use crate::event::{Answered, Counted};
use crate::loopback;
use crate::task::Task;
use balance::Balance;
use proxy::Proxy;
use target::Target;

/// The proxies of a mesh.
pub(crate) struct BuiltIn {
    /// One for each service: the edge's is the load balancer.
    proxies: BTreeMap<Service, Running>,
}

impl BuiltIn {
    /// Starts the proxies, the load balancer on the port `front`. No task is up yet.
    ///
    /// # Errors
    ///
    /// A port cannot be had.
    pub(crate) fn new(options: Options, front: Port) -> io::Result<Self> {
        let mut proxies = BTreeMap::from([(EDGE, Running::start(EDGE, 0, options.tasks, front)?)]);
        for (place, &leaf) in (1..).zip(LEAVES) {
            let port = loopback::port(0)?;
            proxies.insert(leaf, Running::start(leaf, place, options.tasks, port)?);
        }
        Ok(Self { proxies })
    }

    /// Its proxy. Every service has one.
    fn running(&self, service: Service) -> &Running {
        &self.proxies[&service]
    }
}

/// A proxy that accepts connections, until it is dropped.
struct Running {
    proxy: Arc<Proxy>,
    address: SocketAddr,
    _accepting: smol::Task<()>,
}

impl Running {
    fn start(service: Service, place: u32, tasks: u8, port: Port) -> io::Result<Self> {
        let address = port.address();
        let listener = Async::new(port.listen()?)?;
        let targets = (1..=tasks).map(|number| {
            let task = Task { service, number };
            Arc::new(Target::new(task.to_string()))
        });
        let balance = Balance::new(targets.collect(), service.kind, place);
        let proxy = Arc::new(Proxy::new(front_name(service), service.dns_name, balance));
        let accepting = smol::spawn(proxy.clone().serve(listener));
        Ok(Self { proxy, address, _accepting: accepting })
    }
}

impl Engine for BuiltIn {
    fn address(&self, _: Task) -> IpAddr {
        Ipv4Addr::LOCALHOST.into()
    }

    fn upstream(&self, _: Task, leaf: Service) -> SocketAddr {
        self.running(leaf).address
    }

    fn front(&self, service: Service) -> Option<SocketAddr> {
        Some(self.running(service).address)
    }

    fn register(&self, task: Task) -> Register {
        let place = usize::from(task.number) - 1;
        let target = self.running(task.service).proxy.balance.targets[place].clone();
        Box::new(move |address| match address {
            Some(address) => target.up(address),
            None => target.down(),
        })
    }

    fn sidecar(&self, _: Task) -> Option<ProxyProcess> {
        None
    }

    fn load_balancer(&self) -> Option<ProxyProcess> {
        None
    }

    fn close(&self) {
        self.running(EDGE).proxy.close();
    }

    async fn answered(&self) -> Vec<Answered> {
        let counts = |&service: &Service| Answered {
            behind: front_name(service),
            counted: Counted::Requests,
            tasks: self.running(service).proxy.balance.answered(),
        };
        SERVICES.iter().map(counts).collect()
    }
}
