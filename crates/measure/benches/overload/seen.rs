//! What is seen of a service from outside, and how it is printed.

use std::fmt::Display;
use std::fs;
use std::net::{SocketAddr, TcpStream};
use std::thread::sleep;
use std::time::Duration;

use harness::{PATIENCE, Process};
use nix::sys::resource::{Resource, getrlimit, setrlimit};

pub(crate) fn open(address: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(address).expect("connects");
    stream.set_read_timeout(Some(PATIENCE)).expect("a time-out above zero");
    stream.set_nodelay(true).expect("a TCP socket");
    stream
}

/// Allows this process, and those it starts, as many open files as the hard limit does.
pub(crate) fn raise_open_files() -> u64 {
    let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE).expect("a limit");
    setrlimit(Resource::RLIMIT_NOFILE, hard, hard).expect("up to the hard limit");
    hard
}

/// Memory that is resident, in KiB.
pub(crate) fn memory(process: &Process) -> u64 {
    sleep(Duration::from_millis(200)); // for what still ends
    process.memory()
}

pub(crate) fn open_files(process: &Process) -> usize {
    fs::read_dir(format!("/proc/{}/fd", process.pid())).expect("it lives").count()
}

pub(crate) fn kib(size: u64) -> String {
    format!("{size} KiB")
}

pub(crate) fn row(what: &str, value: impl Display) {
    println!("  {what:36}{value}");
}
