//! How long greeter waits for its clients. The limits are passed in, so that a test of 75
//! seconds takes none; that they are what they should be is a test of its own.

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

/// And is not read from meanwhile: what it sends piles up on its own side.
#[test]
fn a_client_that_does_not_read_is_dropped() {
    let address = greeter(Limits { idle: LONG, receive: LONG, send: SHORT });
    let mut client = Client::connect(address);
    let request = "GET /health HTTP/1.1\r\nHost: x\r\n\r\n".repeat(1000);
    let start = Instant::now();
    while client.try_send(&request).is_ok() {
        assert!(start.elapsed() < LATE, "it is still there");
    }
    // The others never noticed.
    assert_eq!(harness::get(address, "/health"), (200, "ok".to_owned()));
}
