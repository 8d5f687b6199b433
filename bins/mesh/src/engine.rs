//! What passes requests on: the mesh's own proxies, or Envoy.

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use application::{EDGE, Service};

use crate::built_in::BuiltIn;
use crate::envoy::Envoy;
use crate::event::Counted;
use crate::registration::Register;
use crate::task::{Task, Traffic, front_name};

/// The load balancer, and the proxies between the tasks.
pub(crate) enum Engine {
    BuiltIn(BuiltIn),
    Envoy(Envoy),
}

impl Engine {
    /// Makes ready for a task that is not there yet.
    ///
    /// # Errors
    ///
    /// A port cannot be had, or a file cannot be written.
    pub(crate) fn add(&self, task: Task, traffic: Traffic) -> io::Result<()> {
        match self {
            Self::BuiltIn(proxies) => {
                proxies.assign(task, traffic);
                Ok(())
            }
            Self::Envoy(envoys) => envoys.add(task, traffic),
        }
    }

    /// Which requests a task gets from now on.
    pub(crate) fn assign(&self, task: Task, traffic: Traffic) {
        match self {
            Self::BuiltIn(proxies) => proxies.assign(task, traffic),
            Self::Envoy(envoys) => envoys.assign(task, traffic),
        }
    }

    /// Gives back what `add` took, when the task and its sidecar have ended.
    pub(crate) fn remove(&self, task: Task) {
        match self {
            Self::BuiltIn(proxies) => proxies.remove(task),
            Self::Envoy(envoys) => envoys.remove(task),
        }
    }

    /// Where a task is to listen, on a free port.
    pub(crate) fn address(&self, task: Task) -> IpAddr {
        match self {
            Self::BuiltIn(_) => Ipv4Addr::LOCALHOST.into(),
            Self::Envoy(_) => Envoy::address(task),
        }
    }

    /// Where a greeter finds a leaf.
    pub(crate) fn upstream(&self, greeter: Task, leaf: Service) -> SocketAddr {
        match self {
            Self::BuiltIn(proxies) => proxies.front(leaf),
            Self::Envoy(envoys) => envoys.upstream(greeter, leaf),
        }
    }

    /// Where everybody finds a service, if there is one such place.
    pub(crate) fn front(&self, service: Service) -> Option<SocketAddr> {
        match self {
            Self::BuiltIn(proxies) => Some(proxies.front(service)),
            Self::Envoy(envoys) => (service == EDGE).then(|| envoys.front()),
        }
    }

    /// What a task's supervisor calls when the task begins to take requests, and when it ends.
    pub(crate) fn register(&self, task: Task) -> Register {
        match self {
            Self::BuiltIn(proxies) => proxies.register(task),
            Self::Envoy(envoys) => envoys.register(task),
        }
    }

    /// The engine whose proxies are processes: a sidecar for each task, and the load balancer.
    pub(crate) fn envoys(&self) -> Option<&Envoy> {
        match self {
            Self::BuiltIn(_) => None,
            Self::Envoy(envoys) => Some(envoys),
        }
    }

    /// The end is near: clients of the load balancer are told to close their connections.
    pub(crate) fn close(&self) {
        match self {
            Self::BuiltIn(proxies) => proxies.close(),
            // Its load balancer closes what the greeters close.
            Self::Envoy(_) => {}
        }
    }

    /// What the proxies count.
    pub(crate) fn counted(&self) -> Counted {
        match self {
            Self::BuiltIn(_) => Counted::Requests,
            Self::Envoy(envoys) => envoys.counted(),
        }
    }

    /// How often a task has answered that was not counted here before; `None` if nobody knows.
    /// Asked when the task has ended, and its sidecar has not.
    pub(crate) async fn answered(&self, task: Task) -> Option<u64> {
        match self {
            Self::BuiltIn(proxies) => Some(proxies.answered(task)),
            Self::Envoy(envoys) => envoys.answered(task).await,
        }
    }

    /// Who has ejected the task, or found it unhealthy, and sends it no requests. `greeters` are
    /// the tasks whose sidecars could have.
    pub(crate) async fn ejected_by(&self, task: Task, greeters: &[Task]) -> Vec<String> {
        match self {
            Self::BuiltIn(proxies) if proxies.is_ejected(task) => {
                vec![front_name(task.service).to_owned()]
            }
            Self::BuiltIn(_) => Vec::new(),
            Self::Envoy(envoys) => envoys.ejected_by(task, greeters).await,
        }
    }
}
