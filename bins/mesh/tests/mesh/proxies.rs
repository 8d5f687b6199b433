//! The mesh's own proxies, held against what HTTP asks of a gateway, and against clients
//! that mean them no good.

use std::fs;
use std::io::{ErrorKind, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::thread;

use harness::peer::reset;
use harness::{Client, PATIENCE, eventually, get};
use nix::sys::signal::Signal;

use crate::running::{Mesh, makers};

/// One request on a connection of its own: status and body.
fn ask(front: SocketAddr, request: &str) -> (u16, String) {
    let answer = Client::connect(front).send(request).answer();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    (head[9..12].parse().unwrap(), body.to_owned())
}

/// What greeter says shows what it was sent: by its form, or by its refusal.
#[test]
fn a_request_is_passed_on_as_a_gateway_must() {
    let mesh = Mesh::start(&["--tasks", "1"]);
    let greeted = |what: &str, request: &str| {
        let (status, body) = ask(mesh.front, request);
        assert_eq!(status, 200, "{what}: {body}");
        makers(&body);
    };
    greeted("HTTP/1.0 has no Host", "GET / HTTP/1.0\r\n\r\n");
    // greeter refuses a Host with a space: the target replaces it (RFC 9112, 3.2.2).
    greeted("an absolute target", "GET http://a.test/x HTTP/1.1\r\nHost: a b\r\n\r\n");
    greeted("an absolute target", "GET http://a.test?y=/health HTTP/1.1\r\nHost: x\r\n\r\n");
    // What Connection names belongs to this connection (RFC 9110, 7.6.1): with its Accept
    // passed on, the greeting would be JSON.
    let json = "GET / HTTP/1.1\r\nHost: x\r\nAccept: application/json\r\n";
    assert!(ask(mesh.front, &format!("{json}\r\n")).1.starts_with('{'));
    greeted("Accept is named", &format!("{json}Connection: accept\r\n\r\n"));
    greeted("in a list", &format!("{json}Connection: x,\r\nConnection: ,close ,ACCEPT\r\n\r\n"));
    greeted("Host is named", "GET / HTTP/1.1\r\nHost: x\r\nConnection: host\r\n\r\n");

    let chunked = "Host: x\r\nTransfer-Encoding: chunked\r\n\r\n";
    let host = "exactly one Host header is required";
    for (request, expected) in [
        ("GET / HTTP/1.1\r\n\r\n".to_owned(), (400, host)),
        ("GET http://a.test/ HTTP/1.1\r\n\r\n".to_owned(), (400, host)),
        ("GET / HTTP/1.0\r\nHost: x\r\nHost: x\r\n\r\n".to_owned(), (400, host)),
        (
            "GET http://user@a.test/ HTTP/1.1\r\nHost: x\r\n\r\n".to_owned(),
            (400, "a user name in the target"),
        ),
        (format!("POST / HTTP/1.1\r\n{chunked}zz\r\n"), (400, "the body is broken")),
        (
            format!(
                "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 8000000\r\n\r\n{}",
                "x".repeat(8_000_000)
            ),
            (413, "body over 1 MiB"),
        ),
    ] {
        let (status, body) = ask(mesh.front, &request);
        assert_eq!((status, body.as_str()), expected, "{request:.80}");
    }
}

/// None of them keeps its connection, its memory or its turn for ever.
#[test]
fn clients_and_tasks_that_only_wait_are_given_up() {
    let mesh = Mesh::start(&[]);
    let files = || fs::read_dir(format!("/proc/{}/fd", mesh.process.pid())).unwrap().count();
    for _ in 0..4 {
        assert_eq!(get(mesh.front, "/").0, 200);
    }
    let before = files();
    // Tasks that take connections, and say nothing.
    for task in ["greeter-1", "greeter-2"] {
        mesh.hang(task);
    }
    let mut silent: Vec<_> = (0..2).map(|_| Client::connect(mesh.front)).collect();
    for client in &mut silent {
        client.send("GET / HTTP/1.1\r\nHost: x\r\n\r\n");
    }
    let mut body = Client::connect(mesh.front);
    body.send("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nhe");

    for client in &mut silent {
        let answer = client.answer();
        // 503: on a busy machine to connect took too long already.
        assert!(["503", "504"].contains(&&answer[9..12]), "{answer}");
    }
    let answer = body.answer();
    assert!(answer.starts_with("HTTP/1.1 408 "), "{answer}");
    body.expect_end();

    for task in ["greeter-1", "greeter-2"] {
        mesh.kill(task, Signal::SIGCONT);
    }
    drop((silent, body));
    eventually("it keeps files", || files() <= before);
    for _ in 0..4 {
        assert_eq!(get(mesh.front, "/").0, 200);
    }
}

/// Asks and asks, and reads nothing.
#[test]
#[cfg(target_os = "linux")]
fn a_client_that_does_not_read_is_dropped() {
    let mesh = Mesh::start(&["--tasks", "1"]);
    let mut stream = TcpStream::connect(mesh.front).unwrap();
    stream.set_write_timeout(Some(PATIENCE)).unwrap();
    let requests = "GET /health HTTP/1.1\r\nHost: x\r\n\r\n".repeat(1000);
    let error = loop {
        if let Err(error) = stream.write_all(requests.as_bytes()) {
            break error;
        }
    };
    let waited = matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut);
    assert!(!waited, "it is still there after {PATIENCE:?}");
    assert_eq!(get(mesh.front, "/health").0, 200, "the others never noticed");
}

/// A connection on its way.
fn begin_to_connect(to: SocketAddr) -> TcpStream {
    use socket2::{Domain, Socket, Type};
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    socket.set_nonblocking(true).unwrap();
    // Says that it is not there yet.
    let _ = socket.connect(&to.into());
    socket.into()
}

/// While they connect and connect, whoever is in has his turn: counted, not timed.
#[test]
fn a_queue_of_new_connections_keeps_nobody_from_an_answer() {
    const ANSWERS: usize = 10;
    const BATCH: usize = 200;
    let mesh = Mesh::start(&["--tasks", "1"]);
    let mut client = Client::connect(mesh.front);
    let (front, count) = (mesh.front, Arc::<AtomicUsize>::default());
    let answered = Arc::<AtomicBool>::default();
    let crowd: Vec<_> = (0..3)
        .map(|_| {
            let (count, answered) = (count.clone(), answered.clone());
            thread::spawn(move || {
                while !answered.load(SeqCst) {
                    // Many at a time, for a queue that is never empty.
                    let batch: Vec<_> = (0..BATCH).map(|_| begin_to_connect(front)).collect();
                    // Reset, for ports that are free again at once.
                    for one in batch {
                        reset(one);
                    }
                    count.fetch_add(BATCH, SeqCst);
                }
            })
        })
        .collect();
    while count.load(SeqCst) < 1000 {
        thread::yield_now();
    }
    let before = count.load(SeqCst);
    for _ in 0..ANSWERS {
        client.send("GET /health HTTP/1.1\r\nHost: x\r\n\r\n");
        assert!(client.answer().starts_with("HTTP/1.1 200 "));
    }
    let others = (count.load(SeqCst) - before) / ANSWERS;
    answered.store(true, SeqCst);
    for one in crowd {
        one.join().unwrap();
    }
    println!("{others} connections for each answer");
    assert!(others < 20_000, "{others} connections for each answer");
}
