//! What passes requests on: the mesh's own proxies, or Envoy.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;

use application::{Kind, Service};

use crate::event::Answered;
use crate::program::Program;
use crate::task::Task;

/// The load balancer, and the proxies between the tasks.
pub(crate) trait Engine {
    /// Where a task is to listen, on a free port.
    fn address(&self, task: Task) -> IpAddr;
    /// Where a greeter finds a leaf.
    fn upstream(&self, greeter: Task, leaf: Service) -> SocketAddr;
    /// Where everybody finds a service, if there is one such place.
    fn front(&self, service: Service) -> Option<SocketAddr>;
    /// What a task's supervisor calls when the task begins to take requests, and when it ends.
    fn register(&self, task: Task) -> Register;
    /// A task's sidecar, if the engine has one for each task.
    fn sidecar(&self, task: Task) -> Option<ProxyProcess>;
    /// The load balancer's process, if it has one of its own.
    fn load_balancer(&self) -> Option<ProxyProcess>;
    /// The end is near: clients of the load balancer are told to close their connections.
    fn close(&self);
    /// How often each task has answered. Asked when the tasks have ended, and the proxies not.
    async fn answered(&self) -> Vec<Answered>;
}

/// A process that passes requests on.
pub(crate) struct ProxyProcess {
    pub(crate) name: String,
    pub(crate) program: Program,
    /// The Unix socket of its administration interface.
    pub(crate) admin: PathBuf,
}

/// Told where a process takes requests, and, by `None`, when it no longer does.
pub(crate) type Register = Box<dyn Fn(Option<SocketAddr>) + Send + Sync>;

/// What a service's callers have before its tasks, in words.
pub(crate) fn front_name(service: Service) -> &'static str {
    match service.kind {
        Kind::Edge => "load balancer",
        Kind::Leaf => service.dns_name,
    }
}
