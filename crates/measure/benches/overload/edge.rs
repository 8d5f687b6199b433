//! greeter in front of healthy services, and the latency of its greetings.

use std::fmt::{self, Display};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::Command;
use std::sync::LazyLock;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::thread;
use std::time::{Duration, Instant};

use application::{EDGE, LEAVES, Service};
use harness::peer::ok;
use harness::{Peer, service};

use crate::seen::open;

pub(crate) const REQUEST: &str = "GET / HTTP/1.1\r\nHost: x\r\n\r\n";

/// What greeter says, behind who it is: the leaves' lines.
pub(crate) static LINES: LazyLock<String> =
    LazyLock::new(|| LEAVES.iter().map(said).collect::<Vec<_>>().join(" "));

/// What a leaf says.
pub(crate) fn said(leaf: &Service) -> String {
    format!("a {0} ({0}-1)", leaf.name)
}

/// The command that starts greeter in front of healthy services.
pub(crate) fn greeter(settings: &[(&str, &str)]) -> Command {
    let mut command = service(EDGE.name);
    command.env("HOSTNAME", "greeter-1").envs(settings.iter().copied());
    for leaf in LEAVES {
        // Not Peer::saying(): it reads byte by byte, which is slower than greeter.
        let service = Peer::start(move |_, mut stream| {
            let (answer, mut request) = (ok(&said(leaf)), [0; 1024]);
            while stream.read(&mut request).is_ok_and(|count| count > 0)
                && stream.write_all(&answer).is_ok()
            {}
        });
        command.env(leaf.variable, service.url());
    }
    command
}

/// Asks once. The answer must be a greeting.
pub(crate) fn greet(stream: &mut TcpStream) {
    stream.write_all(REQUEST.as_bytes()).expect("still open");
    let (mut answer, mut length) = ([0; 1024], 0);
    while !answer[..length].ends_with(LINES.as_bytes()) {
        let count = stream.read(&mut answer[length..]).expect("an answer in time");
        length += count;
        assert!(count > 0, "not a greeting: {}", String::from_utf8_lossy(&answer[..length]));
    }
    assert!(answer.starts_with(b"HTTP/1.1 200 OK\r\n"));
}

/// Asks on 32 connections until `count` greetings have come or `time` is over: how many.
pub(crate) fn load(address: SocketAddr, count: u32, time: Duration) -> u32 {
    let (end, begun) = (Instant::now() + time, AtomicU32::new(0));
    let ask = || {
        let (mut stream, mut greetings) = (open(address), 0);
        while begun.fetch_add(1, Relaxed) < count && Instant::now() < end {
            greet(&mut stream);
            greetings += 1;
        }
        greetings
    };
    thread::scope(|scope| {
        let clients: Vec<_> = (0..32).map(|_| scope.spawn(ask)).collect();
        clients.into_iter().map(|client| client.join().expect("greetings alone")).sum()
    })
}

/// How long greetings took, the shortest first.
pub(crate) struct Latencies(Vec<Duration>);

impl Latencies {
    /// Asks on one connection, again and again, until `time` is over.
    pub(crate) fn of(address: SocketAddr, time: Duration) -> Self {
        let (end, mut stream) = (Instant::now() + time, open(address));
        let mut all = Vec::new();
        while Instant::now() < end {
            let start = Instant::now();
            greet(&mut stream);
            all.push(start.elapsed());
        }
        all.sort_unstable();
        Self(all)
    }

    pub(crate) fn longest(&self) -> Duration {
        self.at(100)
    }

    /// This percentile.
    pub(crate) fn at(&self, percent: usize) -> Duration {
        self.0[(self.0.len() * percent / 100).min(self.0.len() - 1)]
    }
}

impl Display for Latencies {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let us = |percent| self.at(percent).as_micros();
        write!(f, "p50 {} us, p99 {} us, of {}", us(50), us(99), self.0.len())
    }
}
