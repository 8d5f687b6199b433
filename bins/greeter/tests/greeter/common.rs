//! A greeter between a test's client and a test's services.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::process::Command;
use std::time::Instant;

use chassis::Port;
use harness::{Client, PATIENCE, Peer, Process, service};

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
    in_time(|| timely(Client::connect(address).send(GET).answer()))
}

/// One request on a connection that is kept.
pub(crate) fn ask(client: &mut Client, request: impl AsRef<[u8]>) -> String {
    in_time(|| timely(client.send(&request).answer()))
}

pub(crate) const GET: &str = "GET / HTTP/1.1\r\nHost: x\r\n\r\n";

/// Takes a case again until none of its calls took too long. greeter gives a call 2 s, and
/// of these 500 ms to connect, which a busy or an emulated machine may need now and then;
/// most tests are about something else.
pub(crate) fn in_time<T>(mut case: impl FnMut() -> Option<T>) -> T {
    let end = Instant::now() + PATIENCE;
    loop {
        if let Some(result) = case() {
            return result;
        }
        assert!(Instant::now() < end, "every call takes too long");
    }
}

/// An answer, unless it says that a call took too long.
pub(crate) fn timely(answer: String) -> Option<String> {
    (!answer.starts_with("HTTP/1.1 504 ")).then_some(answer)
}

/// A port that nobody else can take, on which nobody listens for as long as it is held; and
/// its URL.
pub(crate) fn nobody() -> (Port, String) {
    let port = Port::take(&[IpAddr::V4(Ipv4Addr::LOCALHOST)], 0).unwrap().remove(0);
    let url = format!("http://{}", port.address());
    (port, url)
}
