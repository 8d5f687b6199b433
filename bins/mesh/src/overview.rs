//! The state of a mesh: its services and tasks.

use std::net::SocketAddr;
use std::path::PathBuf;

use application::EDGE;
use serde::Serialize;

use crate::escape;
use crate::task::Traffic;

/// The whole mesh.
#[derive(Serialize)]
pub(crate) struct Overview {
    /// The load balancer's address.
    pub(crate) address: SocketAddr,
    pub(crate) services: Vec<ServiceOverview>,
}

/// A service and its tasks.
#[derive(Serialize)]
pub(crate) struct ServiceOverview {
    pub(crate) name: &'static str,
    /// The proxy in front of its tasks.
    pub(crate) behind: &'static str,
    /// The user's command in the place of the service.
    pub(crate) command: Option<String>,
    /// That proxy's address, if all callers use the same one.
    pub(crate) address: Option<SocketAddr>,
    /// The load balancer's Envoy.
    pub(crate) envoy: Option<EnvoyOverview>,
    pub(crate) tasks: Vec<TaskOverview>,
}

/// A task.
#[derive(Serialize)]
pub(crate) struct TaskOverview {
    pub(crate) name: String,
    /// Where it takes requests, and its process id, while it runs.
    pub(crate) address: Option<SocketAddr>,
    pub(crate) pid: Option<u32>,
    /// Its sidecar.
    pub(crate) envoy: Option<EnvoyOverview>,
    /// Its variables `VERSION` and `FAULT`.
    pub(crate) version: Option<String>,
    pub(crate) fault: Option<String>,
    pub(crate) traffic: Traffic,
    /// Suspended by `mesh pause`.
    pub(crate) paused: bool,
    /// The proxies that send it no requests.
    pub(crate) ejected_by: Vec<String>,
    /// How many requests it has answered, as its proxies count; `None` if they count connections.
    pub(crate) answered: Option<u64>,
}

/// An Envoy.
#[derive(Serialize)]
pub(crate) struct EnvoyOverview {
    pub(crate) pid: Option<u32>,
    /// The Unix socket of its administration interface.
    pub(crate) admin: PathBuf,
}

impl Overview {
    /// As text, the edge first: a line for each service and for each task.
    pub(crate) fn lines(&self) -> Vec<String> {
        let (edge, leaves): (Vec<_>, Vec<_>) =
            self.services.iter().partition(|service| service.name == EDGE.name);
        edge.into_iter().chain(leaves).flat_map(ServiceOverview::lines).collect()
    }
}

impl ServiceOverview {
    fn lines(&self) -> Vec<String> {
        let address = self.address.map(|at| format!("http://{at}")).unwrap_or_default();
        let own = format!("  {:<18} {address}", self.behind).trim_end().to_owned();
        let command = self.command.as_ref().map(|it| format!("    {}", escape::line(it)));
        std::iter::once(own)
            .chain(command)
            .chain(self.tasks.iter().map(TaskOverview::line))
            .collect()
    }
}

impl TaskOverview {
    fn line(&self) -> String {
        let mut words = match (self.address, self.pid) {
            (Some(address), Some(pid)) => vec![address.to_string(), format!("process {pid}")],
            _ => vec!["not running".to_owned()],
        };
        let envoy = self.envoy.as_ref().and_then(|envoy| envoy.pid);
        words.extend(envoy.map(|pid| format!("Envoy {pid}")));
        words.extend(self.version.as_ref().map(|version| format!("version {version}")));
        words.extend(self.fault.as_ref().map(|fault| format!("fault {}", escape::line(fault))));
        if self.traffic == Traffic::Test {
            words.push("test traffic only".to_owned());
        }
        if self.paused {
            words.push("paused".to_owned());
        }
        words.extend(self.answered.filter(|n| *n > 0).map(|n| format!("{n} answered")));
        if !self.ejected_by.is_empty() {
            words.push(format!("ejected by {}", self.ejected_by.join(" and ")));
        }
        format!("    {:<16} {}", self.name, words.join(", "))
    }
}
