//! A program of the user's that takes the place of a service's.

use std::collections::BTreeMap;
use std::path::Path;

use application::Service;
use envoy_config::{is_program, on_path};
use nix::sys::signal::Signal;

use crate::escape;
use crate::task::find_service;

/// The programs that take the places of services'.
pub(crate) type UserPrograms = BTreeMap<Service, UserProgram>;

/// Such a program: it listens on the port that the variable `PORT` holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct UserProgram {
    /// Its name or path, and its arguments: one word at least.
    pub(crate) words: Vec<String>,
    /// What it is asked to drain with.
    pub(crate) stop_signal: Signal,
}

impl UserProgram {
    /// Parses `SERVICE=COMMAND`. The words are those of a shell, but nothing is expanded.
    ///
    /// # Errors
    ///
    /// There is no such service, or no such program: the message has the remedy.
    pub(crate) fn parse(text: &str) -> Result<(Service, Self), String> {
        let (service, command) = of_service(text, "name='node ./name.js'")?;
        let words = shlex::split(command).ok_or("a quote or a backslash has no end: close it")?;
        let program = words.first().ok_or("give a command behind the =")?;
        let is_there = if program.contains('/') {
            is_program(Path::new(program))
        } else {
            on_path(program, &std::env::var_os("PATH").unwrap_or_default()).is_some()
        };
        if !is_there {
            let place = if program.contains('/') { "" } else { " on PATH" };
            let program = escape::word(program);
            return Err(format!("there is no program {program}{place}: give its path"));
        }
        Ok((service, Self { words, stop_signal: Signal::SIGTERM }))
    }

    /// Parses `SERVICE=SIGNAL`, as in `name=QUIT`.
    ///
    /// # Errors
    ///
    /// There is no such service, or no such signal.
    pub(crate) fn parse_signal(text: &str) -> Result<(Service, Signal), String> {
        let (service, signal) = of_service(text, "name=QUIT")?;
        let found = format!("SIG{}", signal.trim_start_matches("SIG")).parse();
        found.map(|signal| (service, signal)).map_err(|_| {
            format!("there is no signal {}: give one as in name=QUIT", escape::word(signal))
        })
    }

    /// The command, as it could be typed.
    pub(crate) fn command(&self) -> String {
        // Fails for a null byte, which no command line has.
        shlex::try_join(self.words.iter().map(String::as_str)).unwrap_or_default()
    }
}

/// The service before the `=`, and the text behind it.
fn of_service<'a>(text: &'a str, example: &str) -> Result<(Service, &'a str), String> {
    let parts = text.split_once('=');
    let (service, text) = parts.ok_or_else(|| format!("give a service too, as in {example}"))?;
    Ok((find_service(service)?, text))
}
