//! The command line.

use std::ffi::OsString;
use std::net::IpAddr;
use std::path::PathBuf;

use clap::builder::{PossibleValuesParser, RangedU64ValueParser, TypedValueParser};
use clap::error::ErrorKind;
use clap::{Parser, Subcommand, ValueEnum};
use envoy_config::Connect;

use crate::child::ServiceProgram;
use crate::control::Ask;
use crate::load;
use crate::output::Output;
use crate::task::MAX_TASKS;

const DEFAULT_PORT: u16 = 8080;

/// The whole application on this machine: tasks, proxies between them, and a load balancer.
#[derive(Parser)]
#[command(name = "mesh", version, args_conflicts_with_subcommands = true)]
struct CommandLine {
    #[command(flatten)]
    options: Options,
    #[command(subcommand)]
    command: Option<Command>,
}

/// What the binary is asked to do.
pub(crate) enum Action {
    /// To run a mesh.
    Run(Options),
    /// To ask the mesh with this port, or the only one.
    Ask(Option<u16>, Ask),
    /// To put load on a URL, or on that mesh.
    Load(Option<u16>, load::Options),
    /// To be a process of a mesh.
    Be(Child),
    /// To say something, and that is all.
    Print(String),
}

/// How to run the mesh.
#[derive(clap::Args, Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Options {
    /// Tasks of each service.
    #[arg(long, value_name = "N", default_value_t = 2)]
    #[arg(value_parser = RangedU64ValueParser::<u8>::new().range(1..=MAX_TASKS.into()))]
    #[arg(help = format!("Tasks of each service, 1 to {MAX_TASKS}"))]
    pub(crate) tasks: u8,

    /// The port as it was given.
    #[arg(long, value_name = "N", global = true)]
    #[arg(help = format!("Port of the load balancer on 127.0.0.1, 0 for a free one [default: {DEFAULT_PORT}]; \
                          from another terminal: of the mesh that is meant, if several run"))]
    port: Option<u16>,

    /// What passes requests on
    #[arg(long, value_name = "P", value_enum, default_value_t = Proxies::BuiltIn)]
    pub(crate) proxy: Proxies,

    /// What Envoy balances between the tasks: requests, or whole connections
    #[arg(long, value_name = "C", default_value = "http", value_parser = connect_parser())]
    pub(crate) connect: Connect,

    /// Say everything in JSON, one object a line, for machines
    #[arg(long)]
    json: bool,
}

impl Options {
    /// The load balancer's port; 0 takes a free one.
    pub(crate) fn port(self) -> u16 {
        self.port.unwrap_or(DEFAULT_PORT)
    }

    /// How what happens is told.
    pub(crate) fn output(self) -> Output {
        if self.json { Output::Machines } else { Output::People }
    }
}

/// What passes requests on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Proxies {
    /// The mesh's own proxies
    BuiltIn,
    /// Envoy: a sidecar for each task, and one as load balancer
    Envoy,
}

fn connect_parser() -> impl TypedValueParser<Value = Connect> {
    PossibleValuesParser::new(["http", "tcp"])
        .map(|word| if word == "tcp" { Connect::Tcp } else { Connect::Http })
}

/// What else the binary does.
#[derive(Subcommand)]
enum Command {
    #[command(flatten)]
    Ask(Ask),
    /// Ask for greetings all the time, and say how many came, how fast, and from whom
    Load(load::Options),
    #[command(flatten)]
    Be(Child),
}

/// What the mesh starts itself with.
#[derive(Subcommand)]
pub(crate) enum Child {
    /// Once a task: a service, on an address.
    #[command(hide = true)]
    Task {
        #[arg(value_parser = ServiceProgram::find)]
        service: ServiceProgram,
        ip: IpAddr,
    },
    /// Once an Envoy: the program and its configuration.
    #[command(hide = true)]
    Envoy { executable: PathBuf, configuration: PathBuf },
}

/// Parses the command line, the program's name first.
///
/// # Errors
///
/// One line that says what is wrong, and what would be right.
pub(crate) fn parse(words: impl IntoIterator<Item = OsString>) -> Result<Action, String> {
    let line = match CommandLine::try_parse_from(words) {
        Ok(line) => line,
        Err(error) => match error.kind() {
            ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => {
                return Ok(Action::Print(error.to_string()));
            }
            _ => return Err(one_line(&error.to_string())),
        },
    };
    Ok(match line.command {
        Some(Command::Ask(ask)) => Action::Ask(line.options.port, ask),
        Some(Command::Load(options)) => Action::Load(line.options.port, options),
        Some(Command::Be(child)) => Action::Be(child),
        None if line.options.connect == Connect::Tcp && line.options.proxy != Proxies::Envoy => {
            return Err("--connect tcp is for --proxy envoy".to_owned());
        }
        None => Action::Run(line.options),
    })
}

/// clap's words without their title and without the usage at their end.
fn one_line(error: &str) -> String {
    let lines = error.lines().take_while(|line| {
        !line.starts_with("Usage:") && !line.starts_with("For more information")
    });
    let lines: Vec<_> = lines.map(str::trim).filter(|line| !line.is_empty()).collect();
    let line = lines.join("; ").replace("; [", " [");
    format!("{}; see --help", line.strip_prefix("error: ").unwrap_or(&line))
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    fn parsed(line: &str) -> Result<Action, String> {
        parse(std::iter::once("mesh").chain(line.split_whitespace()).map(OsString::from))
    }

    #[test]
    fn clap_finds_nothing_wrong_with_the_description() {
        CommandLine::command().debug_assert();
    }

    #[test]
    fn options_have_defaults() {
        let run = |line, tasks, port, proxy, connect| match parsed(line) {
            Ok(Action::Run(options)) => {
                assert_eq!(options, Options { tasks, port, proxy, connect, json: false }, "{line}");
            }
            _ => panic!("{line} does not run"),
        };
        run("", 2, None, Proxies::BuiltIn, Connect::Http);
        run("--port=0 --tasks=1", 1, Some(0), Proxies::BuiltIn, Connect::Http);
        run("--proxy envoy", 2, None, Proxies::Envoy, Connect::Http);
        run("--connect tcp --proxy envoy", 2, None, Proxies::Envoy, Connect::Tcp);
    }

    #[test]
    fn what_is_wrong_is_named_in_one_line() {
        for (line, error) in [
            ("--tasks 0", "invalid value '0' for '--tasks <N>': 0 is not in 1..=32"),
            (
                "--tasks many",
                "invalid value 'many' for '--tasks <N>': invalid digit found in string",
            ),
            ("--tasks", "a value is required for '--tasks <N>' but none was supplied"),
            ("--port 65536", "invalid value '65536' for '--port <N>': 65536 is not in 0..=65535"),
            (
                "--prot 80",
                "unexpected argument '--prot' found; tip: a similar argument exists: '--port'",
            ),
            (
                "--proxy nginx",
                "invalid value 'nginx' for '--proxy <P>' [possible values: built-in, envoy]",
            ),
            (
                "task cook 127.0.0.1",
                "invalid value 'cook' for '<SERVICE>': no service is called cook",
            ),
            ("task name there", "invalid value 'there' for '<IP>': invalid IP address syntax"),
        ] {
            assert_eq!(parsed(line).err(), Some(format!("{error}; see --help")), "{line}");
        }
        let tcp = parsed("--connect tcp").err();
        assert_eq!(tcp.as_deref(), Some("--connect tcp is for --proxy envoy"));
    }
}
