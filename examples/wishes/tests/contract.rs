//! What `wishes` promises, held against its real binary: all that every leaf promises, and what
//! it says itself.

use std::time::{Duration, Instant};

use harness::contract::Binary;
use harness::{Client, Process};
use nix::sys::signal::Signal;

const BINARY: Binary =
    Binary { name: "wishes", path: env!("CARGO_BIN_EXE_wishes"), environment: &[] };

harness::test_every_promise!(BINARY);
harness::test_every_promise_of_a_leaf!(BINARY);

fn post(name: &str, body: &str, extra: &str) -> String {
    let length = body.len();
    format!(
        "POST /wishes/{name} HTTP/1.1\r\nHost: x\r\n{extra}Content-Length: {length}\r\n\r\n{body}"
    )
}

fn get(path: &str, extra: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nHost: x\r\n{extra}\r\n")
}

/// One request on a connection of its own: the status line, and the body.
fn ask(address: std::net::SocketAddr, request: &str) -> (String, String) {
    let answer = Client::connect(address).send(request).answer();
    let (head, body) = answer.split_once("\r\n\r\n").expect("a head");
    (head.lines().next().expect("a line")[9..].to_owned(), body.to_owned())
}

fn said(status: &str, body: &str) -> (String, String) {
    (status.to_owned(), body.to_owned())
}

#[test]
fn wishes_are_kept_and_told() {
    let (_process, address) = Process::serve(BINARY.command().env("MAX_WISHES", "1"));
    let mut client = Client::connect(address);
    let wish = r#"{"text":"a long life"}"#;
    let created = client.send(post("ann", wish, "")).answer();
    let expected = format!(
        "HTTP/1.1 201 Created\r\nServer: M\r\nDate: DATE\r\nContent-Length: {}\r\n\
         Connection: close\r\nContent-Type: application/json\r\n\r\n{wish}",
        wish.len()
    );
    assert_eq!(created, expected);
    client.expect_end();
    let over_64_kib = "x".repeat(64 * 1024 + 1);
    for (request, status, body) in [
        (get("/wishes/ann?pretty", ""), "200 Ok", wish),
        (get("/wishes", ""), "200 Ok", r#"{"ann":{"text":"a long life"}}"#),
        (get("/", ""), "200 Ok", "Many happy returns (host-1.test)"),
        (get("/wishes/bob", ""), "404 Not Found", "no such wish"),
        (get("/wish", ""), "404 Not Found", "not here: GET /wishes, GET or POST /wishes/NAME"),
        (post("ann", wish, ""), "201 Created", wish),
        (post("bob", wish, ""), "409 Conflict", "MAX_WISHES=1 are kept"),
        (post("a-b", wish, ""), "400 Bad Request", "the name is not of 1 to 60 letters and digits"),
        (post("ann", &over_64_kib, ""), "413 Content Too Large", "body over 64 KiB"),
        (
            post("ann", wish, "Expect: 100-continue\r\n"),
            "417 Expectation Failed",
            "send the body without Expect",
        ),
    ] {
        assert_eq!(ask(address, &request), said(status, body), "{request:.80}");
    }
    let (status, body) = ask(address, &post("ann", "{", ""));
    assert_eq!(status, "400 Bad Request");
    assert!(body.starts_with("no wish in JSON: "), "{body}");
    let deleted =
        Client::connect(address).send("DELETE /wishes/ann HTTP/1.1\r\nHost: x\r\n\r\n").answer();
    assert!(deleted.contains("\r\nAllow: GET, HEAD, POST\r\n"), "{deleted}");
}

#[test]
fn a_setting_of_its_own_is_refused_as_all_are() {
    let line = r#"MAX_WISHES="many" is not a whole number from 1 to 100"#;
    BINARY.refuses("MAX_WISHES", "many", line);
}

/// A body of which the end is missing, sooner or later, never reaches the handler.
#[test]
fn half_a_body_is_no_body() {
    let (_process, address) = Process::serve(&mut BINARY.command());
    let wish = r#"{"text":"x"}"#;
    // It would be a wish by itself.
    let cut = |name| post(name, wish, "").replace("Content-Length: 12", "Content-Length: 13");
    let mut early = Client::connect(address);
    // It may see the end before the request, and then does not answer.
    early.send(cut("early")).finish();
    while early.read_some() > 0 {}
    let start = Instant::now();
    let late = Client::connect(address).send(cut("late")).answer();
    assert!(late.starts_with("HTTP/1.1 408 "), "{late}");
    assert!(start.elapsed() >= Duration::from_secs(9), "after {:?}", start.elapsed());
    assert_eq!(ask(address, &get("/wishes", "")), said("200 Ok", "{}"));
}

/// Answers of 30 KiB: those in one go are bounded, and none is lost.
#[test]
fn large_answers_are_bounded_in_one_go() {
    let (process, address) = Process::serve(&mut BINARY.command());
    let text = format!(r#"{{"text":"{}"}}"#, "y".repeat(240));
    for number in 0..100 {
        let name = format!("{number:060}");
        assert_eq!(ask(address, &post(&name, &text, "")).0, "201 Created");
    }
    let all = ask(address, &get("/wishes", "")).1;
    assert!(all.len() > 30_000, "{}", all.len());
    // A thousand would be 31 MiB.
    let (mut client, one) = (Client::connect(address), get("/wishes", ""));
    client.send(one.repeat(1000));
    let is_last = |_: &usize| {
        let answer = client.answer();
        assert!(answer.ends_with(&all), "{answer:.200}");
        answer.contains("\r\nConnection: close\r\n")
    };
    let given = (1..=1000).find(is_last).expect("one is the last");
    assert!(given >= 2, "{given}");
    client.expect_nothing_but_empty_answers();
    assert!(process.memory() < 16 * 1024, "{} KiB", process.memory());
    // Who reads each answer first is given as many as it likes.
    let mut client = Client::connect(address);
    for _ in 0..1000 {
        assert!(!client.send(&one).answer().contains("Connection: close"));
    }
    process.signal(Signal::SIGTERM);
    assert!(client.send(&one).answer().ends_with(&all));
}
