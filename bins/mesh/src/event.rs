//! What happens in a mesh, as it is told: to people by [`crate::output`], to machines as JSON.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;

use serde::Serialize;

/// One thing that happened.
#[derive(Serialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub(crate) enum Event {
    /// All of the mesh takes requests.
    Up(Overview),
    /// A process takes requests.
    Started { process: String, address: SocketAddr, pid: u32 },
    /// A process ended, and is started again after so many milliseconds.
    Ended { process: String, how: String, again_in_ms: u64 },
    /// A process wrote a line.
    Log { process: String, line: String },
    /// The mesh ends, when all its tasks have drained.
    Stopping,
    /// The mesh ends without waiting for its tasks.
    StoppingAtOnce,
    /// What the tasks of a service did since the start.
    Answered(Answered),
}

/// What runs where.
#[derive(Serialize)]
pub(crate) struct Overview {
    /// Where the load balancer takes the application's requests.
    pub(crate) address: SocketAddr,
    pub(crate) services: Vec<ServiceOverview>,
}

/// A service and its tasks.
#[derive(Serialize)]
pub(crate) struct ServiceOverview {
    pub(crate) name: &'static str,
    /// What passes requests on to its tasks.
    pub(crate) behind: &'static str,
    /// Where that is, if it is one place for all who call the service.
    pub(crate) address: Option<SocketAddr>,
    /// The load balancer's Envoy.
    pub(crate) envoy: Option<EnvoyOverview>,
    pub(crate) tasks: Vec<TaskOverview>,
}

/// A task.
#[derive(Serialize)]
pub(crate) struct TaskOverview {
    pub(crate) name: String,
    pub(crate) address: SocketAddr,
    pub(crate) pid: u32,
    /// Its sidecar.
    pub(crate) envoy: Option<EnvoyOverview>,
}

/// An Envoy.
#[derive(Serialize)]
pub(crate) struct EnvoyOverview {
    pub(crate) pid: u32,
    /// The Unix socket of its administration interface.
    pub(crate) admin: PathBuf,
}

/// How often each task answered.
#[derive(Serialize)]
pub(crate) struct Answered {
    /// What passed the requests on.
    pub(crate) behind: &'static str,
    /// What was counted.
    pub(crate) counted: Counted,
    pub(crate) tasks: BTreeMap<String, u64>,
}

/// What a proxy counts: what it balances.
#[derive(Clone, Copy, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Counted {
    Requests,
    Connections,
}
