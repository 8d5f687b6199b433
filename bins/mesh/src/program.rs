//! What a supervisor runs: the mesh's own binary, as a task or on its way to Envoy.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use application::Service;
use serde_json::Value;

/// A process to be.
pub(crate) enum Program {
    /// A service, on a free port of the address.
    Task { service: Service, number: usize, ip: IpAddr, environment: Vec<(&'static str, String)> },
    /// An Envoy that listens on the address, as its configuration says.
    Envoy { executable: PathBuf, configuration: PathBuf, address: SocketAddr },
}

/// What a line of a program's log tells.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Event {
    /// It takes requests.
    Start(SocketAddr),
    /// It wants no more of them.
    Drain,
}

impl Program {
    /// The command that starts it.
    pub(crate) fn command(&self) -> io::Result<Command> {
        let mut command = Command::new(std::env::current_exe()?);
        match self {
            Self::Task { service, number, ip, environment } => {
                command.args(["task", service.name, &ip.to_string()]);
                command.env("HOSTNAME", service.task(*number)).env("PORT", "0");
                command.envs(environment.iter().map(|(name, value)| (name, value)));
            }
            Self::Envoy { executable, configuration, .. } => {
                command.arg("envoy").args([executable, configuration]);
            }
        }
        Ok(command)
    }

    /// What a line of its log tells.
    pub(crate) fn event(&self, line: &str) -> Option<Event> {
        let line: Value = serde_json::from_str(line).ok()?;
        match self {
            Self::Task { .. } => match line["event"].as_str()? {
                "start" => line["address"].as_str()?.parse().ok().map(Event::Start),
                "drain" => Some(Event::Drain),
                _ => None,
            },
            Self::Envoy { address, .. } => line["text"]
                .as_str()?
                .ends_with("starting workers")
                .then_some(Event::Start(*address)),
        }
    }

    /// Whether a line of its log is for people. Envoy tells its whole life.
    pub(crate) fn shows(&self, line: &str) -> bool {
        matches!(self, Self::Task { .. }) || !line.starts_with(r#"{"level":"info""#)
    }
}

/// Becomes Envoy, until whoever started this process ends.
pub(crate) fn become_envoy(executable: &Path, configuration: &Path) -> io::Error {
    // Unlike a task, Envoy does not watch its standard input; the kernel has to.
    #[cfg(target_os = "linux")]
    if let Err(error) = nix::sys::prctl::set_pdeathsig(nix::sys::signal::Signal::SIGKILL) {
        return error.into();
    }
    Command::new(executable)
        .arg("--config-path")
        .arg(configuration)
        // A quarter of a CPU has no use for a second worker.
        .args(["--concurrency", "1", "--disable-hot-restart"])
        // `config` says when it takes requests, the others what is wrong; `main` warns of
        // limits that Service Connect does not set either.
        .args(["--log-level", "warning", "--component-log-level", "main:error,config:info"])
        .args(["--log-format", r#"{"level":"%l","text":"%j"}"#])
        .exec()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_log_tells_when_a_task_takes_requests() {
        let ip = [127, 0, 0, 1].into();
        let task = Program::Task { service: application::EDGE, number: 1, ip, environment: vec![] };
        let start = r#"{"time":"x","event":"start","address":"127.0.0.1:4000"}"#;
        assert_eq!(task.event(start), Some(Event::Start("127.0.0.1:4000".parse().unwrap())));
        assert_eq!(task.event(r#"{"event":"drain"}"#), Some(Event::Drain));
        for other in ["", "name: cannot start", r#"{"event":"stop"}"#, "[1]", "{\"event\":1}"] {
            assert_eq!(task.event(other), None, "{other}");
        }
    }
}
