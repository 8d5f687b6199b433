//! The services behind: asked at the same time, on connections that are kept, and never
//! trusted.

use std::io::{Read, Write};
use std::net::SocketAddr;
use std::sync::mpsc::channel;
use std::sync::{Arc, Barrier, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use application::{LEAVES, Service};

use crate::common::{
    GET, GREETING, NAME, ask, command, command_for, greet, greeter_with_name, in_time, leaves,
    negotiated, nobody, said, timely,
};
use harness::peer::{ok, read_request, reset};
use harness::{Client, PATIENCE, Peer, Process};

#[test]
fn all_are_asked_at_the_same_time() {
    let answered = in_time(|| {
        // Each answers only once the others have been asked as well.
        let all = Arc::new(Barrier::new(LEAVES.len()));
        let peer = |leaf: &Service| {
            let (all, line) = (all.clone(), said(leaf.name));
            Peer::start(move |_, mut stream| {
                while read_request(&mut stream).is_some() {
                    all.wait();
                    let _ = stream.write_all(&ok(&line));
                }
            })
        };
        let peers: Vec<_> = LEAVES.iter().map(peer).collect();
        let (_process, address) = Process::serve(&mut command_for(&peers));
        greet_once(address)
    });
    assert_eq!(answered, negotiated("200 OK", "", &GREETING));
}

#[test]
fn connections_are_kept() {
    in_time(|| {
        let leaves = leaves();
        let (_process, address) = Process::serve(&mut command_for(&leaves));
        for _ in 0..20 {
            assert_eq!(greet_once(address)?, negotiated("200 OK", "", &GREETING));
        }
        assert!(leaves.iter().all(|leaf| leaf.connections() == 1), "{leaves:?}");
        Some(())
    });
}

/// A connection that nobody uses is closed, though no other call comes.
#[test]
fn what_is_not_used_is_closed() {
    let (sender, ends) = channel();
    let sender = Mutex::new(sender);
    let name = Peer::start(move |_, mut stream| {
        while read_request(&mut stream).is_some() {
            let _ = stream.write_all(&ok(NAME));
        }
        // A connection that stays open has no end, but a time-out.
        let end = stream.read(&mut [0]);
        sender.lock().unwrap().send(end.is_ok()).unwrap();
    });
    let (_process, address) = greeter_with_name(&name.url());
    assert_eq!(greet(address), negotiated("200 OK", "", &GREETING));
    assert_eq!(ends.recv_timeout(2 * PATIENCE), Ok(true));
}

#[test]
fn only_the_trace_is_passed_on() {
    let (sender, requests) = channel();
    let sender = Mutex::new(sender);
    let name = Peer::start(move |_, mut stream| {
        while let Some(request) = read_request(&mut stream) {
            sender.lock().unwrap().send(request).unwrap();
            let _ = stream.write_all(&ok(NAME));
        }
    });
    let host = name.url().replace("http://", "");
    let (_process, address) = greeter_with_name(&format!("{}/some/path", name.url()));
    let answered = ask(
        &mut Client::connect(address),
        "GET /?q HTTP/1.1\r\nHost: x\r\nCookie: secret\r\nAuthorization: secret\r\n\
         TraceParent: 00-aa-bb-01\r\nTraceState: a=b\r\nBaggage: c=d\r\nX-Request-Id: e\r\n\
         X-Amzn-Trace-Id: Root=f\r\nX-Amzn-Ecs-Blue-Green-Test: 1\r\nX-Forwarded-For: 192.0.2.1\r\n\r\n",
    );
    assert_eq!(answered, negotiated("200 OK", "", &GREETING));
    let request = requests.recv_timeout(PATIENCE).unwrap();
    let (line, headers) = request.split_once("\r\n").unwrap();
    assert_eq!(line, "GET /some/path HTTP/1.1");
    let mut headers: Vec<_> = headers.trim_end().split("\r\n").collect();
    headers.sort_unstable();
    let expected = [
        "baggage: c=d",
        &format!("host: {host}"),
        "traceparent: 00-aa-bb-01",
        "tracestate: a=b",
        &format!("user-agent: greeter/{}", env!("CARGO_PKG_VERSION")),
        "x-amzn-ecs-blue-green-test: 1",
        "x-amzn-trace-id: Root=f",
        "x-request-id: e",
    ];
    assert_eq!(headers, expected);
}

#[test]
fn any_server_of_one_line_will_do() {
    for (what, bytes) in [
        ("a newline at its end", ok(&format!("{NAME}\r\n"))),
        (
            "chunked",
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n\
              7\r\na name \r\n8\r\n(name-1)\r\n0\r\n\r\n"
                .to_vec(),
        ),
        (
            "many headers",
            format!(
                "HTTP/1.1 200 OK\r\nX-Powered-By: Express\r\n{}Content-Length: 15\r\n\r\n{NAME}",
                "X-Header: value\r\n".repeat(60)
            )
            .into(),
        ),
    ] {
        let (_process, address) = greeter_with_name(&Peer::answering(bytes).url());
        for _ in 0..2 {
            assert_eq!(greet(address), negotiated("200 OK", "", &GREETING), "{what}");
        }
    }
    // HTTP/1.0, without a length: the end of the connection ends the answer.
    let name = Peer::start(|_, mut stream| {
        let _ = read_request(&mut stream);
        let _ = stream.write_all(b"HTTP/1.0 200 OK\r\n\r\na name (name-1)");
    });
    let (_process, address) = greeter_with_name(&name.url());
    for _ in 0..2 {
        assert_eq!(greet(address), negotiated("200 OK", "", &GREETING));
    }
}

/// A name service that misbehaves until told otherwise.
fn misbehaving(serve: Misbehaviour) -> (Peer, Arc<Mutex<bool>>) {
    let well = Arc::new(Mutex::new(false));
    let now = well.clone();
    let peer = Peer::start(move |_, mut stream| {
        if *now.lock().unwrap() {
            while read_request(&mut stream).is_some() {
                let _ = stream.write_all(&ok(NAME));
            }
        } else {
            serve(stream);
        }
    });
    (peer, well)
}

/// Reads the request, then sends these bytes and closes.
fn sends(bytes: impl Into<Vec<u8>>) -> impl Fn(std::net::TcpStream) + Send + Sync {
    let bytes = bytes.into();
    move |mut stream| {
        let _ = read_request(&mut stream);
        let _ = stream.write_all(&bytes);
    }
}

/// Reads the request, then sends these bytes and resets the connection.
fn resets_after(bytes: &'static str) -> impl Fn(std::net::TcpStream) + Send + Sync {
    move |mut stream| {
        let _ = read_request(&mut stream);
        let _ = stream.write_all(bytes.as_bytes());
        reset(stream);
    }
}

type Misbehaviour = Arc<dyn Fn(std::net::TcpStream) + Send + Sync>;

#[test]
fn a_service_that_misbehaves_is_named_and_the_next_greeting_is_right() {
    let status = |line: &str| sends(format!("HTTP/1.1 {line}\r\nContent-Length: 2\r\n\r\nno"));
    let bad = "502 Bad Gateway";
    let rows: Vec<(Misbehaviour, &str, &str)> = vec![
        (Arc::new(status("500 Internal Server Error")), bad, "answered 500 Internal Server Error"),
        (Arc::new(sends("HTTP/1.1 204 No Content\r\n\r\n")), bad, "answered 204 No Content"),
        (
            Arc::new(sends("HTTP/1.1 302 Found\r\nLocation: /\r\nContent-Length: 0\r\n\r\n")),
            bad,
            "answered 302 Found",
        ),
        (Arc::new(sends(ok(""))), bad, "the answer is empty"),
        (Arc::new(sends(ok("a\nb"))), bad, "the answer holds control characters"),
        (Arc::new(sends(ok("a\u{1b}[31mb"))), bad, "the answer holds control characters"),
        (
            Arc::new(sends(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n\xff\xfe".to_vec())),
            bad,
            "the answer is not UTF-8",
        ),
        (Arc::new(sends(ok(&"x".repeat(10_000_000)))), bad, "the answer is over 4 KiB"),
        (Arc::new(sends(ok(&"x".repeat(4097)))), bad, "the answer is over 4 KiB"),
        (
            Arc::new(sends("HTTP/1.1 200 OK\r\nContent-Length: 20\r\n\r\nhalf")),
            bad,
            "connection closed before the end of the answer",
        ),
        (Arc::new(sends("")), bad, "connection closed before the end of the answer"),
        (Arc::new(resets_after("")), bad, "connection reset"),
        (
            Arc::new(resets_after("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf")),
            bad,
            "connection reset",
        ),
        (Arc::new(resets_after("HTTP/1.0 200 OK\r\n\r\nhalf")), bad, "connection reset"),
        (
            Arc::new(sends(format!("HTTP/1.1 200 OK\r\nX: {}\r\n\r\n", "x".repeat(9000)))),
            bad,
            "the answer's head is over 4 KiB",
        ),
    ];
    for (serve, expected_status, cause) in rows {
        in_time(|| {
            let (name, well) = misbehaving(serve.clone());
            let (process, address) = greeter_with_name(&name.url());
            let body = format!("name ({}/): {cause}", name.url());
            assert_eq!(greet_once(address)?, negotiated(expected_status, "", &body));
            let logged = process.line(|line| line.contains("upstream failed"));
            assert!(logged.contains(cause) && logged.contains(&name.url()), "{logged}");

            *well.lock().unwrap() = true;
            assert_eq!(greet(address), negotiated("200 OK", "", &GREETING), "after: {cause}");
            Some(())
        });
    }
}

#[test]
fn what_is_no_http_is_said_to_be_none() {
    let (name, _) = misbehaving(Arc::new(sends("SSH-2.0-OpenSSH_9.9\r\n\r\n")));
    let (_process, address) = greeter_with_name(&name.url());
    let refused = greet(address);
    assert!(refused.starts_with("HTTP/1.1 502 Bad Gateway\r\n"), "{refused}");
    assert!(
        refused.contains(&format!("name ({}/): not an HTTP answer: ", name.url())),
        "{refused}"
    );
}

#[test]
fn a_service_that_is_slow_is_given_up_after_two_seconds() {
    let silent: Misbehaviour = Arc::new(|stream| {
        thread::sleep(PATIENCE);
        drop(stream);
    });
    // A byte now and then is no answer either.
    let trickling: Misbehaviour = Arc::new(|mut stream| {
        for byte in b"HTTP/1.1 200 OK\r\nX-Slow: yes\r\n" {
            let _ = stream.write_all(&[*byte]);
            thread::sleep(Duration::from_millis(300));
        }
    });
    let endless: Misbehaviour = Arc::new(|mut stream| {
        let _ = read_request(&mut stream);
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n");
        while stream.write_all(b"x").is_ok() {
            thread::sleep(Duration::from_millis(300));
        }
    });
    let slow = |serve: Misbehaviour| {
        thread::spawn(move || {
            let (name, well) = misbehaving(serve);
            let (_process, address) = greeter_with_name(&name.url());
            // Sooner only when connecting took its 500 ms already.
            let refused = in_time(|| {
                let start = Instant::now();
                let refused = Client::connect(address).send(GET).answer();
                (start.elapsed() >= Duration::from_millis(1990)).then_some(refused)
            });
            *well.lock().unwrap() = true;
            (name, refused, greet(address))
        })
    };
    for row in [slow(silent), slow(trickling), slow(endless)] {
        let (name, refused, next) = row.join().unwrap();
        let body = format!("name ({}/): no answer in time", name.url());
        assert_eq!(refused, negotiated("504 Gateway Timeout", "", &body));
        assert_eq!(next, negotiated("200 OK", "", &GREETING));
    }
}

#[test]
fn a_service_that_is_down_is_named() {
    let (_port, down) = nobody();
    for leaf in LEAVES {
        let (_process, address) = Process::serve(command().env(leaf.variable, &down));
        let body = format!("{} ({down}/): connection refused", leaf.name);
        assert_eq!(greet(address), negotiated("502 Bad Gateway", "", &body));
        // The rest of it goes on.
        assert_eq!(harness::get(address, "/health"), (200, "ok".to_owned()));
    }
}

#[test]
fn a_name_that_does_not_resolve_is_named() {
    let (_process, address) = greeter_with_name("http://no-such-host.invalid:3000");
    let refused = greet(address);
    // The system's resolver may be out of reach.
    let causes = [
        ("502 Bad Gateway", "cannot look up no-such-host.invalid: no such name"),
        (
            "504 Gateway Timeout",
            "cannot look up no-such-host.invalid: the name server gives no answer",
        ),
        ("504 Gateway Timeout", "looking up no-such-host.invalid takes too long"),
    ];
    let is_named = causes.iter().any(|(status, cause)| {
        let named = format!("name (http://no-such-host.invalid:3000/): {cause}");
        refused.starts_with(&format!("HTTP/1.1 {status}\r\n")) && refused.contains(&named)
    });
    assert!(is_named, "{refused}");
}

/// The retry: a service that closes its kept connections between two requests, as one
/// that was started anew has.
#[test]
fn a_kept_connection_that_died_costs_no_greeting() {
    for answers in [1, 2, 3] {
        in_time(|| {
            let name = Peer::start(move |_, mut stream| {
                for _ in 0..answers {
                    if read_request(&mut stream).is_none() {
                        return;
                    }
                    let _ = stream.write_all(&ok(NAME));
                }
                // Reads the next request and hangs up on it: too late for greeter to see.
                let _ = read_request(&mut stream);
            });
            let (_process, address) = greeter_with_name(&name.url());
            for _ in 0..12 {
                assert_eq!(greet_once(address)?, negotiated("200 OK", "", &GREETING));
            }
            assert_eq!(name.connections(), 12 / answers);
            Some(())
        });
    }
}

/// The same of one that says 408 and closes, which crosses with the next request.
#[test]
fn a_kept_connection_that_timed_out_costs_no_greeting() {
    in_time(|| {
        let name = Peer::start(|_, mut stream| {
            let _ = read_request(&mut stream);
            let _ = stream.write_all(&ok(NAME));
            let _ = read_request(&mut stream);
            let _ = stream.write_all(
                b"HTTP/1.1 408 Request Timeout\r\nConnection: close\r\nContent-Length: 0\r\n\r\n",
            );
        });
        let (_process, address) = greeter_with_name(&name.url());
        for _ in 0..6 {
            assert_eq!(greet_once(address)?, negotiated("200 OK", "", &GREETING));
        }
        Some(())
    });
    // On a connection that is new it is an answer like any other.
    let timeout = "HTTP/1.1 408 Request Timeout\r\nContent-Length: 0\r\n\r\n";
    let name = Peer::answering(timeout);
    let (_process, address) = greeter_with_name(&name.url());
    let body = format!("name ({}/): answered 408 Request Timeout", name.url());
    assert_eq!(greet(address), negotiated("502 Bad Gateway", "", &body));
}

/// One retry and no more: a service that only ever hangs up is not asked for ever.
#[test]
fn a_service_that_always_hangs_up_is_asked_once() {
    in_time(|| {
        let name = Peer::start(|_, mut stream| drop(read_request(&mut stream)));
        let (_process, address) = greeter_with_name(&name.url());
        let refused = greet_once(address)?;
        assert!(refused.starts_with("HTTP/1.1 502 "), "{refused}");
        // The connection was new, so there was no reason to ask again.
        assert_eq!(name.connections(), 1);
        Some(())
    });
}

/// A service that sends an answer which nobody asked for. It comes while greeter is stopped, so
/// that greeter's next look finds the request and that answer at the same time.
#[test]
fn an_answer_that_nobody_asked_for_is_nobodys() {
    let (sender, streams) = channel();
    let sender = Mutex::new(sender);
    let name = Peer::start(move |_, mut stream| {
        sender.lock().unwrap().send(stream.try_clone().unwrap()).unwrap();
        while read_request(&mut stream).is_some() {
            let _ = stream.write_all(&ok(NAME));
        }
    });
    let (process, address) = greeter_with_name(&name.url());
    in_time(|| {
        let mut client = Client::connect(address);
        assert_eq!(timely(client.send(GET).answer())?, negotiated("200 OK", "", &GREETING));
        let mut kept = streams.try_iter().last()?;
        process.stopped(|| {
            // In this order: greeter hears of the request first.
            client.send(GET);
            kept.write_all(&ok("an answer to nobody")).unwrap();
        });
        assert_eq!(timely(client.answer())?, negotiated("200 OK", "", &GREETING));
        Some(())
    });
}

#[test]
fn many_clients_at_a_time() {
    in_time(|| {
        let leaves = leaves();
        let (_process, address) = Process::serve(&mut command_for(&leaves));
        let client = |_| thread::spawn(move || greet_often(address));
        let clients: Vec<_> = (0..32).map(client).collect();
        let ends: Vec<_> = clients.into_iter().map(|client| client.join().unwrap()).collect();
        ends.into_iter().collect::<Option<Vec<()>>>()?;
        assert!(leaves.iter().all(|leaf| leaf.connections() <= 32), "{leaves:?}");
        Some(())
    });
}

fn greet_often(address: SocketAddr) -> Option<()> {
    let mut client = Client::connect(address);
    for _ in 0..50 {
        assert_eq!(timely(client.send(GET).answer())?, negotiated("200 OK", "", &GREETING));
    }
    Some(())
}

/// One GET, unless it took too long: for a case that counts.
fn greet_once(address: SocketAddr) -> Option<String> {
    timely(Client::connect(address).send(GET).answer())
}
