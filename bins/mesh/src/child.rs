//! The processes of a mesh, started as its own binary: a task, or one that becomes an Envoy.

use std::ffi::OsString;
use std::io::{self, Read};
use std::net::IpAddr;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Command, ExitCode};
use std::thread;

use chassis::{Shutdown, cli};
use nix::sys::signal::Signal;

/// A service's program, by the service's name.
#[derive(Clone, Copy)]
pub(crate) struct ServiceProgram {
    name: &'static str,
    serve: fn(&[IpAddr], &Shutdown) -> ExitCode,
}

macro_rules! programs {
    ($($service:ident,)+) => {
        &[$(ServiceProgram {
            name: stringify!($service),
            serve: |at, shutdown| cli::serve(&$service::SERVICE, &cli::env, at, shutdown),
        },)+]
    };
}

/// One for each service of the application.
const PROGRAMS: &[ServiceProgram] = programs! {
    greeting,
    name,
    greeter,
};

impl ServiceProgram {
    /// Finds a service's program.
    pub(crate) fn find(name: &str) -> Result<Self, String> {
        let found = PROGRAMS.iter().find(|program| program.name == name);
        found.copied().ok_or_else(|| format!("no service is called {name}"))
    }
}

/// Serves until SIGTERM has drained the service, or the mesh has ended.
pub(crate) fn serve(service: ServiceProgram, ip: IpAddr) -> ExitCode {
    // The name in ps; by default it would be that of the link, `exe`.
    #[cfg(target_os = "linux")]
    let _ = nix::sys::prctl::set_name(c"mesh");
    let shutdown = Shutdown::on_signals();
    thread::spawn(end_with_mesh);
    (service.serve)(&[ip], &shutdown)
}

/// The mesh holds the other end of standard input and never writes to it. However the mesh ends, the
/// kernel closes that end, so no task is left behind.
fn end_with_mesh() {
    while let Ok(1..) = io::stdin().read(&mut [0; 64]) {}
    std::process::exit(1);
}

/// Others do not watch their standard input as a task does, so the kernel sends them a signal.
#[cfg_attr(not(target_os = "linux"), expect(unused_variables))]
fn end_with_mesh_by(signal: Signal) -> nix::Result<()> {
    #[cfg(target_os = "linux")]
    nix::sys::prctl::set_pdeathsig(signal)?;
    Ok(())
}

/// Becomes a program of the user's (exec). Returns only on failure.
pub(crate) fn become_user_program(stop_signal: Signal, words: &[OsString]) -> io::Error {
    // Not SIGKILL, which would leave its own processes behind.
    if let Err(error) = end_with_mesh_by(stop_signal) {
        return error.into();
    }
    // The command line has one word at least.
    Command::new(&words[0]).args(&words[1..]).exec()
}

/// Becomes Envoy (exec), until the mesh ends. Returns only on failure.
pub(crate) fn become_envoy(executable: &Path, configuration: &Path) -> io::Error {
    if let Err(error) = end_with_mesh_by(Signal::SIGKILL) {
        return error.into();
    }
    Command::new(executable)
        .arg("--config-path")
        .arg(configuration)
        // A quarter of a CPU has no use for a second worker.
        .args(["--concurrency", "1", "--disable-hot-restart"])
        // `config` reports when Envoy takes requests; `main` would warn about limits that Service
        // Connect does not set either.
        .args(["--log-level", "warning", "--component-log-level", "main:error,config:info"])
        .args(["--log-format", r#"{"level":"%l","text":"%j"}"#])
        .exec()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_service_has_its_program() {
        let names: Vec<_> = PROGRAMS.iter().map(|program| program.name).collect();
        let services: Vec<_> = application::SERVICES.iter().map(|service| service.name).collect();
        assert_eq!(names, services);
    }
}
