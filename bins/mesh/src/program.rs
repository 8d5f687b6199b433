//! What a supervisor runs, a task or an Envoy, and what that process's log tells of it.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::process::Command;

use serde_json::Value;

use crate::task::Task;

/// A process to be. Both start as the mesh's own binary.
pub(crate) enum Program {
    /// A service, on a free port of the address.
    Task { task: Task, ip: IpAddr, environment: Vec<(&'static str, String)> },
    /// An Envoy that listens on the address, as its configuration says.
    Envoy { executable: PathBuf, configuration: PathBuf, address: SocketAddr },
}

/// What a line of a process's log tells the mesh.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Report {
    /// The process takes requests.
    Listening(SocketAddr),
    /// The process wants no more of them.
    Draining,
}

impl Program {
    /// The command that starts it.
    ///
    /// # Errors
    ///
    /// The mesh does not find its own binary any more.
    pub(crate) fn command(&self) -> io::Result<Command> {
        let mut command = Command::new(std::env::current_exe()?);
        match self {
            Self::Task { task, ip, environment } => {
                command.args(["task", task.service.name, &ip.to_string()]);
                command.env("HOSTNAME", task.to_string()).env("PORT", "0");
                command.envs(environment.iter().map(|(name, value)| (name, value)));
            }
            Self::Envoy { executable, configuration, .. } => {
                command.arg("envoy").args([executable, configuration]);
            }
        }
        Ok(command)
    }

    /// What a line of its log tells the mesh, if anything.
    pub(crate) fn report(&self, line: &str) -> Option<Report> {
        let line: Value = serde_json::from_str(line).ok()?;
        match self {
            Self::Task { .. } => match line["event"].as_str()? {
                "start" => line["address"].as_str()?.parse().ok().map(Report::Listening),
                "drain" => Some(Report::Draining),
                _ => None,
            },
            Self::Envoy { address, .. } => line["text"]
                .as_str()?
                .ends_with("starting workers")
                .then_some(Report::Listening(*address)),
        }
    }

    /// Whether a line of its log is for people: Envoy's information is not, it is all its life.
    pub(crate) fn is_for_people(&self, line: &str) -> bool {
        matches!(self, Self::Task { .. }) || !line.starts_with(r#"{"level":"info""#)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_log_tells_when_a_task_takes_requests() {
        let task = Task { service: application::EDGE, number: 1 };
        let task = Program::Task { task, ip: [127, 0, 0, 1].into(), environment: vec![] };
        let start = r#"{"time":"x","event":"start","address":"127.0.0.1:4000"}"#;
        let listening = Report::Listening("127.0.0.1:4000".parse().unwrap());
        assert_eq!(task.report(start), Some(listening));
        assert_eq!(task.report(r#"{"event":"drain"}"#), Some(Report::Draining));
        for other in ["", "name: cannot start", r#"{"event":"stop"}"#, "[1]", "{\"event\":1}"] {
            assert_eq!(task.report(other), None, "{other}");
        }
    }
}
