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
use std::sync::atomic::Ordering::Relaxed;
use std::time::Instant;

use application::{EDGE, LEAVES, Service};
use chassis::Port;
use smol::Async;

use crate::arguments::Options;
use crate::engine::{Engine, ProxyProcess, Register, Registration, front_name};
use crate::event::Counted;
use crate::loopback;
use crate::task::{Task, Traffic};
use balance::Balance;
use proxy::Proxy;
use target::Target;

/// The proxies of a mesh.
pub(crate) struct BuiltIn {
    /// One for each service: the edge's is the load balancer.
    proxies: BTreeMap<Service, Running>,
}

impl BuiltIn {
    /// Starts the proxies, the load balancer on the port `front`.
    ///
    /// # Errors
    ///
    /// A port cannot be had.
    pub(crate) fn new(_: Options, front: Port) -> io::Result<Self> {
        let mut proxies = BTreeMap::from([(EDGE, Running::start(EDGE, 0, front)?)]);
        for (place, &leaf) in (1..).zip(LEAVES) {
            proxies.insert(leaf, Running::start(leaf, place, loopback::port(0)?)?);
        }
        Ok(Self { proxies })
    }

    fn target(&self, task: Task) -> Arc<Target> {
        self.running(task.service).proxy.balance.target(task)
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
    fn start(service: Service, place: u32, port: Port) -> io::Result<Self> {
        let address = port.address();
        let listener = Async::new(port.listen()?)?;
        let balance = Balance::new(service, place);
        let proxy = Arc::new(Proxy::new(front_name(service), service.dns_name, balance));
        let accepting = smol::spawn(proxy.clone().serve(listener));
        Ok(Self { proxy, address, _accepting: accepting })
    }
}

impl Engine for BuiltIn {
    fn add(&self, task: Task, traffic: Traffic) -> io::Result<()> {
        self.assign(task, traffic);
        Ok(())
    }

    fn assign(&self, task: Task, traffic: Traffic) {
        self.target(task).assign(traffic);
    }

    // It has no address any more, so it gets no requests.
    fn remove(&self, _: Task) {}

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
        let target = self.target(task);
        Box::new(move |registration| match registration {
            Registration::Up(address) => target.up(address),
            Registration::Down(address) => target.down(address),
        })
    }

    fn sidecar(&self, _: Task) -> Option<ProxyProcess> {
        None
    }

    fn load_balancer(&self) -> Option<ProxyProcess> {
        None
    }

    fn knows_test_traffic(&self) -> Result<(), String> {
        Ok(())
    }

    fn close(&self) {
        self.running(EDGE).proxy.close();
    }

    fn counted(&self) -> Counted {
        Counted::Requests
    }

    async fn answered(&self, task: Task) -> Option<u64> {
        Some(self.target(task).answered.swap(0, Relaxed))
    }

    async fn ejected_by(&self, task: Task, _: &[Task]) -> Vec<String> {
        let proxy = front_name(task.service).to_owned();
        self.target(task).is_ejected(Instant::now()).then_some(proxy).into_iter().collect()
    }
}
