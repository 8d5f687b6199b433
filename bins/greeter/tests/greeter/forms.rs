//! The three forms of a greeting, byte for byte.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::thread::sleep;
use std::time::Duration;

use harness::peer::{ok, read_request};
use harness::{Client, Peer, Process};
use serde_json::{Value, json};

use application::LEAVES;
use flate2::read::GzDecoder;

use crate::common::{
    GREETING, answer, command, command_for, greeter, greeter_with_name, in_time, leaves,
    negotiated, nobody, timely,
};

const PAGE: &str = include_str!("../../src/page.html");

/// One GET with these header lines.
fn ask(address: SocketAddr, fields: &str) -> String {
    let request = format!("GET / HTTP/1.1\r\nHost: x\r\n{fields}\r\n");
    in_time(|| timely(Client::connect(address).send(&request).answer()))
}

/// The head of an answer.
fn head(method: &str, address: SocketAddr, fields: &str) -> String {
    let request = format!("{method} / HTTP/1.1\r\nHost: x\r\n{fields}Connection: close\r\n\r\n");
    in_time(|| {
        let mut client = Client::connect(address);
        let head = timely(client.send(&request).head())?;
        if method == "HEAD" {
            client.expect_end();
        }
        Some(head)
    })
}

/// The bytes behind the head, which need not be text.
fn body(address: SocketAddr, fields: &str) -> Vec<u8> {
    let mut stream = TcpStream::connect(address).unwrap();
    let request = format!("GET / HTTP/1.1\r\nHost: x\r\n{fields}Connection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).unwrap();
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes).unwrap();
    let end = bytes.windows(4).position(|four| four == b"\r\n\r\n").unwrap();
    bytes.split_off(end + 4)
}

/// A greeting in JSON of leaves as they should be, without its times.
fn greeting() -> Value {
    let mut value = json!({ "from": "greeter-1" });
    for leaf in LEAVES.iter().map(|leaf| leaf.name) {
        value[leaf] = json!({ "text": format!("a {leaf}"), "from": format!("{leaf}-1") });
    }
    value
}

/// An answer's object in JSON without its times, which change.
fn parsed(answer: &str) -> Value {
    let mut value: Value = serde_json::from_str(answer.split("\r\n\r\n").nth(1).unwrap()).unwrap();
    let mut take = |pointer: &str| {
        let object = value.pointer_mut(pointer).and_then(Value::as_object_mut).expect(pointer);
        object.remove("elapsed_us").and_then(|time| time.as_u64()).expect(pointer)
    };
    let all = take("");
    // The 2 s that greeter has for it; more is a failure.
    assert!((1..2_000_000).contains(&all), "{all}");
    for leaf in LEAVES {
        assert!(take(&format!("/{}", leaf.name)) <= all, "{answer}");
    }
    value
}

/// The same text with N for every time.
fn untimed(body: &str) -> String {
    let mut parts = body.split(r#""elapsed_us":"#);
    let mut text = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        text += r#""elapsed_us":N"#;
        text += part.trim_start_matches(|c: char| c.is_ascii_digit());
    }
    text
}

#[test]
fn whoever_asks_for_no_other_form_gets_the_line() {
    let (_process, address) = greeter();
    for fields in ["", "Accept: text/plain\r\nAccept-Encoding: gzip\r\n"] {
        assert_eq!(ask(address, fields), negotiated("200 OK", "", &GREETING), "{fields}");
    }
}

/// The time of each is its own, though the other is waited for first, on kept connections too.
#[test]
fn a_slow_leaf_makes_no_other_slow() {
    let mut leaves = leaves();
    leaves[0] = Peer::start(|_, mut stream| {
        while read_request(&mut stream).is_some() {
            sleep(Duration::from_millis(20));
            let _ = stream.write_all(&ok("slow"));
        }
    });
    let (_process, address) = Process::serve(&mut command_for(&leaves));
    // The first calls connect.
    for _ in 0..2 {
        harness::eventually("the other's time is that of the slow one", || {
            let answer = ask(address, "Accept: application/json\r\n");
            let value: Value = serde_json::from_str(&answer[answer.find('{').unwrap()..]).unwrap();
            let [slow, other] = [0, 1].map(|leaf| value[LEAVES[leaf].name]["elapsed_us"].as_u64());
            other.unwrap() + 10_000 < slow.unwrap()
        });
    }
}

#[test]
fn json_for_whoever_asks_for_it() {
    let (_process, address) = greeter();
    for fields in [
        "Accept: application/json\r\nAccept-Encoding: gzip\r\n",
        "Accept: text/html;q=0.1\r\naccept: application/json;q=0.2\r\n",
    ] {
        let answer = ask(address, fields);
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        let expected = format!(
            "HTTP/1.1 200 OK\r\nDate: DATE\r\nContent-Type: application/json\r\n\
             Content-Length: {}\r\nX-Content-Type-Options: nosniff\r\nCache-Control: no-store\r\n\
             Vary: Accept",
            body.len()
        );
        assert_eq!(head, expected, "{fields}");
        let leaves = LEAVES.iter().map(|leaf| leaf.name);
        let leaves = leaves.map(|leaf| {
            format!(r#""{leaf}":{{"text":"a {leaf}","from":"{leaf}-1","elapsed_us":N}},"#)
        });
        let leaves: String = leaves.collect();
        let expected = format!(r#"{{"from":"greeter-1",{leaves}"elapsed_us":N}}"#);
        assert_eq!(untimed(body), expected);
        assert_eq!(parsed(&answer), greeting());
    }
    let fields = "Accept: application/json\r\n";
    let same = |head: String| head.replace(|c: char| c.is_ascii_digit(), "");
    assert_eq!(same(self::head("HEAD", address, fields)), same(self::head("GET", address, fields)));
}

#[test]
fn json_of_services_that_say_anything() {
    for (line, expected) in [
        ("Bob (the builder) (name-1)", json!({ "text": "Bob (the builder)", "from": "name-1" })),
        ("Bob", json!({ "text": "Bob", "from": null })),
        ("\"B\\ob\" (</script>)", json!({ "text": "\"B\\ob\"", "from": "</script>" })),
        (
            "名\u{2028}\u{202e} (é\u{7fff})",
            json!({ "text": "名\u{2028}\u{202e}", "from": "é\u{7fff}" }),
        ),
        (&"x".repeat(4096), json!({ "text": "x".repeat(4096), "from": null })),
    ] {
        let mut command = command();
        command.env("HOSTNAME", "\"<host>\\").env("NAME_URL", Peer::saying(line).url());
        let (_process, address) = Process::serve(&mut command);
        let mut greeting = greeting();
        greeting["from"] = "\"<host>\\".into();
        greeting["name"] = expected;
        assert_eq!(parsed(&ask(address, "Accept: application/json\r\n")), greeting);
    }
}

/// Who answers is a host, with a version behind it where there is one.
#[test]
fn a_version_stands_behind_the_host() {
    let mut command = command();
    command.env("VERSION", "green").env("NAME_URL", Peer::saying("a name (name-1 blue)").url());
    let (_process, address) = Process::serve(&mut command);
    let line = GREETING.replace("greeter-1", "greeter-1 green").replace("name-1", "name-1 blue");
    assert_eq!(ask(address, "Accept: */*\r\n"), negotiated("200 OK", "", &line));
    let mut greeting = greeting();
    greeting["from"] = "greeter-1 green".into();
    greeting["name"]["from"] = "name-1 blue".into();
    assert_eq!(parsed(&ask(address, "Accept: application/json\r\n")), greeting);
}

/// In JSON it stands beside what the other leaves said.
#[test]
fn a_failure_has_the_status_of_its_text() {
    let (_port, down) = nobody();
    let bad = Peer::answering("HTTP/1.1 500 \"No\"\r\nContent-Length: 0\r\n\r\n");
    for (url, cause) in
        [(&down, "connection refused"), (&bad.url(), "answered 500 Internal Server Error")]
    {
        let (_process, address) = greeter_with_name(url);
        let text = negotiated("502 Bad Gateway", "", &format!("name ({url}/): {cause}"));
        assert_eq!(ask(address, "Accept: */*\r\n"), text);
        let answer = ask(address, "Accept: application/json\r\n");
        assert!(answer.starts_with("HTTP/1.1 502 Bad Gateway\r\n"), "{answer}");
        assert!(answer.contains("\r\nContent-Type: application/json\r\n"), "{answer}");
        assert!(answer.contains("\r\nVary: Accept\r\n"), "{answer}");
        let mut expected = greeting();
        expected["name"] = json!({ "error": cause });
        let url = format!("{url}/");
        expected["error"] = json!({ "service": "name", "url": url, "cause": cause, "status": 502 });
        assert_eq!(parsed(&answer), expected);
    }
}

/// The page: from greeter alone, whatever the services do, with all that protects it.
#[test]
fn the_page_for_browsers() {
    let leaves = leaves();
    let (_process, address) = Process::serve(&mut command_for(&leaves));
    let browser = "Accept: text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8\r\n";
    let gzip = &format!("{browser}Accept-Encoding: gzip, deflate, br, zstd\r\n");

    let plain_head = head("GET", address, browser);
    let policy = plain_head
        .split("\r\n")
        .find_map(|line| line.strip_prefix("Content-Security-Policy: "))
        .unwrap_or_else(|| panic!("no policy in {plain_head}"));
    let hashes: Vec<_> = policy.split('\'').filter(|part| part.starts_with("sha256-")).collect();
    let [script, style] = hashes[..] else { panic!("two hashes in {policy}") };
    assert_eq!((script.len(), style.len()), (51, 51), "SHA-256 in base64");
    assert_eq!(
        policy,
        format!(
            "default-src 'none'; script-src '{script}'; style-src '{style}'; connect-src 'self'; \
             img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; \
             require-trusted-types-for 'script'; trusted-types 'none'"
        )
    );
    let expected = |coding: &str, length: usize| {
        format!(
            "HTTP/1.1 200 OK\r\nDate: DATE\r\nContent-Type: text/html; charset=utf-8\r\n\
             Content-Length: {length}\r\nX-Content-Type-Options: nosniff\r\n\
             Cache-Control: no-store\r\nVary: Accept, Accept-Encoding\r\n{coding}\
             Content-Security-Policy: {policy}\r\nX-Frame-Options: DENY\r\n\
             Referrer-Policy: no-referrer\r\nConnection: close\r\n\r\n"
        )
    };
    assert_eq!(plain_head, expected("", PAGE.len()));
    let packed = body(address, gzip);
    assert!(packed.len() <= 12 * 1024, "{} bytes", packed.len());
    let packed_head = expected("Content-Encoding: gzip\r\n", packed.len());
    assert_eq!(head("GET", address, gzip), packed_head);
    assert_eq!(head("HEAD", address, browser), plain_head);
    assert_eq!(head("HEAD", address, gzip), packed_head);

    assert_eq!(String::from_utf8(body(address, browser)).unwrap(), PAGE);
    let mut unpacked = String::new();
    GzDecoder::new(&packed[..]).read_to_string(&mut unpacked).unwrap();
    assert_eq!(unpacked, PAGE);

    // On every path but one, and nobody was asked for it.
    for path in ["/any/path?<script>", "/healthy"] {
        let mut client = Client::connect(address);
        let answer =
            client.send(format!("GET {path} HTTP/1.1\r\nHost: x\r\n{browser}\r\n")).answer();
        assert!(answer.ends_with(PAGE), "{path}");
    }
    let mut client = Client::connect(address);
    client.send(format!("GET /health HTTP/1.1\r\nHost: x\r\n{browser}\r\n"));
    assert_eq!(client.answer(), answer("200 OK", "", "ok"));
    assert!(leaves.iter().all(|leaf| leaf.connections() == 0), "{leaves:?}");
}

/// What is decided before the form is: text, without `Vary`.
#[test]
fn refusals_stay_text() {
    let (_process, address) = greeter();
    for accept in ["Accept: text/html\r\n", "Accept: application/json\r\n"] {
        let mut client = Client::connect(address);
        client.send(format!("POST / HTTP/1.1\r\nHost: x\r\n{accept}\r\n"));
        let allow = "Allow: GET, HEAD, OPTIONS\r\n";
        let text = "method not allowed: GET, HEAD or OPTIONS";
        assert_eq!(client.answer(), answer("405 Method Not Allowed", allow, text));
        client.send(format!("GET / HTTP/1.1\r\n{accept}\r\n"));
        let text = "exactly one Host header is required";
        assert_eq!(client.answer(), answer("400 Bad Request", "Connection: close\r\n", text));
    }
}
