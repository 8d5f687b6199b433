//! How long greeter waits for its clients. The limits are passed in, so that a test of 75
//! seconds takes none; that they are what they should be is a test of its own.

use std::fs;
use std::io::Read;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::thread;
use std::time::{Duration, Instant};

use chassis::{Port, Shutdown};
use greeter::{Limits, SERVICE, Settings};
use harness::Client;

use crate::common::{GREETING, answer, negotiated, peers};

const SHORT: Duration = Duration::from_millis(300);
/// The clock that ends it counts whole milliseconds, and began a moment before the test's.
const NOT_BEFORE: Duration = Duration::from_millis(280);
const LONG: Duration = Duration::from_mins(1);
/// A limit is not met to the millisecond on a busy machine.
const LATE: Duration = Duration::from_secs(10);

/// A greeter with these limits, inside the test's own process.
fn greeter(limits: Limits) -> SocketAddr {
    let (greeting, name) = peers();
    let settings = Settings {
        host: "greeter-1".to_owned(),
        greeting: greeting.url().parse().unwrap(),
        name: name.url().parse().unwrap(),
        max_connections: 100,
        limits,
    };
    let ports = Port::take(&[IpAddr::V4(Ipv4Addr::LOCALHOST)], 0).unwrap();
    let address = ports[0].address();
    thread::spawn(move || (SERVICE.run)(settings, ports, &Shutdown::on_call()));
    let end = Instant::now() + LATE;
    while Client::try_connect(address).is_none() {
        assert!(Instant::now() < end, "it does not listen");
    }
    address
}

#[test]
fn the_limits_are_those_of_the_documentation() {
    let Limits { idle, receive, send } = Limits::default();
    assert_eq!((idle.as_secs(), receive.as_secs(), send.as_secs()), (75, 10, 10));
}

#[test]
fn an_idle_connection_is_closed() {
    let address = greeter(Limits { idle: SHORT, receive: LONG, send: LONG });
    let mut client = Client::connect(address);
    // Its time begins anew with every answer.
    for _ in 0..3 {
        thread::sleep(SHORT / 2);
        client.send("GET / HTTP/1.1\r\nHost: x\r\n\r\n");
        assert_eq!(client.answer(), negotiated("200 OK", "", GREETING));
    }
    let start = Instant::now();
    assert!(client.is_closed());
    assert!((NOT_BEFORE..LATE).contains(&start.elapsed()));
}

#[test]
fn a_request_that_trickles_in_is_ended() {
    let address = greeter(Limits { idle: LONG, receive: SHORT, send: LONG });
    let too_slow =
        answer("408 Request Timeout", "Connection: close\r\n", "the request took more than 10 s");
    for (start, more) in [
        // The head: however often something comes, its time does not begin anew.
        ("GET / HTTP/1.1\r\n", "X: y\r\n"),
        // Nor does blank space help.
        ("\r\n", ""),
        ("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\n", "x"),
        ("POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n", "1\r\nx\r\n"),
    ] {
        let mut client = Client::connect(address);
        client.send(start);
        let started = Instant::now();
        while started.elapsed() < SHORT * 2 / 3 {
            client.send(more);
            thread::sleep(SHORT / 10);
        }
        assert_eq!(client.answer(), too_slow, "{start:?}");
        assert!(client.is_closed());
        assert!((NOT_BEFORE..LATE).contains(&started.elapsed()));
    }
}

/// Whoever never said anything has less time than whoever is known.
#[test]
fn a_connection_that_never_said_anything_is_closed() {
    let address = greeter(Limits { idle: LONG, receive: SHORT, send: LONG });
    let mut client = Client::connect(address);
    let start = Instant::now();
    assert!(client.is_closed());
    assert!((NOT_BEFORE..LATE).contains(&start.elapsed()));
}

/// It is told why, though it goes on sending.
#[test]
fn a_client_that_is_too_slow_can_read_so() {
    let address = greeter(Limits { idle: LONG, receive: SHORT, send: LONG });
    for start in [
        "GET / HTTP/1.1\r\n",
        "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 60000\r\n\r\n",
        "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 70000\r\n\r\n",
    ] {
        let mut client = Client::connect(address);
        client.send(start);
        let (started, mut said) = (Instant::now(), client.share());
        // Well past the limit, and not a byte read before.
        while started.elapsed() < 2 * SHORT && client.try_send("X: y\r\n").is_ok() {
            thread::sleep(SHORT / 10);
        }
        let mut status = [0; 12];
        said.read_exact(&mut status).expect("an answer, no reset");
        let expected = if start.contains("70000") { "HTTP/1.1 413" } else { "HTTP/1.1 408" };
        assert_eq!(String::from_utf8_lossy(&status), expected, "{start:?}");
    }
}

/// And is not read from meanwhile: what it sends piles up on its own side. Nor does the kernel
/// keep what it did not read.
#[test]
fn a_client_that_does_not_read_is_dropped() {
    let address = greeter(Limits { idle: LONG, receive: LONG, send: SHORT });
    let mut client = Client::connect(address);
    let request = "GET /health HTTP/1.1\r\nHost: x\r\n\r\n".repeat(1000);
    let start = Instant::now();
    while client.try_send(&request).is_ok() {
        assert!(start.elapsed() < LATE, "it is still there");
    }
    is_forgotten(address, &client);
    // The others never noticed.
    assert_eq!(harness::get(address, "/health"), (200, "ok".to_owned()));
}

/// An answer that fits into the kernel, to somebody who takes no part of it and is done.
#[test]
fn an_answer_that_nobody_reads_is_not_kept_when_the_connection_is_closed() {
    let address = greeter(Limits { idle: LONG, receive: LONG, send: SHORT });
    let mut client = Client::with_room(address, 1);
    // The page as it is, 30 kB: more than the client has room for.
    client.send("GET / HTTP/1.1\r\nHost: x\r\nAccept: text/html\r\n\r\n").finish();
    is_forgotten(address, &client);
}

/// Waits until the kernel has nothing of greeter's end of the connection any more, which takes
/// minutes if it still has something to say there.
fn is_forgotten(address: SocketAddr, client: &Client) {
    let ends = [address, client.address()].map(|end| format!(":{:04X}", end.port()));
    harness::eventually("the kernel keeps what nobody reads", || {
        let sockets = fs::read_to_string("/proc/net/tcp").expect("Linux has it");
        !sockets.lines().any(|line| {
            // A number, then the two ends.
            let mut fields = line.split_whitespace().skip(1);
            ends.iter().all(|end| fields.next().is_some_and(|field| field.ends_with(end)))
        })
    });
}
