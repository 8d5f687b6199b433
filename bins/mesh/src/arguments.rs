//! The command line.

use std::ffi::OsString;
use std::net::IpAddr;
use std::path::PathBuf;

use clap::builder::{PossibleValuesParser, TypedValueParser};
use clap::error::ErrorKind;
use clap::parser::ValueSource;
use clap::{ArgMatches, CommandFactory as _, FromArgMatches as _, Parser, Subcommand, ValueEnum};
use envoy_config::Connect;

use crate::check;
use crate::child::ServiceProgram;
use crate::control::Request;
use crate::load;
use crate::misuse;
use crate::output::Output;
use crate::task::MAX_TASKS;
use crate::value::whole;

const DEFAULT_PORT: u16 = 8080;

/// Run the whole application on this machine: tasks, proxies between them, and a load balancer
#[derive(Parser)]
#[command(name = "mesh", version)]
struct CommandLine {
    #[command(flatten)]
    options: Options,
    #[command(subcommand)]
    command: Option<Command>,
}

/// What the command line asks for.
pub(crate) enum Action {
    /// Run a mesh.
    Run(Options),
    /// Send a command to the mesh on this port, or to the only one.
    Control(Option<u16>, Request),
    /// Put load on a URL, or on that mesh.
    Load(Option<u16>, load::Options),
    /// Check a URL, or that mesh.
    Check(Option<u16>, check::Options),
    /// Run as a process of a mesh.
    RunChild(Child),
    /// Print a text.
    Print(String),
}

/// How to run the mesh.
#[derive(clap::Args, Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Options {
    /// Tasks of each service.
    #[arg(long, value_name = "N", default_value_t = 2)]
    #[arg(value_parser = whole(1..=MAX_TASKS), allow_negative_numbers = true)]
    #[arg(help = format!("Tasks of each service, 1 to {MAX_TASKS}"))]
    pub(crate) tasks: u8,

    /// The port, if one was given.
    #[arg(long, value_name = "N", global = true)]
    #[arg(value_parser = whole(0..=u16::MAX), allow_negative_numbers = true)]
    #[arg(help = format!("Port of the load balancer on 127.0.0.1, 0 for any free one [default: {DEFAULT_PORT}]; \
                          with a command: which mesh to use if several run"))]
    port: Option<u16>,

    /// The proxies to run
    #[arg(long, value_name = "P", value_enum, default_value_t = Proxies::BuiltIn)]
    pub(crate) proxy: Proxies,

    /// What Envoy balances: requests (http) or connections (tcp)
    #[arg(long, value_name = "C", default_value = "http", value_parser = connect_parser())]
    pub(crate) connect: Connect,

    /// Print one JSON object per line instead of text
    #[arg(long)]
    json: bool,
}

impl Options {
    /// The load balancer's port; 0 means any free one.
    pub(crate) fn port(self) -> u16 {
        self.port.unwrap_or(DEFAULT_PORT)
    }

    /// The format of the output.
    pub(crate) fn output(self) -> Output {
        if self.json { Output::Json } else { Output::Text }
    }
}

/// The proxies to run.
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

/// The commands.
#[derive(Subcommand)]
enum Command {
    #[command(flatten)]
    Control(Request),
    /// Generate load, and report throughput, latency, errors, and which tasks answered
    Load(load::Options),
    /// Ask for what the application promises, and say what was seen: of a mesh, of compose.yaml, on AWS
    Check(check::Options),
    #[command(flatten)]
    Child(Child),
}

/// Commands that the mesh starts its own binary with.
#[derive(Subcommand)]
pub(crate) enum Child {
    /// Run as a task: a service, on an address.
    #[command(hide = true)]
    Task {
        #[arg(value_parser = ServiceProgram::find)]
        service: ServiceProgram,
        ip: IpAddr,
    },
    /// Run as an Envoy: its executable and its configuration.
    #[command(hide = true)]
    Envoy { executable: PathBuf, configuration: PathBuf },
}

/// Parses the command line, the program's name first.
///
/// # Errors
///
/// One line that says what is wrong, and what would be right.
pub(crate) fn parse(words: impl IntoIterator<Item = OsString>) -> Result<Action, String> {
    let words: Vec<_> = words.into_iter().collect();
    let parsed = CommandLine::command()
        .try_get_matches_from(&words)
        .and_then(|matches| CommandLine::from_arg_matches(&matches).map(|line| (line, matches)));
    let (line, matches) = match parsed {
        Ok(parsed) => parsed,
        Err(error) => match error.kind() {
            ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => {
                return Ok(Action::Print(error.to_string()));
            }
            _ => return Err(format!("{}; see --help", misuse::what_is_wrong(&error, &words))),
        },
    };
    let Options { port, json, .. } = line.options;
    Ok(match line.command {
        Some(command) => {
            let prints_json =
                matches!(command, Command::Control(Request::Status { .. }) | Command::Check(_));
            check_options(&matches, prints_json)?;
            match command {
                Command::Control(Request::Status { json: own }) => {
                    Action::Control(port, Request::Status { json: json || own })
                }
                Command::Control(request) => Action::Control(port, request),
                Command::Load(options) => Action::Load(port, options),
                Command::Check(options) => Action::Check(port, options.with_json(json)),
                Command::Child(child) => Action::RunChild(child),
            }
        }
        None if line.options.connect == Connect::Tcp && line.options.proxy != Proxies::Envoy => {
            return Err("--connect tcp needs --proxy envoy".to_owned());
        }
        None => Action::Run(line.options),
    })
}

/// Refuses options for starting a mesh before a command that starts none.
fn check_options(matches: &ArgMatches, prints_json: bool) -> Result<(), String> {
    let Some((command, _)) = matches.subcommand() else { return Ok(()) };
    for option in ["tasks", "proxy", "connect", "json"] {
        let given = matches.value_source(option) == Some(ValueSource::CommandLine);
        if given && !(prints_json && option == "json") {
            return Err(format!("--{option} is not for {command}: leave it out; see --help"));
        }
    }
    Ok(())
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
        let commands =
            "status, scale, pause, resume, kill, fault, release, promote, rollback, load, check";
        for (line, error) in [
            ("--tasks 0", "--tasks 0: give a whole number from 1 to 32"),
            ("--tasks many", "--tasks many: give a whole number from 1 to 32"),
            ("--tasks -1", "--tasks -1: give a whole number from 1 to 32"),
            ("--tasks", "--tasks needs a value"),
            ("--port", "--port needs a value"),
            ("--proxy", "--proxy \"\": give one of built-in, envoy"),
            ("--tasks=1 --tasks=2", "--tasks is given twice: leave one out"),
            ("--port 65536", "--port 65536: give a whole number from 0 to 65535"),
            ("kill name-1 --port x", "--port x: give a whole number from 0 to 65535"),
            ("--json=yes", "--json takes no value: leave out yes"),
            ("--prot 80", "there is no --prot: did you mean --port?"),
            ("--proxy nginx", "--proxy nginx: give one of built-in, envoy"),
            ("cook", &format!("there is no command cook: give one of {commands}")),
            ("\u{1b}[2J", &format!("there is no command \\u{{1b}}[2J: give one of {commands}")),
            (
                "stop name-1",
                "there is no stop: cargo mesh pause name-1 suspends a task, \
                 cargo mesh kill name-1 kills it",
            ),
            ("start name-1", "there is no start: cargo mesh resume name-1 resumes a paused task"),
            ("kill", "kill needs <TASK>, as in cargo mesh kill name-1"),
            ("scale", "scale needs <SERVICE> and <TASKS>, as in cargo mesh scale name 4"),
            ("scale name", "scale needs <TASKS>, as in cargo mesh scale name 4"),
            ("scale name four", "four tasks are not possible: give 1 to 32"),
            ("scale name -1", "-1 tasks are not possible: give 1 to 32"),
            ("scale name 300", "300 tasks are not possible: give 1 to 32"),
            (
                "kill name-1 name-2",
                "name-2 is one argument too many: leave it out, as in cargo mesh kill name-1",
            ),
            (
                "kill --hard name-1",
                "there is no --hard here: leave it out, as in cargo mesh kill name-1",
            ),
            ("status --tasks 3", "there is no --tasks here: leave it out, as in cargo mesh status"),
            ("--tasks 3 status", "--tasks is not for status: leave it out"),
            ("--json kill name-1", "--json is not for kill: leave it out"),
            ("load --rate 0", "--rate 0: give a whole number from 1 to 1000000"),
            ("load ftp://a", "cannot use ftp://a: give http://host[:port][/path]"),
            ("task cook 127.0.0.1", "cook: no service is called cook"),
        ] {
            assert_eq!(parsed(line).err(), Some(format!("{error}; see --help")), "{line}");
        }
        let tcp = parsed("--connect tcp").err();
        assert_eq!(tcp.as_deref(), Some("--connect tcp needs --proxy envoy"));
    }

    /// Of what nobody types, too.
    #[test]
    fn no_word_is_too_strange_to_be_named() {
        use std::os::unix::ffi::OsStringExt as _;
        let refused = |words: &[&[u8]]| {
            let words = words.iter().map(|word| OsString::from_vec(word.to_vec()));
            parse(std::iter::once("mesh".into()).chain(words)).err().unwrap()
        };
        let long = vec![b'\n'; 100_000];
        for (words, error) in [
            (&[&b"kill"[..], b"name\xff-1"][..], "name\u{fffd}-1 is not UTF-8: give plain text"),
            (&[b"kill", &long], &format!("{}...: give 256 bytes at most", "\\n".repeat(60))),
            (&[b""], "there is no command \"\": "),
            (&[b"--tasks", b""], "--tasks \"\": give a whole number from 1 to 32"),
            (&[b"--tasks", b"1\n\nUsage: x"], "--tasks \"1\\n\\nUsage: x\": give a whole "),
            (&[b"load", b"http://a\x1b[2J/"], "cannot use http://a\\u{1b}[2J/: give http://"),
        ] {
            let line = refused(words);
            assert!(line.starts_with(error), "{line}");
            assert!(!line.contains(char::is_control) && line.len() < 400, "{line}");
        }
    }

    #[test]
    fn what_is_for_both_may_stand_before_the_command_or_behind() {
        for line in [
            "--port 1 --json status",
            "--port 1 status --json",
            "--json status --port 1",
            "status --json --port 1",
        ] {
            let asked = parsed(line);
            assert!(
                matches!(asked, Ok(Action::Control(Some(1), Request::Status { json: true }))),
                "{line}"
            );
        }
        assert!(matches!(parsed("--port 1 load"), Ok(Action::Load(Some(1), _))));
    }

    #[test]
    fn every_command_has_an_example_that_is_right() {
        use crate::misuse::EXAMPLES;

        let all = CommandLine::command();
        let commands = all.get_subcommands().filter(|command| !command.is_hide_set());
        let names: Vec<_> = EXAMPLES.iter().map(|(name, _)| *name).collect();
        assert_eq!(commands.map(clap::Command::get_name).collect::<Vec<_>>(), names);
        for (_, example) in EXAMPLES {
            for example in example.split(", or ") {
                let line = example.strip_prefix("cargo mesh ").unwrap();
                assert!(parsed(line).is_ok(), "{example}");
            }
        }
    }
}
