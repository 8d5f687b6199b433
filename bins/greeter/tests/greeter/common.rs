//! A greeter between a test's client and a test's services.

use std::net::SocketAddr;
use std::process::Command;

use harness::{Client, Peer, Process, service};

/// Starts greeter, as `greeter-1`, in front of two peers.
pub(crate) fn greeter(greeting: &Peer, name: &Peer) -> (Process, SocketAddr) {
    Process::serve(&mut command(&greeting.url(), &name.url()))
}

/// The command that starts it.
pub(crate) fn command(greeting: &str, name: &str) -> Command {
    let mut command = service(env!("CARGO_BIN_EXE_greeter"));
    command.env("HOSTNAME", "greeter-1").env("GREETING_URL", greeting).env("NAME_URL", name);
    command
}

/// The services as they should be.
pub(crate) fn peers() -> (Peer, Peer) {
    (Peer::saying("Hello (greeting-1)"), Peer::saying("Emelia (name-1)"))
}

/// What greeter then says.
pub(crate) const GREETING: &str = "From greeter-1: Hello (greeting-1) Emelia (name-1)";

/// The bytes of an answer; `extra` are the header lines behind the common ones.
pub(crate) fn answer(status: &str, extra: &str, body: &str) -> String {
    format!(
        "HTTP/1.1 {status}\r\nDate: DATE\r\nContent-Type: text/plain; charset=utf-8\r\n\
         Content-Length: {}\r\nX-Content-Type-Options: nosniff\r\nCache-Control: no-store\r\n\
         {extra}\r\n{body}",
        body.len()
    )
}

/// An answer whose form the client may choose.
pub(crate) fn negotiated(status: &str, extra: &str, body: &str) -> String {
    answer(status, &format!("Vary: Accept\r\n{extra}"), body)
}

/// One GET on a connection of its own.
pub(crate) fn greet(address: SocketAddr) -> String {
    Client::connect(address).send("GET / HTTP/1.1\r\nHost: x\r\n\r\n").answer()
}
