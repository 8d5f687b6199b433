//! How long greeter waits for its clients. The limits are passed in, so that a test of 75
//! seconds takes none; that they are the documented ones is a test of `document.rs`.

use std::fs;
use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::mpsc::channel;
use std::sync::{Arc, Barrier, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use application::{LEAVES, Service};
use chassis::{Port, Shutdown};
use greeter::{Leaf, Limits, SERVICE, Settings};
use harness::peer::{ok, read_request};
use harness::{Client, PATIENCE, Peer, eventually};

use crate::common::{
    GET, GREETING, NAME, answer, ask, greeter_with_name, in_time, leaves, negotiated, timely,
};

/// What a test waits for. Whatever has to come before it has a third of it or more to spare:
/// so long no busy machine keeps a thread from its turn.
const SHORT: Duration = Duration::from_secs(2);
/// The clock that ends it counts whole milliseconds, and began a moment before the test's.
const NOT_BEFORE: Duration = Duration::from_millis(1980);
/// What it does not wait for: longer than a test waits at all.
const LONG: Duration = Duration::from_mins(1);

/// A greeter with these limits, inside the test's own process.
fn greeter(limits: Limits) -> SocketAddr {
    let leaf = |(service, peer): (&Service, Peer)| Leaf {
        name: service.name,
        url: peer.url().parse().unwrap(),
    };
    let settings = Settings {
        host: "greeter-1".to_owned(),
        leaves: LEAVES.iter().zip(leaves()).map(leaf).collect(),
        max_connections: 100,
        limits,
    };
    let ports = Port::bind(&[IpAddr::V4(Ipv4Addr::LOCALHOST)], 0).unwrap();
    let address = ports[0].address();
    thread::spawn(move || (SERVICE.run)(settings, ports, &Shutdown::on_call()));
    eventually("it does not listen", || Client::try_connect(address).is_some());
    address
}

#[test]
fn an_idle_connection_is_closed() {
    let address = greeter(Limits { idle: SHORT, receive: LONG, send: LONG });
    let mut client = Client::connect(address);
    // Its time begins anew with every answer.
    let mut start = Instant::now();
    for _ in 0..4 {
        thread::sleep(SHORT / 3);
        start = Instant::now();
        assert_eq!(ask(&mut client, GET), negotiated("200 OK", "", &GREETING));
    }
    client.expect_end();
    assert!(start.elapsed() >= NOT_BEFORE, "{:?}", start.elapsed());
}

#[test]
fn a_request_that_trickles_in_is_ended() {
    let address = greeter(Limits { idle: LONG, receive: SHORT, send: LONG });
    let text = format!("the request took more than {} s", SHORT.as_secs());
    let too_slow = answer("408 Request Timeout", "Connection: close\r\n", &text);
    let slow = |(start, more): (&'static str, &'static str)| {
        thread::spawn(move || {
            let mut client = Client::connect(address);
            let started = Instant::now();
            client.send(start);
            while started.elapsed() < SHORT * 2 / 3 {
                client.send(more);
                thread::sleep(SHORT / 20);
            }
            let answer = client.answer();
            let took = started.elapsed();
            client.expect_end();
            (took, answer)
        })
    };
    // At the same time, as each takes its time.
    let rows = [
        // The head: however often something comes, its time does not begin anew.
        ("GET / HTTP/1.1\r\n", "X: y\r\n"),
        // Nor does blank space help.
        ("\r\n", ""),
        ("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\n", "x"),
        ("POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n", "1\r\nx\r\n"),
    ];
    for (row, client) in rows.into_iter().zip(rows.map(slow)) {
        let (took, answer) = client.join().unwrap();
        assert_eq!(answer, too_slow, "{row:?}");
        assert!(took >= NOT_BEFORE, "{row:?}: {took:?}");
    }
}

/// Whoever never said anything has less time than whoever is known.
#[test]
fn a_connection_that_never_said_anything_is_closed() {
    let address = greeter(Limits { idle: LONG, receive: SHORT, send: LONG });
    let mut client = Client::connect(address);
    let start = Instant::now();
    client.expect_end();
    assert!(start.elapsed() >= NOT_BEFORE, "{:?}", start.elapsed());
}

const HEALTH: &str = "GET /health HTTP/1.1\r\nHost: x\r\n\r\n";
const POST: &str = "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\n";

/// greeter is stopped for longer than anybody has, and what came meanwhile came in time: a
/// request, the rest of one, the rest of a body, and the answer of a leaf.
#[test]
fn what_came_in_time_is_served_however_late_it_is_read() {
    let (sender, asked) = channel();
    let (sender, answers) = (Mutex::new(sender), Arc::new(Barrier::new(2)));
    let leaf = answers.clone();
    let name = Peer::start(move |_, mut stream| {
        while let Some(request) = read_request(&mut stream) {
            if request.contains("traceparent") {
                sender.lock().unwrap().send(()).unwrap();
                leaf.wait();
            }
            let _ = stream.write_all(&ok(NAME));
        }
    });
    let (process, address) = greeter_with_name(&name.url());
    let greeted = negotiated("200 OK", "", &GREETING);
    let healthy = answer("200 OK", "", "ok");
    in_time(|| {
        let mut silent = Client::connect(address);
        let [mut half, mut body, mut asks] = [(); 3].map(|()| Client::connect(address));
        assert_eq!(timely(asks.send(GET).answer())?, greeted);
        assert_eq!(half.send(format!("{HEALTH}GET / HTTP/1.1\r\nHo")).answer(), healthy);
        assert_eq!(body.send(format!("{HEALTH}{POST}he")).answer(), healthy);
        asks.send("GET / HTTP/1.1\r\nHost: x\r\nTraceparent: 00-aa-bb-01\r\n\r\n");
        asked.recv_timeout(PATIENCE).unwrap();
        process.stopped(|| {
            answers.wait();
            silent.send(GET);
            half.send("st: x\r\n\r\n");
            body.send("llo");
            thread::sleep(Limits::default().receive + Duration::from_secs(1));
        });
        assert_eq!(timely(silent.answer())?, greeted);
        assert_eq!(timely(half.answer())?, greeted);
        assert!(body.answer().starts_with("HTTP/1.1 405 "));
        assert_eq!(timely(asks.answer())?, greeted);
        Some(())
    });
}

/// It is told why, though it goes on sending.
#[test]
fn a_client_that_is_too_slow_can_read_so() {
    let address = greeter(Limits { idle: LONG, receive: SHORT, send: LONG });
    let slow = |start: &'static str| {
        thread::spawn(move || {
            let mut client = Client::connect(address);
            client.send(start);
            let (started, mut said) = (Instant::now(), client.share());
            // Past the limit, and not a byte read before.
            while started.elapsed() < SHORT * 5 / 4 && client.try_send("X: y\r\n").is_ok() {
                thread::sleep(SHORT / 20);
            }
            let mut status = [0; 12];
            said.read_exact(&mut status).expect("an answer, no reset");
            String::from_utf8_lossy(&status).into_owned()
        })
    };
    let clients = [
        "GET / HTTP/1.1\r\n",
        "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 60000\r\n\r\n",
        "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 70000\r\n\r\n",
    ];
    let told = clients.map(slow).map(|client| client.join().unwrap());
    assert_eq!(told, ["HTTP/1.1 408", "HTTP/1.1 408", "HTTP/1.1 413"]);
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
        assert!(start.elapsed() < PATIENCE, "it is still there");
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
