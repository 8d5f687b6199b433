//! The proxies: the mesh's own, or Envoys.

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
    /// Prepares for a new task.
    ///
    /// # Errors
    ///
    /// A port cannot be bound, or a file cannot be written.
    pub(crate) fn add(&self, task: Task, traffic: Traffic) -> io::Result<()> {
        match self {
            Self::BuiltIn(proxies) => {
                proxies.assign(task, traffic);
                Ok(())
            }
            Self::Envoy(envoys) => envoys.add(task, traffic),
        }
    }

    /// Sets which requests a task gets from now on.
    pub(crate) fn assign(&self, task: Task, traffic: Traffic) {
        match self {
            Self::BuiltIn(proxies) => proxies.assign(task, traffic),
            Self::Envoy(envoys) => envoys.assign(task, traffic),
        }
    }

    /// Releases the resources of `add`, after the task and its sidecar have ended.
    pub(crate) fn remove(&self, task: Task) {
        match self {
            Self::BuiltIn(proxies) => proxies.remove(task),
            Self::Envoy(envoys) => envoys.remove(task),
        }
    }

    /// The address on which a task is to listen, on any free port.
    pub(crate) fn address(&self, task: Task) -> IpAddr {
        match self {
            Self::BuiltIn(_) => Ipv4Addr::LOCALHOST.into(),
            Self::Envoy(_) => Envoy::address(task),
        }
    }

    /// The address at which a greeter calls a leaf.
    pub(crate) fn upstream(&self, greeter: Task, leaf: Service) -> SocketAddr {
        match self {
            Self::BuiltIn(proxies) => proxies.front(leaf),
            Self::Envoy(envoys) => envoys.upstream(greeter, leaf),
        }
    }

    /// The address of a service, if all callers use the same one.
    pub(crate) fn front(&self, service: Service) -> Option<SocketAddr> {
        match self {
            Self::BuiltIn(proxies) => Some(proxies.front(service)),
            Self::Envoy(envoys) => (service == EDGE).then(|| envoys.front()),
        }
    }

    /// The callback for a task's supervisor: the task begins to take requests, or stops.
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

    /// Announces the end of the mesh: clients of the load balancer are told to close.
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

    /// How many requests a task has answered; `None` if unknown, as after the end of its sidecar.
    pub(crate) async fn answered(&self, task: Task) -> Option<u64> {
        match self {
            Self::BuiltIn(proxies) => Some(proxies.answered(task)),
            Self::Envoy(envoys) => envoys.answered(task).await,
        }
    }

    /// The proxies that have ejected the task, or found it unhealthy. `greeters` are the tasks whose
    /// sidecars may have done so.
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
