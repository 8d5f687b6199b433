//! What passes requests on: the mesh's own proxies, or Envoy.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;

use application::{Kind, Service};

use crate::event::Counted;
use crate::program::Program;
use crate::task::{Task, Traffic};

/// The load balancer, and the proxies between the tasks.
pub(crate) trait Engine: Send + Sync + 'static {
    /// Makes ready for a task that is not there yet.
    ///
    /// # Errors
    ///
    /// A port cannot be had, or a file cannot be written.
    fn add(&self, task: Task, traffic: Traffic) -> io::Result<()>;
    /// Which requests a task gets from now on.
    fn assign(&self, task: Task, traffic: Traffic);
    /// Gives back what `add` took, when the task and its sidecar have ended.
    fn remove(&self, task: Task);

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

    /// Whether the proxies can tell test traffic apart; if not, the reason.
    fn knows_test_traffic(&self) -> Result<(), String>;
    /// The end is near: clients of the load balancer are told to close their connections.
    fn close(&self);

    /// What `answered` counts.
    fn counted(&self) -> Counted;
    /// How often a task has answered that was not counted here before; `None` if nobody knows.
    /// Asked when the task has ended, and its sidecar has not.
    fn answered(&self, task: Task) -> impl Future<Output = Option<u64>> + Send;
    /// Who has ejected the task, or found it unhealthy, and sends it no requests. `greeters` are
    /// the tasks whose sidecars could have.
    fn ejected_by(&self, task: Task, greeters: &[Task])
    -> impl Future<Output = Vec<String>> + Send;
}

/// A process that passes requests on.
pub(crate) struct ProxyProcess {
    pub(crate) name: String,
    pub(crate) program: Program,
    pub(crate) register: Register,
    /// The Unix socket of its administration interface.
    pub(crate) admin: PathBuf,
}

/// Told what becomes of a process.
pub(crate) type Register = Box<dyn Fn(Registration) + Send + Sync>;

/// A process takes requests at an address, or no longer does. Where a new process has taken the
/// place of an old one, the old one's end changes nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Registration {
    Up(SocketAddr),
    Down(SocketAddr),
}

/// What a service's callers have before its tasks, in words.
pub(crate) fn front_name(service: Service) -> &'static str {
    match service.kind {
        Kind::Edge => "load balancer",
        Kind::Leaf => service.dns_name,
    }
}
