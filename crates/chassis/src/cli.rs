//! The command line of the three services.

use std::ffi::{OsStr, OsString};
use std::fmt;
use std::io::{self, Write};
use std::net::IpAddr;
use std::os::fd::AsFd;
use std::process::ExitCode;

use application::PORT;
use nix::poll::{PollFd, PollFlags, poll};
use nix::sys::signal::{SigSet, Signal};

use crate::port::{self, Port};
use crate::settings::{self, Env, Invalid};
use crate::shutdown::Shutdown;
use crate::{healthcheck, needs};

/// A service, as its library describes it for its `main`, the mesh and tests.
#[derive(Debug)]
pub struct Service<S> {
    /// Its name, and that of its binary.
    pub name: &'static str,
    /// The version `--version` prints.
    pub version: &'static str,
    /// One line for `--help`.
    pub about: &'static str,
    /// Its variables besides `PORT` and `HOSTNAME`: a line each for `--help`.
    pub variables: fn() -> String,
    /// Reads its settings from the environment.
    pub settings: fn(Env) -> Result<S, Invalid>,
    /// Serves on the ports until the shutdown has drained it.
    pub run: fn(S, Vec<Port>, &Shutdown) -> io::Result<()>,
}

/// `EX_USAGE` is 64, but 2 is what shells and most tools use.
const USAGE: u8 = 2;
/// `EX_CONFIG` of sysexits.h.
const CONFIG: u8 = 78;

/// How long output may block, in milliseconds. A health check has at least two seconds.
const OUTPUT_TIMEOUT: u8 = 100;

/// A service's whole `main`.
#[must_use]
pub fn main<S>(service: &Service<S>) -> ExitCode {
    if let Err(missing) = needs::memory() {
        return fail(service.name, 1, &missing);
    }
    block_sigxfsz();
    let words: Vec<OsString> = std::env::args_os().skip(1).collect();
    let arguments: Vec<_> = words.iter().map(|word| word.to_str()).collect();
    match arguments[..] {
        [] | [Some("serve")] => serve(service, &env, port::ALL_ADDRESSES, &Shutdown::on_signals()),
        [Some("healthcheck")] => match settings::port(&env).map(healthcheck::check) {
            Ok(Ok(line)) => say(&line),
            Ok(Err(line)) => fail(service.name, 1, &line),
            Err(invalid) => fail(service.name, CONFIG, &invalid),
        },
        [Some("--version" | "-V")] => say(&format!("{} {}", service.name, service.version)),
        [Some("--help" | "-h")] => say(&usage(service)),
        [Some("serve" | "healthcheck" | "--version" | "-V" | "--help" | "-h"), ..] => {
            usage_error(service, &format!("{} is one argument too many", quoted(&words[1])))
        }
        _ => usage_error(service, &format!("there is no {}", quoted(&words[0]))),
    }
}

/// Prints the error in the command line, and the usage.
fn usage_error<S>(service: &Service<S>, what: &str) -> ExitCode {
    fail(service.name, USAGE, &format!("{what}\n\n{}", usage(service)))
}

/// An argument in quotes, escaped, and shortened to a line.
fn quoted(word: &OsStr) -> String {
    const MAX: usize = 60;
    let word = word.to_string_lossy();
    match word.char_indices().nth(MAX) {
        Some((end, _)) => format!("{:?}...", &word[..end]),
        None => format!("{word:?}"),
    }
}

/// Serves on `addresses` until `shutdown` has drained the service. The exit code: 0 after
/// the drain, 78 for a bad setting, 1 for anything else.
#[must_use]
pub fn serve<S>(
    service: &Service<S>,
    env: Env,
    addresses: &[IpAddr],
    shutdown: &Shutdown,
) -> ExitCode {
    let (settings, port) = match (service.settings)(env).and_then(|s| Ok((s, settings::port(env)?)))
    {
        Ok(both) => both,
        Err(invalid) => return fail(service.name, CONFIG, &invalid),
    };
    raise_open_files_limit();
    if let Err(missing) = needs::files_and_threads() {
        return fail(service.name, 1, &missing);
    }
    let run = |ports| (service.run)(settings, ports, shutdown);
    match bind(addresses, port).and_then(run) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => fail(service.name, 1, &error),
    }
}

/// Binds the port; the error names the setting to change.
fn bind(addresses: &[IpAddr], port: u16) -> io::Result<Vec<Port>> {
    Port::bind(addresses, port).map_err(|error| {
        let remedy = match error.kind() {
            io::ErrorKind::AddrInUse => "end what listens there, or set PORT to another",
            _ => "set PORT to another",
        };
        io::Error::new(error.kind(), format!("PORT={port}: {error}: {remedy}"))
    })
}

/// The process's environment.
#[must_use]
pub fn env(variable: &str) -> Option<OsString> {
    std::env::var_os(variable)
}

/// Raises the soft limit of open files to the hard limit, because each connection is a file. The soft
/// limit is often 1,024, for programs that still use select(2).
pub fn raise_open_files_limit() {
    use nix::sys::resource::{Resource, getrlimit, setrlimit};
    if let Ok((soft, hard)) = getrlimit(Resource::RLIMIT_NOFILE)
        && soft < hard
    {
        // Serving with fewer is better than not serving.
        let _ = setrlimit(Resource::RLIMIT_NOFILE, hard, hard);
    }
}

/// Blocks SIGXFSZ: writing to a file at the limit of `ulimit -f` would end the process. With the
/// signal blocked the write fails instead, and its data is lost.
fn block_sigxfsz() {
    // Fails for an invalid mask only, which this is not.
    let _ = SigSet::from(Signal::SIGXFSZ).thread_block();
}

fn say(line: &str) -> ExitCode {
    write(io::stdout(), format_args!("{line}"));
    ExitCode::SUCCESS
}

fn fail(name: &str, code: u8, what: &dyn fmt::Display) -> ExitCode {
    write(io::stderr(), format_args!("{name}: {what}"));
    ExitCode::from(code)
}

/// Writes a line, and waits at most [`OUTPUT_TIMEOUT`]. A failure does not change the exit code: a
/// health check must not fail because its output cannot be written. (`println!` would panic.)
fn write(mut to: impl Write + AsFd, line: fmt::Arguments) {
    let is_ready = {
        let mut ready = [PollFd::new(to.as_fd(), PollFlags::POLLOUT)];
        poll(&mut ready, OUTPUT_TIMEOUT).is_ok_and(|count| count > 0)
    };
    if is_ready {
        let _ = writeln!(to, "{line}");
    }
}

fn usage<S>(service: &Service<S>) -> String {
    let Service { name, version, about, variables, .. } = service;
    format!(
        "\
{name} {version}: {about}

usage: {name} [serve]       serve until SIGTERM or SIGINT (the default)
       {name} healthcheck   exit 0 if the service on this machine's PORT is healthy, else 1
       {name} --version
       {name} --help

environment:
  PORT             port to listen on ({PORT})
  HOSTNAME         host name in the answers (the machine's)
  VERSION          version after the host name in the answers (none)
{}",
        variables()
    )
    .trim_end()
    .to_owned()
}
