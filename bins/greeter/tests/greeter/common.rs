//! A greeter between a test's client and a test's leaves.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::process::Command;
use std::sync::LazyLock;
use std::time::Instant;

use application::LEAVES;
use chassis::Port;
use harness::{Client, PATIENCE, Peer, Process, service};

/// What a leaf says that is as it should be.
pub(crate) fn said(leaf: &str) -> String {
    format!("a {leaf} ({leaf}-1)")
}

/// What `name` says: the leaf that misbehaves where a test is about one.
pub(crate) const NAME: &str = "a name (name-1)";

/// What greeter says in front of leaves as they should be.
pub(crate) static GREETING: LazyLock<String> = LazyLock::new(|| {
    let lines: Vec<_> = LEAVES.iter().map(|leaf| said(leaf.name)).collect();
    format!("From greeter-1: {}", lines.join(" "))
});

/// The leaves as they should be, in the order of the greeting.
pub(crate) fn leaves() -> Vec<Peer> {
    LEAVES.iter().map(|leaf| Peer::saying(&said(leaf.name))).collect()
}

/// The command that starts greeter, as `greeter-1`, in front of these leaves.
pub(crate) fn command_for(leaves: &[Peer]) -> Command {
    let mut command = service(env!("CARGO_BIN_EXE_greeter"));
    command.env("HOSTNAME", "greeter-1");
    assert_eq!(leaves.len(), LEAVES.len());
    command.envs(LEAVES.iter().zip(leaves).map(|(leaf, peer)| (leaf.variable, peer.url())));
    command
}

/// The same, in front of leaves as they should be. A test that is about another sets its variable.
pub(crate) fn command() -> Command {
    command_for(&leaves())
}

/// Starts greeter in front of leaves as they should be.
pub(crate) fn greeter() -> (Process, SocketAddr) {
    Process::serve(&mut command())
}

/// Starts it in front of this `name`, and of others as they should be.
pub(crate) fn greeter_with_name(url: &str) -> (Process, SocketAddr) {
    Process::serve(command().env("NAME_URL", url))
}

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
    let port = Port::bind(&[IpAddr::V4(Ipv4Addr::LOCALHOST)], 0).unwrap().remove(0);
    let url = format!("http://{}", port.address());
    (port, url)
}

/// The two leaves that the page's tests name (`browser.rs`); the others are as they should be.
pub(crate) mod pair {
    use application::Service;

    use super::{Command, LEAVES, Peer, Process, SocketAddr};

    pub(crate) fn others() -> impl Iterator<Item = Service> {
        let is_other = |leaf: &Service| !["greeting", "name"].contains(&leaf.name);
        LEAVES.iter().copied().filter(is_other)
    }

    pub(crate) fn peers() -> (Peer, Peer) {
        (Peer::saying("Hello (greeting-1)"), Peer::saying("Emelia (name-1)"))
    }

    pub(crate) fn greeter(greeting: &Peer, name: &Peer) -> (Process, SocketAddr) {
        Process::serve(&mut command(&greeting.url(), &name.url()))
    }

    pub(crate) fn command(greeting: &str, name: &str) -> Command {
        let mut command = super::command();
        command.env("GREETING_URL", greeting).env("NAME_URL", name);
        command
    }
}
