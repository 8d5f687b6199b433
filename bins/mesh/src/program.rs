//! What a supervisor runs, a task or an Envoy, and what its log reports.

use std::net::{IpAddr, SocketAddr};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::{env, io};

use serde_json::Value;

use crate::task::Task;
use crate::user_program::UserProgram;

/// A program to run. Every kind starts as the mesh's own binary.
pub(crate) enum Program {
    /// A service, on any free port of the address.
    Task { task: Task, ip: IpAddr, environment: Vec<(&'static str, String)> },
    /// A program of the user's in a service's place: its log reports nothing, but it listens on the
    /// port that it is told.
    User { task: Task, program: UserProgram, environment: Vec<(&'static str, String)> },
    /// An Envoy; its configuration has it listen on the address.
    Envoy { executable: PathBuf, configuration: PathBuf, address: SocketAddr },
}

/// What a line of a process's log reports.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Report {
    /// The process takes requests.
    Listening(SocketAddr),
    /// The process is draining.
    Draining,
}

/// The mesh's own binary. Resolved once, at the start, because the next build replaces the file.
///
/// # Errors
///
/// The system cannot tell.
pub(crate) fn own_binary() -> io::Result<PathBuf> {
    if cfg!(target_os = "linux") {
        // Works for a deleted file too. A forked child still is the same binary until it calls exec,
        // so this path is right in the child as well.
        Ok("/proc/self/exe".into())
    } else {
        std::env::current_exe()
    }
}

impl Program {
    /// The user's program, if it is one.
    pub(crate) fn of_user(&self) -> Option<&UserProgram> {
        if let Self::User { program, .. } = self { Some(program) } else { None }
    }

    /// The command that starts it; a program of the user's is to listen on the port.
    pub(crate) fn command(&self, own_binary: &Path, port: u16) -> Command {
        let mut command = Command::new(own_binary);
        command.arg0("mesh");
        match self {
            Self::Task { task, ip, environment } => {
                command.args(["task", task.service.name, &ip.to_string()]);
                // As in ECS, a task inherits no variables.
                command.env_clear();
                command.env("HOSTNAME", task.to_string()).env("PORT", "0");
                command.envs(environment.iter().map(|(name, value)| (name, value)));
            }
            Self::User { task, program, environment } => {
                command.args(["user-program", program.stop_signal.as_str(), "--"]);
                command.args(&program.words).env_clear();
                // As in an image: where programs are, and where they keep their files.
                command.envs(["PATH", "HOME"].iter().filter_map(|n| Some((n, env::var_os(n)?))));
                command.env("HOSTNAME", task.to_string()).env("PORT", port.to_string());
                command.envs(environment.iter().map(|(name, value)| (name, value)));
            }
            // Keeps the environment: `envoy` may be a script that needs it to find the real one.
            Self::Envoy { executable, configuration, .. } => {
                command.arg("envoy").args([executable, configuration]);
            }
        }
        command
    }

    /// What a line of its log reports, if anything.
    pub(crate) fn report(&self, line: &str) -> Option<Report> {
        let line: Value = serde_json::from_str(line).ok()?;
        match self {
            Self::User { .. } => None,
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

    /// Whether a line of its log is printed. Envoy's lines of level info are too many.
    pub(crate) fn is_printed(&self, line: &str) -> bool {
        !matches!(self, Self::Envoy { .. }) || !line.starts_with(r#"{"level":"info""#)
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
