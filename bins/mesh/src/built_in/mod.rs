//! The mesh's own proxies: one in front of each service, all in the mesh's process.
//!
//! | module | what it is for |
//! |---|---|
//! | `proxy` | HTTP from clients to targets, balanced per request |
//! | `balance` | round robin and ejection |
//! | `head` | rewriting heads between connections; no I/O |
//! | `recording` | what a proxy sees of a request, for the traces |
//! | `target` | a task, as a proxy sees it: an address and pooled connections |

mod balance;
mod head;
mod proxy;
mod recording;
mod target;

use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Instant;

use application::{EDGE, LEAVES, Service};
use chassis::Port;
use smol::Async;

use crate::loopback;
use crate::registration::{Register, Registration};
use crate::task::{Task, Traffic};
use crate::trace::Traces;
use balance::Balance;
use proxy::Proxy;
use target::Target;

/// The proxies of a mesh.
pub(crate) struct BuiltIn {
    /// One for each service: the edge's is the load balancer.
    proxies: BTreeMap<Service, Running>,
}

impl BuiltIn {
    /// Starts the proxies, the load balancer on the port `front`. Their spans go to the traces, if
    /// there are any.
    ///
    /// # Errors
    ///
    /// A port cannot be had.
    pub(crate) fn new(front: Port, traces: Option<&Arc<Traces>>) -> io::Result<Self> {
        let mut proxies = BTreeMap::from([(EDGE, Running::start(EDGE, 0, front, traces)?)]);
        for (place, &leaf) in (1..).zip(LEAVES) {
            proxies.insert(leaf, Running::start(leaf, place, loopback::port(0)?, traces)?);
        }
        Ok(Self { proxies })
    }

    /// Which requests a task gets from now on; a new one is taken in.
    pub(crate) fn assign(&self, task: Task, traffic: Traffic) {
        self.target(task).assign(traffic);
    }

    /// Forgets a task that has ended.
    pub(crate) fn remove(&self, task: Task) {
        self.running(task.service).proxy.balance.remove(task);
    }

    /// Where a service's proxy takes requests.
    pub(crate) fn front(&self, service: Service) -> SocketAddr {
        self.running(service).address
    }

    /// What a task's supervisor calls.
    pub(crate) fn register(&self, task: Task) -> Register {
        let target = self.target(task);
        Box::new(move |registration| match registration {
            Registration::Up(address) => target.up(address),
            Registration::Down(address) => target.down(address),
        })
    }

    /// Has the load balancer say on every answer that it is the last on its connection.
    pub(crate) fn close(&self) {
        self.running(EDGE).proxy.close();
    }

    /// How often a task has answered.
    pub(crate) fn answered(&self, task: Task) -> u64 {
        self.target(task).answered.load(Relaxed)
    }

    /// Whether its proxy sends a task no requests.
    pub(crate) fn is_ejected(&self, task: Task) -> bool {
        self.target(task).is_ejected(Instant::now())
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
    fn start(
        service: Service,
        place: u32,
        port: Port,
        traces: Option<&Arc<Traces>>,
    ) -> io::Result<Self> {
        let address = port.address();
        let listener = Async::new(port.listen()?)?;
        let balance = Balance::new(service, place);
        let proxy = Arc::new(Proxy::new(service, balance, traces.cloned()));
        let accepting = smol::spawn(proxy.clone().serve(listener));
        Ok(Self { proxy, address, _accepting: accepting })
    }
}
