//! A task's own process: one service, on loopback, for as long as its supervisor lives.

use std::io::Read;
use std::net::IpAddr;
use std::process::ExitCode;
use std::thread;

use application::Service;
use chassis::{Shutdown, cli};

/// Serves until SIGTERM has drained it.
pub(crate) fn run(service: Service, ip: IpAddr) -> ExitCode {
    let shutdown = Shutdown::on_signals();
    thread::spawn(end_with_supervisor);
    let at = &[ip];
    match service.name {
        "greeting" => cli::serve(&greeting::SERVICE, &cli::env, at, &shutdown),
        "name" => cli::serve(&name::SERVICE, &cli::env, at, &shutdown),
        "greeter" => cli::serve(&greeter::SERVICE, &cli::env, at, &shutdown),
        other => {
            eprintln!("mesh: no program for {other}: add it here");
            ExitCode::FAILURE
        }
    }
}

/// The supervisor holds the other end of standard input and never writes to it: when it
/// ends, by whatever means, the kernel closes it, and no task is left behind.
fn end_with_supervisor() {
    while let Ok(1..) = std::io::stdin().read(&mut [0; 64]) {}
    std::process::exit(1);
}
