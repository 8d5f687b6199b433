//! The command line.

/// One of the three services.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Service {
    Name,
    Greeting,
    Greeter,
}

impl Service {
    /// As its binary is called, and its tasks before their number.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Name => "name",
            Self::Greeting => "greeting",
            Self::Greeter => "greeter",
        }
    }
}

/// What to do.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Command {
    Run(Options),
    /// What the mesh starts itself with, once a task.
    Task(Service),
    Print(String),
}

/// How to run the mesh.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Options {
    /// Tasks of each service.
    pub(crate) tasks: usize,
    /// The load balancer's port; 0 takes a free one.
    pub(crate) port: u16,
}

/// More would only share the same CPUs.
const MAX_TASKS: usize = 32;

pub(crate) const USAGE: &str = "\
usage: mesh [--tasks N] [--port N]

  --tasks N   tasks of each service, 1 to 32 (2)
  --port N    port of the load balancer on 127.0.0.1 (8080; 0 takes a free one)
  --version
  --help";

/// Parses everything behind the program's name.
pub(crate) fn parse(arguments: impl Iterator<Item = String>) -> Result<Command, String> {
    let mut options = Options { tasks: 2, port: 8080 };
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
            "task" => {
                return match value()?.as_str() {
                    "name" => Ok(Command::Task(Service::Name)),
                    "greeting" => Ok(Command::Task(Service::Greeting)),
                    "greeter" => Ok(Command::Task(Service::Greeter)),
                    other => Err(format!("no service {other}")),
                };
            }
            "--version" | "-V" => {
                return Ok(Command::Print(concat!("mesh ", env!("CARGO_PKG_VERSION")).into()));
            }
            "--help" | "-h" => return Ok(Command::Print(USAGE.into())),
            _ => return Err(format!("unknown argument {word}")),
        }
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
        let run = |tasks, port| Ok(Command::Run(Options { tasks, port }));
        assert_eq!(parsed(""), run(2, 8080));
        assert_eq!(parsed("--tasks 3"), run(3, 8080));
        assert_eq!(parsed("--port=0 --tasks=1"), run(1, 0));
    }

    #[test]
    fn what_is_wrong_is_named() {
        for (line, error) in [
            ("--tasks 0", "--tasks 0: give a number from 1 to 32"),
            ("--tasks many", "--tasks many: give a number from 1 to 32"),
            ("--tasks", "--tasks needs a value"),
            ("--port 65536", "--port 65536: give a number from 0 to 65535"),
            ("--prot 80", "unknown argument --prot"),
            ("task cook", "no service cook"),
        ] {
            assert_eq!(parsed(line), Err(error.to_owned()));
        }
    }
}
