//! One table of requests: greeter itself, the mesh's own proxies and Envoy answer them alike, or
//! docs/laboratory.md says where they differ.

use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Instant;

use harness::PATIENCE;

use crate::running::Mesh;

const DOCUMENT: &str = include_str!("../../../../docs/laboratory.md");

const METHOD: &str = "{} / HTTP/1.1\r\nHost: x\r\n\r\n";
const TARGET: &str = "GET {} HTTP/1.1\r\nHost: x\r\n\r\n";
const VERSION: &str = "GET / {}\r\nHost: x\r\n\r\n";
const HOST: &str = "GET / HTTP/1.1\r\nHost: {}\r\n\r\n";
const FIELD: &str = "GET / HTTP/1.1\r\nHost: x\r\n{}\r\n\r\n";
const WITH_BODY: &str = "POST / HTTP/1.1\r\nHost: x\r\n{}\r\n\r\nhello";
const WITH_CHUNKS: &str = "POST / HTTP/1.1\r\nHost: x\r\n{}\r\n\r\n5\r\nhello\r\n0\r\n\r\n";
const CHUNKS: &str = "POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n{}\r\n\r\n";
const WHOLE: &str = "{}\r\n\r\n";

/// What all three answer alike: the answer, what is sent, and with what in its `{}`.
const ALIKE: &[(&str, &str, &[&str])] = &[
    ("200", METHOD, &["GET", "HEAD"]),
    ("204", METHOD, &["OPTIONS"]),
    ("405", METHOD, &["POST", "PUT", "DELETE", "PATCH", "TRACE", "PROPFIND"]),
    ("400", METHOD, &["GE(T", "", " GET"]),
    (
        "200",
        TARGET,
        &[
            "/",
            "//",
            "/..",
            "/../x",
            "/.",
            "/a/../b",
            "/%2e%2e/",
            "/%2f",
            "/%00",
            "/%zz",
            "/%",
            "/\"",
            "/a|b",
            "/{x}",
            "/[x]",
            "/^",
            "/~x;y=z",
            "/x:80",
            "/?",
            "/??",
            "/?a=%zz",
            "/?{}|^`",
            "//health",
            "http://x",
            "http://x/",
            "http://x:80/a?b",
            "HTTP://X/",
            "http://y/",
        ],
    ),
    ("200 ok", TARGET, &["/health", "/health?deep=1", "http://x/health"]),
    (
        "400",
        TARGET,
        &[
            "a",
            "*",
            "x:80",
            "",
            "/a b",
            "/a\\b",
            "/\u{7f}",
            "/\u{1}",
            "/caf\u{e9}",
            "/?caf\u{e9}",
            "http://",
            "http:///",
            "http://?a",
            "http://x|y/",
            "ftp://x/",
        ],
    ),
    ("204", "OPTIONS {} HTTP/1.1\r\nHost: x\r\n\r\n", &["/any", "/health", "http://x"]),
    (
        "200",
        "GET / HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\n{}\r\n\r\n",
        &[
            "Upgrade: TLS/1.2",
            "Upgrade: TLS/1.3",
            "Upgrade: tls/1.2",
            "Upgrade: TLS/1.0, TLS/1.1",
            "Upgrade: TLS/1.2\r\nUpgrade: h2c",
            "Upgrade: h2c",
            "Upgrade: h2c, websocket",
            "Upgrade: HTTP/2.0",
            "Upgrade: websocket",
            "Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
            "Upgrade: IRC/6.9",
            "Upgrade: x",
            "Upgrade:",
            "Upgrade: h2c\r\nConnection: HTTP2-Settings\r\nHTTP2-Settings: AAMAAABk",
        ],
    ),
    ("200", "GET / HTTP/1.0\r\nConnection: Upgrade\r\nUpgrade: {}\r\n\r\n", &["TLS/1.2"]),
    (
        "405",
        WITH_BODY,
        &[
            "Content-Length: 5\r\nConnection: Upgrade\r\nUpgrade: TLS/1.2",
            "Content-Length: 5",
            "Content-Length: 005",
            "Content-Length: 5\r\nExpect: 100-continue",
            "Content-Length: 5\r\nExpect: 100-Continue",
        ],
    ),
    (
        "417",
        WITH_BODY,
        &[
            "Content-Length: 5\r\nExpect: a-miracle",
            "Content-Length: 5\r\nExpect:",
            "Content-Length: 5\r\nExpect: 100-continue, x",
            "Content-Length: 5\r\nExpect: 100-continue\r\nExpect: a-miracle",
        ],
    ),
    (
        "400",
        WITH_BODY,
        &[
            "Content-Length:",
            "Content-Length: x",
            "Content-Length: -5",
            "Content-Length: +5",
            "Content-Length: 0x5",
            "Content-Length: 5, 5",
            "Content-Length: 99999999999999999999",
            "Content-Length: 5\r\nContent-Length: 6",
        ],
    ),
    (
        "405",
        WITH_CHUNKS,
        &[
            "Transfer-Encoding: chunked",
            "Transfer-Encoding: Chunked",
            "Transfer-Encoding:\tchunked",
        ],
    ),
    (
        "405",
        CHUNKS,
        &["5;a=b\r\nhello\r\n0", "05 ; a = \"b\"\r\nhello\r\n0", "5\r\nhello\r\n0\r\nA: b"],
    ),
    ("501", WITH_CHUNKS, &["Transfer-Encoding: gzip, chunked"]),
    ("400", CHUNKS, &["x\r\nhello\r\n0", "0x5\r\nhello\r\n0", "5\r\nhello\r\n0\r\nA"]),
    ("200", VERSION, &["HTTP/1.0", "HTTP/1.1"]),
    ("400", VERSION, &["http/1.1", "HTTP/1", "HTTP/1.10", "HTTP/ 1.1"]),
    ("200", WHOLE, &["GET / HTTP/1.0", "\r\nGET / HTTP/1.1\r\nHost: x"]),
    ("400", WHOLE, &["\u{16}\u{3}\u{1}\u{2}", "GET / HTTP/1.1"]),
    ("200", HOST, &["", "x", "x:", "x:80", "a_b", "a,b", ".", "-", "a%20b", "[::1]:80"]),
    (
        "400",
        HOST,
        &["a:b", "a/b", "user@x", "[::1", "a b", "caf\u{e9}", "%zz", "x?y", "x#y", "x\\y", "<x>"],
    ),
    (
        "200",
        FIELD,
        &[
            "a_b: c",
            "!#$%&'*+-.^`|~9: c",
            "A:\r\nB: ",
            "A: caf\u{e9}",
            "A: a\tb",
            "Accept: text/plain\r\nAccept: */*\r\nCookie: a\r\nCookie: b",
            "Connection: close",
            "Connection: a b, ,",
            "Connection: TE\r\nTE: trailers",
            "Proxy-Connection: keep-alive",
            "Expect: 100-continue",
            "Content-Length: 0",
            "Range: bytes=0-1",
            "If-None-Match: *",
            "X-Forwarded-For: nobody\r\nX-Forwarded-Proto: gopher\r\nX-Forwarded-Host: a b",
            "X-Envoy-Upstream-Rq-Timeout-Ms: 1\r\nX-Envoy-Retry-On: 5xx",
            "traceparent: \u{e9}",
        ],
    ),
    (
        "400",
        FIELD,
        &["A : b", "A", ": b", "A[: b", ":path: /x", "A: a\u{1}b", "A: a\u{7f}b", "A: a\0b"],
    ),
];

/// What they do not, by the words that its row in the document begins with: what is sent, with
/// each code of the row in its `{}`.
const DIFFERENT: &[(&str, &str)] = &[
    ("a method that is not registered", METHOD),
    ("CONNECT", "CONNECT {} HTTP/1.1\r\nHost: x\r\n\r\n"),
    ("OPTIONS of all there is", "OPTIONS {} HTTP/1.1\r\nHost: x\r\n\r\n"),
    ("a target with angle brackets", TARGET),
    ("a target with a fragment", TARGET),
    ("another scheme", TARGET),
    ("a user name", TARGET),
    ("an absolute target without a path", TARGET),
    ("a later minor version", VERSION),
    ("another major version", VERSION),
    ("a request without a version", WHOLE),
    ("HTTP/2", WHOLE),
    ("two Hosts", FIELD),
    ("an absolute target without Host", WHOLE),
    ("a line that ends in LF alone", WHOLE),
    ("blanks too many", WHOLE),
    ("a header that is folded", FIELD),
    ("the same Content-Length twice", WITH_BODY),
    ("Transfer-Encoding and Content-Length", WITH_CHUNKS),
    ("Transfer-Encoding in HTTP/1.0", "POST / HTTP/1.0\r\n{}\r\n\r\n5\r\nhello\r\n0\r\n\r\n"),
    ("a coding that is not chunked", WITH_CHUNKS),
    ("chunked twice", WITH_CHUNKS),
    ("chunked, in a list", WITH_CHUNKS),
    ("a chunk's size with a blank", CHUNKS),
    ("Connection that names Host", FIELD),
];

/// The rows of the document's table: the first cell, and what greeter, the mesh's own proxy and
/// Envoy answer.
fn rows() -> Vec<(&'static str, [&'static str; 3])> {
    let table = DOCUMENT.split_once("| input | greeter | built-in | Envoy |").expect("the table").1;
    let rows = table.lines().skip(2).take_while(|line| line.starts_with('|'));
    let cells = rows.map(|row| row.trim_matches('|').split(" | ").map(str::trim).collect());
    cells
        .map(|cells: Vec<_>| match cells[..] {
            [input, greeter, built_in, envoy, ..] => (input, [greeter, built_in, envoy]),
            _ => panic!("four columns: {cells:?}"),
        })
        .collect()
}

/// The code in a cell, `\r`, `\n` and `\t` being what they are in Rust.
fn code(cell: &str) -> impl Iterator<Item = String> {
    let codes = cell.split('`').skip(1).step_by(2);
    codes.map(|code| code.replace(r"\r", "\r").replace(r"\n", "\n").replace(r"\t", "\t"))
}

/// A request; its letters are bytes.
fn request(template: &str, with: &str) -> Vec<u8> {
    let text = template.replacen("{}", with, 1);
    text.chars().map(|letter| u8::try_from(u32::from(letter)).expect("a byte")).collect()
}

/// The status of the final answer, and `ok` if it is that of the health check; or `closed`.
fn ask(address: SocketAddr, request: &[u8]) -> String {
    let end = Instant::now() + PATIENCE;
    loop {
        let answer = try_to_ask(address, request).unwrap_or_else(|| "closed".to_owned());
        // On a busy machine a call may take too long.
        if answer != "504" || Instant::now() > end {
            return answer;
        }
    }
}

fn try_to_ask(address: SocketAddr, request: &[u8]) -> Option<String> {
    let mut stream = TcpStream::connect(address).expect("connects");
    stream.set_read_timeout(Some(PATIENCE)).expect("a time-out above zero");
    // Whoever has refused it already may not take the rest.
    let _ = stream.write_all(request);
    let mut stream = BufReader::new(stream);
    loop {
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            let count = stream.read_line(&mut head).unwrap_or_else(|error| {
                assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset, "{head}");
                0
            });
            if count == 0 {
                assert_eq!(head, "", "an answer that is cut off");
                return None;
            }
        }
        let status = head.get(9..12).expect("a status line");
        let is_health = head.to_ascii_lowercase().contains("\r\ncontent-length: 2\r\n");
        if !status.starts_with('1') {
            return Some(status.to_owned() + if is_health { " ok" } else { "" });
        }
    }
}

/// All that is sent: what it is, its bytes, and what greeter, the mesh's own proxy and Envoy answer.
fn cases() -> Vec<(String, Vec<u8>, [&'static str; 3])> {
    let headers = |count| {
        let lines: Vec<_> = (0..count).map(|n| format!("A{n}: b")).collect();
        request(FIELD, &lines.join("\r\n"))
    };
    let head = |size: usize| request(FIELD, &format!("A: {}", "a".repeat(size * 1024)));
    let target = |size| request(TARGET, &("/?".to_owned() + &"a".repeat(size)));
    let body = |size| {
        let length = format!("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: {size}\r\n\r\n");
        request(&(length + "{}"), &"x".repeat(size))
    };
    let mut cases = Vec::new();
    for (what, sent, expected) in [
        ("80 headers", headers(79), "200"),
        ("130 headers", headers(129), "431"),
        ("48 KiB of head", head(48), "200"),
        ("65 KiB of head", head(65), "431"),
        ("a target of 15,000 bytes", target(15_000), "200"),
        ("a target of 17,000 bytes", target(17_000), "414"),
        ("a body of 64 KiB", body(64 * 1024), "405"),
        ("a longer body", body(64 * 1024 + 1), "413"),
    ] {
        cases.push((what.to_owned(), sent, [expected; 3]));
    }
    for &(expected, template, inputs) in ALIKE {
        for input in inputs {
            cases.push((format!("{input:?}"), request(template, input), [expected; 3]));
        }
    }
    let (rows, before) = (rows(), cases.len());
    let mut expect = |words: &str, sent: &dyn Fn(&str) -> Vec<Vec<u8>>| {
        let mine = rows.iter().filter(|(input, _)| input.starts_with(words));
        let [(input, expected)] = mine.collect::<Vec<_>>()[..] else {
            panic!("not one row that begins with {words:?}");
        };
        let sent = sent(input);
        assert!(!sent.is_empty(), "nothing is sent for {input:?}");
        cases.extend(sent.into_iter().map(|sent| ((*input).to_owned(), sent, *expected)));
    };
    expect("101 headers", &|_| vec![headers(100)]);
    expect("60 KiB of head", &|_| vec![head(60)]);
    for (words, template) in DIFFERENT {
        expect(words, &|input| code(input).map(|code| request(template, &code)).collect());
    }
    for (input, _) in &rows {
        assert!(cases[before..].iter().any(|(what, ..)| what == input), "no entry for {input:?}");
    }
    cases
}

mod tests {
    needs_envoy::tests! {
        ()
        either_proxy_answers_as_greeter_does_or_it_is_said,
    }
}

fn either_proxy_answers_as_greeter_does_or_it_is_said() {
    let built_in = Mesh::start(&["--tasks", "1"]);
    let envoy = Mesh::start(&["--tasks", "1", "--proxy", "envoy"]);
    let status = built_in.status();
    let greeter = status["greeter-1"]["address"].as_str().expect("an address");
    let all = [greeter.parse().expect("an address"), built_in.front, envoy.front];
    let (cases, mut wrong) = (cases(), Vec::new());
    for (what, request, expected) in &cases {
        let found = all.map(|address| ask(address, request));
        if found != *expected {
            let request = request.escape_ascii();
            wrong.push(format!("{what}: {found:?}, expected {expected:?}: {request:.200}"));
        }
    }
    assert!(wrong.is_empty(), "{} of {}:\n{}", wrong.len(), cases.len(), wrong.join("\n"));
}
