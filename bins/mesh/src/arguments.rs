//! The command line.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::net::IpAddr;
use std::path::PathBuf;

use application::Service;
use clap::builder::{PossibleValuesParser, TypedValueParser};
use clap::error::ErrorKind;
use clap::parser::ValueSource;
use clap::{ArgMatches, CommandFactory as _, FromArgMatches as _, Parser, Subcommand, ValueEnum};
use envoy_config::Connect;
use nix::sys::signal::Signal;

use crate::check;
use crate::child::ServiceProgram;
use crate::control::Request;
use crate::load;
use crate::misuse;
use crate::output::Output;
use crate::task::MAX_TASKS;
use crate::user_program::{UserProgram, UserPrograms};
use crate::value::whole;
use crate::watch;

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
    /// Run a mesh, with these programs in the place of services.
    Run(Options, UserPrograms),
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
#[derive(clap::Args, Clone, Debug, PartialEq, Eq)]
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

    /// Keep where the time of each request goes, for the command trace
    #[arg(long)]
    pub(crate) trace: bool,

    /// Print one JSON object per line instead of text
    #[arg(long)]
    json: bool,

    /// Run this command as each task of a service, as in name='node ./name.js': it has to listen on
    /// the port in the variable PORT
    #[arg(long, value_name = "SERVICE=COMMAND", value_parser = UserProgram::parse)]
    run: Vec<(Service, UserProgram)>,

    /// The signal that asks a service's command to drain, as in name=QUIT [default: TERM]
    #[arg(long, value_name = "SERVICE=SIGNAL", value_parser = UserProgram::parse_signal)]
    stop_signal: Vec<(Service, Signal)>,

    /// Replace the tasks of every --run, one by one, when a file changes here
    #[arg(long, value_name = "PATH", value_parser = watch::parse)]
    pub(crate) watch: Option<PathBuf>,
}

impl Options {
    /// The load balancer's port; 0 means any free one.
    pub(crate) fn port(&self) -> u16 {
        self.port.unwrap_or(DEFAULT_PORT)
    }

    /// The format of the output.
    pub(crate) fn output(&self) -> Output {
        if self.json { Output::Json } else { Output::Text }
    }

    /// The commands, each with its signal.
    fn user_programs(&self) -> Result<UserPrograms, String> {
        let mut programs = BTreeMap::new();
        for (service, program) in &self.run {
            if programs.insert(*service, program.clone()).is_some() {
                return Err(format!("--run {0} is given twice: leave one out", service.name));
            }
        }
        for (service, signal) in &self.stop_signal {
            let program = programs.get_mut(service);
            let name = service.name;
            program
                .ok_or_else(|| format!("--stop-signal {name} needs --run {name}"))?
                .stop_signal = *signal;
        }
        if self.watch.is_some() && programs.is_empty() {
            return Err("--watch needs --run: our own services run what cargo has built".to_owned());
        }
        Ok(programs)
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
    /// Run as a program of the user's, which ends by this signal if the mesh is killed.
    #[command(hide = true)]
    UserProgram {
        stop_signal: Signal,
        #[arg(last = true, required = true)]
        words: Vec<OsString>,
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
            let prints_json = matches!(
                command,
                Command::Control(Request::Status { .. } | Request::Trace { .. })
                    | Command::Check(_)
            );
            check_options(&matches, prints_json)?;
            match command {
                Command::Control(request) => Action::Control(port, request.with_json(json)),
                Command::Load(options) => Action::Load(port, options),
                Command::Check(options) => Action::Check(port, options.with_json(json)),
                Command::Child(child) => Action::RunChild(child),
            }
        }
        None if line.options.connect == Connect::Tcp && line.options.proxy != Proxies::Envoy => {
            return Err("--connect tcp needs --proxy envoy".to_owned());
        }
        None if line.options.connect == Connect::Tcp && line.options.trace => {
            return Err("with --connect tcp no proxy sees a request: leave out --trace".to_owned());
        }
        None => {
            let programs = line.options.user_programs()?;
            Action::Run(line.options, programs)
        }
    })
}

/// Refuses options for starting a mesh before a command that starts none.
fn check_options(matches: &ArgMatches, prints_json: bool) -> Result<(), String> {
    let Some((command, _)) = matches.subcommand() else { return Ok(()) };
    for option in ["tasks", "proxy", "connect", "trace", "json", "run", "stop_signal", "watch"] {
        let given = matches.value_source(option) == Some(ValueSource::CommandLine);
        if given && !(prints_json && option == "json") {
            let option = option.replace('_', "-");
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
            Ok(Action::Run(options, _)) => {
                let (run, stop_signal, watch) = (vec![], vec![], None);
                let (trace, json) = (false, false);
                let expected =
                    Options { tasks, port, proxy, connect, trace, json, run, stop_signal, watch };
                assert_eq!(options, expected, "{line}");
            }
            _ => panic!("{line} does not run"),
        };
        run("", 2, None, Proxies::BuiltIn, Connect::Http);
        run("--port=0 --tasks=1", 1, Some(0), Proxies::BuiltIn, Connect::Http);
        run("--proxy envoy", 2, None, Proxies::Envoy, Connect::Http);
        run("--connect tcp --proxy envoy", 2, None, Proxies::Envoy, Connect::Tcp);
    }

    #[test]
    fn a_command_has_the_words_of_a_shell_and_its_own_signal() {
        let words =
            ["--run", "name=sh -c 'exit $HOME' \"a b\" c\\ d", "--stop-signal", "name=QUIT"];
        let words = std::iter::once("mesh").chain(words).map(OsString::from);
        let Ok(Action::Run(_, programs)) = parse(words) else { panic!("it does not run") };
        let program = &programs[&Service::find("name").unwrap()];
        assert_eq!(program.words, ["sh", "-c", "exit $HOME", "a b", "c d"]);
        assert_eq!((program.stop_signal, programs.len()), (Signal::SIGQUIT, 1));
    }

    #[test]
    fn what_is_wrong_is_named_in_one_line() {
        let services: Vec<_> = application::SERVICES.iter().map(|service| service.name).collect();
        let services = services.join(", ");
        let commands = "status, trace, scale, pause, resume, kill, fault, release, promote, rollback, load, check";
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
            ("--run sh", "--run sh: give a service too, as in name='node ./name.js'"),
            (
                "--run cook=sh",
                &format!("--run cook=sh: there is no service cook: give one of {services}"),
            ),
            ("--run name=", "--run name=: give a command behind the ="),
            ("--run name='", "--run name=': a quote or a backslash has no end: close it"),
            ("--run name=nod", "--run name=nod: there is no program nod on PATH: give its path"),
            ("--run name=./x", "--run name=./x: there is no program ./x: give its path"),
            ("--run name=/", "--run name=/: there is no program /: give its path"),
            (
                "--stop-signal name=OFF",
                "--stop-signal name=OFF: there is no signal OFF: give one as in name=QUIT",
            ),
            ("--watch no", "--watch no: No such file or directory (os error 2)"),
            ("--watch src status", "--watch is not for status: leave it out"),
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
            ("--trace status", "--trace is not for status: leave it out"),
            ("trace --slowest 0", "--slowest 0: give a whole number from 1 to 1000"),
            ("--json kill name-1", "--json is not for kill: leave it out"),
            ("load --rate 0", "--rate 0: give a whole number from 1 to 1000000"),
            ("load ftp://a", "cannot use ftp://a: give http://host[:port][/path]"),
            ("task cook 127.0.0.1", "cook: no service is called cook"),
        ] {
            assert_eq!(parsed(line).err(), Some(format!("{error}; see --help")), "{line}");
        }
        for (line, error) in [
            ("--connect tcp", "--connect tcp needs --proxy envoy"),
            (
                "--connect tcp --proxy envoy --trace",
                "with --connect tcp no proxy sees a request: leave out --trace",
            ),
            ("--run name=sh --run name=sh", "--run name is given twice: leave one out"),
            (
                "--run name=sh --stop-signal greeter=INT",
                "--stop-signal greeter needs --run greeter",
            ),
            ("--watch src", "--watch needs --run: our own services run what cargo has built"),
        ] {
            assert_eq!(parsed(line).err().as_deref(), Some(error));
        }
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
