//! The edge's HTTP: bytes in, bytes out, on a real socket.

use std::io::Write;
use std::thread;
use std::time::{Duration, Instant};

use chassis::shutdown::DRAIN_LIMIT;
use harness::peer::{ok, read_request};
use harness::{Client, Peer};
use nix::sys::signal::Signal;

use crate::common::{
    GET, GREETING, NAME, answer, ask, greeter, greeter_with_name, in_time, negotiated, timely,
};

const ALLOW: &str = "Allow: GET, HEAD, OPTIONS\r\n";
const NOT_ALLOWED: &str = "method not allowed: GET, HEAD or OPTIONS";

/// What comes back for requests after which the connection lives on. `docs/http.md` has all kinds
/// of them, and `document.rs` sends those: here is each answer once, byte for byte.
#[test]
fn requests_and_their_answers() {
    let (_process, address) = greeter();
    let greeted = negotiated("200 OK", "", &GREETING);
    let refused = answer("405 Method Not Allowed", ALLOW, NOT_ALLOWED);
    let healthy = answer("200 OK", "", "ok");

    let mut client = Client::connect(address);
    for (request, expected) in [
        ("GET / HTTP/1.1\r\nHost: x\r\n\r\n", &greeted),
        ("GET /health HTTP/1.1\r\nHost: [::1]:3000\r\n\r\n", &healthy),
        ("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nhello", &refused),
        ("GET / HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nabc", &greeted),
    ] {
        assert_eq!(ask(&mut client, request), *expected, "{request}");
    }

    let head = in_time(|| timely(client.send("HEAD / HTTP/1.1\r\nHost: x\r\n\r\n").head()));
    assert_eq!(head, greeted.strip_suffix(GREETING.as_str()).unwrap());
    for target in ["/", "*"] {
        client.send(format!("OPTIONS {target} HTTP/1.1\r\nHost: x\r\n\r\n"));
        let expected = format!(
            "HTTP/1.1 204 No Content\r\nDate: DATE\r\nX-Content-Type-Options: nosniff\r\n\
             Cache-Control: no-store\r\n{ALLOW}\r\n"
        );
        assert_eq!(client.head(), expected);
    }
    // HTTP/1.0 that asks for it.
    let kept = ask(&mut client, "GET / HTTP/1.0\r\nConnection: Keep-Alive\r\n\r\n");
    assert_eq!(kept, negotiated("200 OK", "Connection: keep-alive\r\n", &GREETING));
    client.send("GET /health HTTP/1.1\r\nHost: x\r\n\r\n");
    assert_eq!(client.answer(), healthy);
}

/// What comes back for requests that end the connection.
#[test]
fn requests_that_end_the_connection() {
    let (_process, address) = greeter();
    let many = "X: y\r\n".repeat(128);
    let (long, huge) = ("a".repeat(16 * 1024), "a".repeat(100_000));
    let bad = |what: &'static str| ("400 Bad Request", what);
    let head_too_large =
        ("431 Request Header Fields Too Large", "head over 64 KiB, or more than 128 headers");
    let post = |fields: &str| format!("POST / HTTP/1.1\r\nHost: x\r\n{fields}\r\n\r\n");

    for (request, (status, text)) in [
        ("GET / HTTP/1.0\r\n\r\n".into(), ("200 OK", GREETING.as_str())),
        (
            "GET / HTTP/1.1\r\nHost: x\r\nConnection: a, CLOSE\r\n\r\n".into(),
            ("200 OK", GREETING.as_str()),
        ),
        (format!("GET / HTTP/1.1\r\nHost: x\r\n{many}\r\n"), head_too_large),
        (format!("GET / HTTP/1.1\r\nHost: x\r\nA: {huge}\r\n\r\n"), head_too_large),
        (format!("GET /{long} HTTP/1.1\r\n"), ("414 URI Too Long", "request line over 16 KiB")),
        (format!("{huge} / HTTP/1.1\r\n"), ("501 Not Implemented", "method over 32 bytes")),
        ("GET /\r\n\r\n".into(), bad("bad request line")),
        ("GET / HTTP/1\r\nHost: x\r\n\r\n".into(), bad("no HTTP/1.1 behind the request target")),
        ("GET /a#b HTTP/1.1\r\nHost: x\r\n\r\n".into(), bad("bad request target")),
        ("GET http:/// HTTP/1.1\r\nHost: x\r\n\r\n".into(), bad("bad host in the request target")),
        ("GET / HTTP/1.1\r\nHost: a:b\r\n\r\n".into(), bad("bad Host")),
        ("GET / HTTP/1.1\r\nHost : x\r\n\r\n".into(), bad("bad header name")),
        ("GET / HTTP/1.1\r\nHost: x\r\nA: b\rc\r\n\r\n".into(), bad("bad header value")),
        ("GET / HTTP/1.1\nHost: x\n\n".into(), bad("a line ends without CR")),
        ("GET / HTTP/1.1\r\n\r\n".into(), bad("exactly one Host header is required")),
        (
            "GET / HTTP/9.9\r\nHost: x\r\n\r\n".into(),
            ("505 HTTP Version Not Supported", "this is HTTP/1.1"),
        ),
        (post("Content-Length: -1"), bad("bad Content-Length")),
        (post("Content-Length: 1\r\nContent-Length: 2"), bad("two values of Content-Length")),
        (
            post("Content-Length: 1\r\nTransfer-Encoding: chunked"),
            bad("both Transfer-Encoding and Content-Length"),
        ),
        (
            post("Transfer-Encoding: gzip, chunked"),
            ("501 Not Implemented", "Transfer-Encoding other than chunked"),
        ),
        (
            post("Transfer-Encoding: chunked, gzip"),
            bad("bad Transfer-Encoding, or chunked more than once or not last"),
        ),
        (post("Transfer-Encoding: gzip"), bad("the last Transfer-Encoding is not chunked")),
        (
            "POST / HTTP/1.0\r\nTransfer-Encoding: gzip, chunked\r\n\r\n".into(),
            bad("Transfer-Encoding in HTTP/1.0"),
        ),
        (post("Transfer-Encoding: chunked\r\n\r\nx"), bad("bad chunk size or extension")),
        (post("Transfer-Encoding: chunked\r\n\r\n0\r\nA : b"), bad("bad trailer")),
        (post("Content-Length: 65537"), ("413 Content Too Large", "body over 64 KiB")),
        (post("Expect: a-miracle"), ("417 Expectation Failed", "Expect other than 100-continue")),
    ] {
        let form = if text == *GREETING { negotiated } else { answer };
        let expected = form(status, "Connection: close\r\n", text);
        let answered = in_time(|| {
            let mut client = Client::connect(address);
            let answered = timely(client.send(&request).answer())?;
            println!("{request:.80}"); // the last one is the one that failed
            client.expect_end();
            Some(answered)
        });
        assert_eq!(answered, expected, "{request:.80}");
    }
}

/// What is refused is refused without a body where the method is known to be HEAD.
#[test]
fn a_head_that_is_refused_has_no_body() {
    let (_process, address) = greeter();
    let head = |fields: &str| format!("HEAD / HTTP/1.1\r\nHost: x\r\n{fields}\r\n\r\n");
    for (request, status) in [
        ("HEAD / HTTP/1.1\r\n\r\n".to_owned(), "400 Bad Request"),
        ("\r\nHEAD /a#b HTTP/1.1\r\nHost: x\r\n\r\n".to_owned(), "400 Bad Request"),
        (format!("HEAD /{} HTTP/1.1\r\n", "a".repeat(16 * 1024)), "414 URI Too Long"),
        (head("Content-Length: 65537"), "413 Content Too Large"),
        (head("Transfer-Encoding: chunked\r\n\r\nx"), "400 Bad Request"),
        (format!("GET /health HTTP/1.1\r\nHost: x\r\n\r\n{}", head("A : b")), "400 Bad Request"),
    ] {
        let mut client = Client::connect(address);
        client.send(&request);
        if request.starts_with("GET") {
            assert_eq!(client.answer(), answer("200 OK", "", "ok"));
        }
        let refused = client.head();
        assert!(refused.starts_with(&format!("HTTP/1.1 {status}\r\n")), "{request:.80}: {refused}");
        assert!(refused.contains("\r\nContent-Length: "), "{refused}");
        println!("{request:.80}"); // the last one is the one that failed
        client.expect_end();
    }
    // And one that ends too soon.
    let mut client = Client::connect(address);
    client.send("HEAD / HTTP/1.1\r\nHost: x\r\n").finish();
    assert!(client.head().starts_with("HTTP/1.1 400 "));
    client.expect_end();
}

#[test]
fn pipelined_requests_are_answered_in_order() {
    let (_process, address) = greeter();
    let (mut client, first) = in_time(|| {
        let mut client = Client::connect(address);
        client.send(
            "GET / HTTP/1.1\r\nHost: x\r\n\r\n\
             POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nhello\
             GET /health HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n\
             GET /never HTTP/1.1\r\nHost: x\r\n\r\n",
        );
        let first = timely(client.answer())?;
        Some((client, first))
    });
    assert_eq!(first, negotiated("200 OK", "", &GREETING));
    assert_eq!(client.answer(), answer("405 Method Not Allowed", ALLOW, NOT_ALLOWED));
    assert_eq!(client.answer(), answer("200 OK", "Connection: close\r\n", "ok"));
    client.expect_end();
}

#[test]
fn a_client_that_half_closes_is_still_answered() {
    let (_process, address) = greeter();
    let answered = in_time(|| {
        let mut client = Client::connect(address);
        let answered = timely(client.send(GET).finish().answer())?;
        client.expect_end();
        Some(answered)
    });
    assert_eq!(answered, negotiated("200 OK", "", &GREETING));
}

#[test]
fn a_request_that_ends_too_soon_is_refused() {
    let (_process, address) = greeter();
    for (bytes, what) in [
        ("GET / HTTP/1.1\r\nHost: x\r\n", "the request ends within its head"),
        (
            "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nhe",
            "the request ends within its body",
        ),
    ] {
        let mut client = Client::connect(address);
        client.send(bytes).finish();
        assert_eq!(client.answer(), answer("400 Bad Request", "Connection: close\r\n", what));
        client.expect_end();
    }
    // Nothing at all, or a blank line, is no request.
    for nothing in ["", "\r\n"] {
        Client::connect(address).send(nothing).finish().expect_end();
    }
}

#[test]
fn a_client_that_waits_for_100_continue_gets_it() {
    let (_process, address) = greeter();
    let mut client = Client::connect(address);
    client.send("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nExpect: 100-Continue\r\n\r\n");
    assert_eq!(client.head(), "HTTP/1.1 100 Continue\r\n\r\n");
    client.send("hello");
    assert_eq!(client.answer(), answer("405 Method Not Allowed", ALLOW, NOT_ALLOWED));
}

/// Clients that never stop asking: the drain ends at its limit, and still every request
/// that was taken is answered.
#[test]
fn a_drain_without_a_quiet_second_cuts_nobody_off() {
    let slow = Peer::start(|_, mut stream| {
        while read_request(&mut stream).is_some() {
            thread::sleep(Duration::from_millis(700));
            let _ = stream.write_all(&ok(NAME));
        }
    });
    let (mut process, address) = greeter_with_name(&slow.url());
    // One is in flight, always.
    let ask = || {
        let client = Client::try_connect(address);
        client.map(|mut client| thread::spawn(move || client.send(GET).answer()))
    };
    let mut asked = vec![ask().unwrap()];
    process.signal(Signal::SIGTERM);
    let _ = process.line(|line| line.contains(r#""event":"drain""#));
    let start = Instant::now();
    while let Some(one) = ask() {
        asked.push(one);
        thread::sleep(Duration::from_millis(200));
    }
    assert!(start.elapsed() >= DRAIN_LIMIT, "gone after {:?}", start.elapsed());
    let (status, _) = process.wait();
    assert_eq!(status.code(), Some(0));
    let stop = process.line(|line| line.contains(r#""event":"stop""#));
    assert!(stop.contains(r#""quiet":"false""#), "{stop}");
    // The last may have connected as the door closed, and been turned away by the kernel;
    // the first may have come before the drain.
    let _ = asked.pop().map(thread::JoinHandle::join);
    for answered in asked.into_iter().skip(1) {
        let answered = answered.join().unwrap();
        // Or a whole answer that says what a busy machine brings about.
        let expected = negotiated("200 OK", "Connection: close\r\n", &GREETING);
        assert!(answered == expected || timely(answered.clone()).is_none(), "{answered}");
    }
}
