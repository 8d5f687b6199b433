//! The command line.

use std::net::IpAddr;
use std::path::PathBuf;

use application::{SERVICES, Service};
use envoy_config::Connect;

/// What to do.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Command {
    Run(Options),
    /// What the mesh starts itself with, once a task: a service, on an address.
    Task(Service, IpAddr),
    /// What the mesh starts itself with, once an Envoy: the program and its configuration.
    Envoy(PathBuf, PathBuf),
    Print(String),
}

/// How to run the mesh.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Options {
    /// Tasks of each service.
    pub(crate) tasks: usize,
    /// The load balancer's port; 0 takes a free one.
    pub(crate) port: u16,
    pub(crate) proxy: Proxy,
    /// What the sidecars balance; the built-in proxies know HTTP only.
    pub(crate) connect: Connect,
}

impl Options {
    /// Every task: its service, and its number from 1.
    pub(crate) fn each_task(self) -> impl Iterator<Item = (Service, usize)> {
        SERVICES.iter().flat_map(move |service| (1..=self.tasks).map(move |n| (*service, n)))
    }
}

/// Who passes requests on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Proxy {
    BuiltIn,
    Envoy,
}

/// More would only share the same CPUs.
const MAX_TASKS: usize = 32;

pub(crate) const USAGE: &str = "\
usage: mesh [--tasks N] [--port N] [--proxy P] [--connect C]

  --tasks N     tasks of each service, 1 to 32 (2)
  --port N      port of the load balancer on 127.0.0.1 (8080; 0 takes a free one)
  --proxy P     built-in, or envoy: a sidecar for each task, and one as load balancer
  --connect C   what Envoy balances between the tasks: http, requests (the default),
                or tcp, whole connections
  --version
  --help";

/// Parses everything behind the program's name.
pub(crate) fn parse(arguments: impl Iterator<Item = String>) -> Result<Command, String> {
    let mut options =
        Options { tasks: 2, port: 8080, proxy: Proxy::BuiltIn, connect: Connect::Http };
    let mut connect = None;
    // --tasks=3 is --tasks 3.
    let mut words = arguments.flat_map(|argument| match argument.split_once('=') {
        Some((option, value)) if option.starts_with("--") => vec![option.into(), value.into()],
        _ => vec![argument],
    });
    while let Some(word) = words.next() {
        let mut value = || words.next().ok_or_else(|| format!("{word} needs a value"));
        match word.as_str() {
            "--tasks" => {
                let value = value()?;
                let tasks = value.parse().ok().filter(|n| (1..=MAX_TASKS).contains(n));
                options.tasks = tasks.ok_or_else(|| {
                    format!("--tasks {value}: give a number from 1 to {MAX_TASKS}")
                })?;
            }
            "--port" => {
                let value = value()?;
                options.port = value
                    .parse()
                    .map_err(|_| format!("--port {value}: give a number from 0 to 65535"))?;
            }
            "--proxy" => {
                options.proxy = match value()?.as_str() {
                    "built-in" => Proxy::BuiltIn,
                    "envoy" => Proxy::Envoy,
                    other => return Err(format!("--proxy {other}: give built-in or envoy")),
                };
            }
            "--connect" => {
                connect = Some(match value()?.as_str() {
                    "http" => Connect::Http,
                    "tcp" => Connect::Tcp,
                    other => return Err(format!("--connect {other}: give http or tcp")),
                });
            }
            "task" => {
                let name = value()?;
                let service = Service::find(&name).ok_or_else(|| format!("no service {name}"))?;
                let ip = value()?;
                let ip = ip.parse().map_err(|_| format!("no address: {ip}"))?;
                return Ok(Command::Task(service, ip));
            }
            "envoy" => return Ok(Command::Envoy(value()?.into(), value()?.into())),
            "--version" | "-V" => {
                return Ok(Command::Print(concat!("mesh ", env!("CARGO_PKG_VERSION")).into()));
            }
            "--help" | "-h" => return Ok(Command::Print(USAGE.into())),
            _ => return Err(format!("unknown argument {word}")),
        }
    }
    if let Some(connect) = connect {
        if options.proxy != Proxy::Envoy {
            return Err("--connect is for --proxy envoy".to_owned());
        }
        options.connect = connect;
    }
    Ok(Command::Run(options))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(line: &str) -> Result<Command, String> {
        parse(line.split_whitespace().map(String::from))
    }

    #[test]
    fn options_have_defaults() {
        let run =
            |tasks, port, proxy, connect| Ok(Command::Run(Options { tasks, port, proxy, connect }));
        assert_eq!(parsed(""), run(2, 8080, Proxy::BuiltIn, Connect::Http));
        assert_eq!(parsed("--port=0 --tasks=1"), run(1, 0, Proxy::BuiltIn, Connect::Http));
        assert_eq!(parsed("--proxy envoy"), run(2, 8080, Proxy::Envoy, Connect::Http));
        let tcp = run(2, 8080, Proxy::Envoy, Connect::Tcp);
        assert_eq!(parsed("--connect tcp --proxy envoy"), tcp);
    }

    #[test]
    fn what_is_wrong_is_named() {
        for (line, error) in [
            ("--tasks 0", "--tasks 0: give a number from 1 to 32"),
            ("--tasks many", "--tasks many: give a number from 1 to 32"),
            ("--tasks", "--tasks needs a value"),
            ("--port 65536", "--port 65536: give a number from 0 to 65535"),
            ("--prot 80", "unknown argument --prot"),
            ("--proxy nginx", "--proxy nginx: give built-in or envoy"),
            ("--proxy envoy --connect grpc", "--connect grpc: give http or tcp"),
            ("--connect tcp", "--connect is for --proxy envoy"),
            ("task cook 127.0.0.1", "no service cook"),
            ("task name there", "no address: there"),
        ] {
            assert_eq!(parsed(line), Err(error.to_owned()));
        }
    }
}
