//! `docs/http.md` and the server say the same. Every row of its tables has an entry here and
//! every entry a row: an entry is known by the words that its row begins with, and takes what
//! it sends from the code in them. So a row without a test fails, and a test without a row. The
//! numbers of the limits are the code's.

use std::fs;
use std::net::SocketAddr;
use std::time::Duration;

use chassis::log::Limited;
use chassis::shutdown::{DRAIN_LIMIT, LAST_ANSWERS, LONGEST_DRAIN};
use greeter::{Limits, limits};
use harness::Client;
use net::runtime;

use crate::common::{GREETING, greeter};

const DOCUMENT: &str = include_str!("../../../../docs/http.md");
const HEALTH: &str = "GET /health HTTP/1.1\r\nHost: x\r\n\r\n";

type Bytes = Vec<u8>;

/// How a row is held.
enum Held {
    /// By sending each of these on a connection of its own.
    Sent(Vec<Bytes>),
    /// The same, and half-closing behind it.
    SentWhole(Vec<Bytes>),
    /// By these tests, `place::function`, of this folder or of a place's file.
    By(&'static [&'static str]),
}

use Held::{By, Sent, SentWhole};

/// What to do with the code in a row.
type Entry = (&'static str, fn(Vec<Bytes>) -> Held);

/// The rows of the first table, each by the words that it begins with.
const INPUTS: &[Entry] = &[
    ("100 headers, 48 KiB of head", |_| {
        Sent(vec![get(&"X: y\r\n".repeat(99)), get(&field("Cookie", 48 * 1024))])
    }),
    ("more than 128 headers", |_| {
        Sent(vec![get(&"X: y\r\n".repeat(128)), get(&field("Cookie", 64 * 1024))])
    }),
    ("a method over 32 bytes", |_| {
        let method = |length| format!("{} / HTTP/1.1\r\nHost: x\r\n\r\n", "A".repeat(length));
        Sent(vec![method(33).into(), method(100_000).into()])
    }),
    ("another request line over 16 KiB", |_| {
        Sent(vec![format!("GET /{} HTTP/1.1\r\nHost: x\r\n\r\n", "a".repeat(16 * 1024)).into()])
    }),
    ("a request line that is malformed", |lines| each(&lines, "{}\r\nHost: x\r\n\r\n")),
    ("one that does not end in a version", |lines| each(&lines, "{}\r\nHost: x\r\n\r\n")),
    ("a later minor version", |versions| each(&versions, "GET / {}\r\nHost: x\r\n\r\n")),
    ("another major version", |versions| {
        let preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".into();
        Sent([filled(&versions, "GET / {}\r\nHost: x\r\n\r\n"), vec![preface]].concat())
    }),
    ("a header that is malformed", |lines| each(&lines, "GET / HTTP/1.1\r\nHost: x\r\n{}\r\n\r\n")),
    ("a line that ends in LF alone", |_| {
        Sent(vec![
            b"GET / HTTP/1.1\nHost: x\r\n\r\n".into(),
            b"GET / HTTP/1.1\r\nHost: x\n\r\n".into(),
            b"GET / HTTP/1.1\r\nHost: x\r\n\n".into(),
            b"GET / HTTP/1.1\nHost: x\n\n".into(),
            b"GET / HTTP/1.2\r\nHost: x\n\r\n".into(),
            b"GET / HTTP/2.0\n".into(),
            b"\nGET / HTTP/1.1\r\nHost: x\r\n\r\n".into(),
        ])
    }),
    ("up to two empty lines", |_| {
        Sent(vec![format!("\r\n{HEALTH}").into(), format!("\r\n\r\n{HEALTH}").into()])
    }),
    ("more empty lines", |_| Sent(vec![format!("\r\n\r\n\r\n{HEALTH}").into()])),
    ("HTTP/1.1 without Host, or any", |_| {
        Sent(vec![
            b"GET / HTTP/1.1\r\n\r\n".into(),
            b"GET / HTTP/1.1\r\nHost: x\r\nHost: x\r\n\r\n".into(),
            b"GET / HTTP/1.0\r\nHost: x\r\nHost: x\r\n\r\n".into(),
            b"GET / HTTP/1.2\r\n\r\n".into(),
            b"GET / HTTP/1.2\r\nHost: x\r\nHost: x\r\n\r\n".into(),
        ])
    }),
    ("a Host that is none", |hosts| each(&hosts, "GET / HTTP/1.1\r\nHost: {}\r\n\r\n")),
    ("a Host that is one, or empty", |hosts| {
        each(&with_empty(hosts), "GET / HTTP/1.1\r\nHost: {}\r\n\r\n")
    }),
    ("a target that is none", |targets| {
        let [get, post] =
            ["GET {} HTTP/1.1\r\nHost: x\r\n\r\n", "POST {} HTTP/1.1\r\nHost: x\r\n\r\n"];
        Sent([filled(&targets, get), filled(&targets, post)].concat())
    }),
    ("a target with a fragment", |targets| each(&targets, "GET {} HTTP/1.1\r\nHost: x\r\n\r\n")),
    ("a target with what else", |targets| each(&targets, "GET {} HTTP/1.1\r\nHost: x\r\n\r\n")),
    ("an absolute target", |targets| each(&targets, "GET {} HTTP/1.1\r\nHost: x\r\n\r\n")),
    ("a path that is /health", |targets| each(&targets, "GET {} HTTP/1.1\r\nHost: y\r\n\r\n")),
    ("any other path", |targets| each(&targets, "GET {} HTTP/1.1\r\nHost: y\r\n\r\n")),
    ("HTTP/1.0, with Host or without", |_| {
        Sent(vec![
            b"GET / HTTP/1.0\r\n\r\n".into(),
            b"GET / HTTP/1.0\r\nHost: x\r\n\r\n".into(),
            b"GET / HTTP/1.0\r\nConnection: keep-alive, close\r\n\r\n".into(),
        ])
    }),
    ("HTTP/1.0 that asks for it", |fields| each(&fields, "GET / HTTP/1.0\r\n{}\r\n\r\n")),
    ("HTTP/1.1 that asks for it", |fields| {
        each(&fields, "GET / HTTP/1.1\r\nHost: x\r\n{}\r\n\r\n")
    }),
    ("HEAD", |_| Sent(vec![b"HEAD / HTTP/1.1\r\nHost: x\r\n\r\n".into()])),
    ("an Accept that prefers text", |fields| {
        each(&fields, "GET / HTTP/1.1\r\nHost: x\r\n{}\r\n\r\n")
    }),
    ("an Accept that prefers JSON", |fields| {
        each(&fields, "GET / HTTP/1.1\r\nHost: x\r\n{}\r\n\r\n")
    }),
    ("an Accept that prefers HTML", |fields| {
        each(&fields, "GET / HTTP/1.1\r\nHost: x\r\n{}\r\n\r\n")
    }),
    ("the same, where gzip is named", |fields| {
        each(&fields, "GET / HTTP/1.1\r\nHost: x\r\nAccept: text/html\r\n{}\r\n\r\n")
    }),
    ("OPTIONS", |targets| each(&targets, "OPTIONS {} HTTP/1.1\r\nHost: x\r\n\r\n")),
    ("another method", |_| {
        let long = "x".repeat(64 * 1024);
        Sent(vec![
            b"TRACE / HTTP/1.1\r\nHost: x\r\n\r\n".into(),
            b"CONNECT x:443 HTTP/1.1\r\nHost: x\r\n\r\n".into(),
            format!("PUT / HTTP/1.1\r\nHost: x\r\nContent-Length: 65536\r\n\r\n{long}").into(),
            chunked("5\r\nhello\r\n0\r\n\r\n"),
        ])
    }),
    ("a longer body", |_| {
        Sent(vec![
            b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 65537\r\n\r\n".into(),
            chunked(&format!("10001\r\n{}", "x".repeat(65536))),
        ])
    }),
    ("a Content-Length that is no", |fields| {
        each(&fields, "PUT / HTTP/1.1\r\nHost: x\r\n{}\r\n\r\n")
    }),
    ("the same Content-Length twice", |fields| {
        each(&fields, "PUT / HTTP/1.1\r\nHost: x\r\n{}\r\n\r\nhello")
    }),
    ("any Transfer-Encoding together", |codings| {
        let templates = [
            "PUT / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: {}\r\nContent-Length: 5\r\n\r\n",
            "PUT / HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nTransfer-Encoding: {}\r\n\r\n",
            "PUT / HTTP/1.0\r\nHost: x\r\nTransfer-Encoding: {}\r\n\r\n",
        ];
        let codings = with_empty(codings);
        Sent(templates.iter().flat_map(|template| filled(&codings, template)).collect())
    }),
    ("a Transfer-Encoding that does not", |codings| {
        each(&with_empty(codings), "PUT / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: {}\r\n\r\n")
    }),
    ("a coding we do not know", |codings| {
        each(&codings, "PUT / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: {}\r\n\r\n")
    }),
    ("chunked, in a list", |codings| {
        each(&codings, "PUT / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: {}\r\n\r\n0\r\n\r\n")
    }),
    ("a chunk's line that is malformed", |lines| each_chunked(&lines, "{}\r\nhello\r\n0\r\n\r\n")),
    ("a chunk with extensions", |lines| each_chunked(&lines, "{}\r\nhello\r\n0\r\n\r\n")),
    ("a chunk that is longer", |_| {
        Sent(vec![chunked("5\r\nhello!\r\n0\r\n\r\n"), chunked("5\r\nhello0\r\n\r\n")])
    }),
    ("a trailer that is no field", |lines| each_chunked(&lines, "0\r\n{}\r\n\r\n")),
    ("a trailer that is one", |lines| each_chunked(&lines, "0\r\n{}\r\n\r\n")),
    ("`Expect: 100-continue`", |_| By(&["edge::a_client_that_waits_for_100_continue_gets_it"])),
    ("another expectation", |fields| each(&fields, "PUT / HTTP/1.1\r\nHost: x\r\n{}\r\n\r\n")),
    ("a TLS hello", |_| {
        Sent(vec![b"\x16".into(), b"\x16\x03\x01\x02\0\x01\0\x01\xfc\x03\x03".into()])
    }),
    ("pipelined requests", |_| {
        let post = "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nhello";
        Sent(vec![format!("GET / HTTP/1.1\r\nHost: x\r\n\r\n{post}{HEALTH}").into()])
    }),
    ("a client that half-closes", |_| SentWhole(vec![HEALTH.into()])),
    ("a request that ends within", |_| {
        SentWhole(vec![
            b"G".into(),
            b"GET / HTTP/1.1\r\nHost: x\r\n".into(),
            b"PUT / HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nhell".into(),
            chunked("5\r\nhello\r\n0\r\n"),
        ])
    }),
    ("random bytes", |_| {
        By(&[
            "overload::random_bytes_do_no_harm",
            "http1::fuzzing::the_seeds_of_the_fuzzer_mean_one_thing",
        ])
    }),
];

/// A row of the second: the words that it begins with, the numbers of the code that it has,
/// and the tests that hold what comes of it.
type Limit = (&'static str, fn() -> Vec<String>, &'static [&'static str]);

/// The rows of the second table.
const LIMITS: &[Limit] = &[
    (
        "wait for the first byte",
        || vec![seconds(Limits::default().receive)],
        &["patience::a_connection_that_never_said_anything_is_closed"],
    ),
    (
        "wait for a request",
        || vec![seconds(Limits::default().idle)],
        &["patience::an_idle_connection_is_closed"],
    ),
    (
        "wait for the rest of a head",
        || vec![seconds(Limits::default().receive)],
        &["patience::a_request_that_trickles_in_is_ended"],
    ),
    (
        "wait for a body",
        || vec![seconds(Limits::default().receive)],
        &["patience::a_request_that_trickles_in_is_ended"],
    ),
    (
        "wait for a client to read",
        // Linux takes twice as much.
        || vec![seconds(Limits::default().send), kib(2 * net::limits::SOCKET_BUFFER)],
        &["patience::a_client_that_does_not_read_is_dropped"],
    ),
    (
        "reads and writes of one",
        || vec![format!("{} in a row", runtime::COOP_BUDGET)],
        &["overload::one_client_does_not_keep_the_worker"],
    ),
    (
        "connections at a time",
        || {
            let numbers =
                [limits::DEFAULT_CONNECTIONS, limits::MAX_CONNECTIONS, limits::MAX_REJECTIONS];
            numbers.map(|number| number.to_string()).into()
        },
        &[
            "overload::connections_over_the_limit_are_turned_away_until_one_ends",
            "overload::a_full_greeter_is_healthy",
        ],
    ),
    (
        "a drain, from SIGTERM",
        || [LONGEST_DRAIN, DRAIN_LIMIT, LAST_ANSWERS].map(seconds).into(),
        &["edge::a_drain_without_a_quiet_second_cuts_nobody_off"],
    ),
    (
        "files",
        || vec![milliseconds(net::limits::ACCEPT_BACKOFF)],
        &["overload::without_files_it_neither_spins_nor_ends"],
    ),
    (
        "a whole greeting",
        || vec![seconds(limits::BUDGET)],
        &["upstream::a_service_that_is_slow_is_given_up_after_two_seconds"],
    ),
    (
        "looking up an upstream",
        || {
            let at_a_time = format!("{} at a time", net::limits::MAX_QUERIES);
            vec![milliseconds(net::limits::QUERY_RETRY), at_a_time]
        },
        &[
            "net::resolver::a_question_that_is_lost_is_asked_again",
            "net::resolver::a_name_server_that_hangs_costs_a_few_threads",
        ],
    ),
    (
        "wait for the other",
        || vec![milliseconds(net::limits::RESOLUTION_DELAY)],
        &["net::resolver::one_good_answer_is_enough"],
    ),
    (
        "age of an upstream's addresses",
        || vec![seconds(net::limits::ADDRESS_TTL)],
        &["net::resolver::what_is_known_stays_until_there_is_better"],
    ),
    (
        "look-ups of a host",
        || vec![format!("one in {}", seconds(net::limits::LOOKUP_INTERVAL))],
        &[
            "net::resolver::what_failed_is_not_asked_again_at_once",
            "net::resolver::many_share_a_look_up_out_of_turn",
        ],
    ),
    (
        "connecting to an upstream",
        || vec![milliseconds(net::limits::CONNECT), milliseconds(net::limits::ATTEMPT_DELAY)],
        &[
            "net::connect::an_address_that_does_not_answer_costs_no_connection",
            "net::connect::an_address_that_changed_costs_no_connection",
        ],
    ),
    (
        "calls to one upstream",
        || vec![limits::MAX_CALLS.to_string()],
        &["openapi::every_answer_it_lists_is_as_it_says"],
    ),
    (
        "an upstream's answer",
        || {
            use http1::limits::{ANSWER, ANSWER_HEAD, ANSWER_HEADERS};
            let headers = format!("{ANSWER_HEADERS} headers");
            vec![kib(ANSWER) + " of body", kib(ANSWER_HEAD) + " of head", headers]
        },
        &["http1::reply::limits_are_where_they_are_said_to_be"],
    ),
    // It takes too long to see.
    ("age of a kept upstream", || vec![seconds(limits::MAX_AGE)], &[]),
    (
        "an upstream connection without a call",
        || vec![seconds(limits::POOL_IDLE_TIMEOUT)],
        &["upstream::what_is_not_used_is_closed"],
    ),
    (
        "headers passed on",
        || vec![kib(limits::FORWARDED)],
        &["request_info::only_the_trace_is_forwarded"],
    ),
    (
        "a log line that nobody reads",
        Vec::new,
        &["overload::a_log_that_nobody_reads_is_not_waited_for"],
    ),
    (
        "log lines",
        || vec![format!("one in {} each", seconds(Limited::INTERVAL))],
        &["overload::noise_cannot_flood_the_log_nor_write_lines_of_its_own"],
    ),
];

fn seconds(time: Duration) -> String {
    format!("{} s", time.as_secs())
}

fn milliseconds(time: Duration) -> String {
    format!("{} ms", time.as_millis())
}

fn kib(bytes: usize) -> String {
    format!("{} KiB", bytes / 1024)
}

#[test]
fn what_comes_in_is_answered_as_documented() {
    let (_process, address) = greeter();
    for (row, (_, entry)) in rows("| input |", INPUTS, |(words, _)| words) {
        println!("{row:?}"); // the last one is the one that failed
        let held = entry(code(&row[0]).into_iter().map(|(bytes, _)| bytes).collect());
        let [_, answer, place] = &row[..] else { panic!("three columns: {row:?}") };
        for (module, _) in code(place) {
            let file = source(&utf8(&module));
            assert!(fs::exists(&file).unwrap(), "there is no {file}");
        }
        let (requests, half_close) = match held {
            Sent(requests) => (requests, false),
            SentWhole(requests) => (requests, true),
            By(tests) => {
                check_tests(tests);
                continue;
            }
        };
        assert!(!requests.is_empty(), "nothing is sent");
        for request in requests {
            println!("  {:.200}", request.escape_ascii().to_string());
            check(address, &request, half_close, &Expected::read(answer));
        }
    }
}

#[test]
fn every_limit_is_the_codes_and_held_by_a_test() {
    for (row, (_, numbers, tests)) in rows("| what | limit |", LIMITS, |(words, ..)| words) {
        println!("{row:?}");
        // Thousands may have a comma.
        let text = row[1..].join(" | ").replace(',', "");
        for number in numbers() {
            let is_there = text.match_indices(&number).any(|(at, _)| {
                let is_digit = |c: char| c.is_ascii_digit();
                !text[..at].ends_with(is_digit) && !text[at + number.len()..].starts_with(is_digit)
            });
            assert!(is_there, "the code says {number}");
        }
        check_tests(tests);
    }
}

/// The rows of the table that begins so, each with its entry.
fn rows<'e, E>(
    columns: &str,
    entries: &'e [E],
    words: fn(&E) -> &str,
) -> Vec<(Vec<String>, &'e E)> {
    let table = DOCUMENT.split_once(columns).expect("the table").1;
    let lines = table.lines().skip(2).take_while(|line| line.starts_with('|'));
    let rows: Vec<_> = lines.map(cells).collect();
    for entry in entries {
        let words = words(entry);
        let count = rows.iter().filter(|row| row[0].starts_with(words)).count();
        assert_eq!(count, 1, "rows that begin with {words:?}");
    }
    let with_entry = |row: Vec<String>| {
        let mine = entries.iter().filter(|entry| row[0].starts_with(words(entry)));
        let [entry] = mine.collect::<Vec<_>>()[..] else {
            panic!("not one entry for the row {:?}", row[0]);
        };
        (row, entry)
    };
    rows.into_iter().map(with_entry).collect()
}

/// The cells of a row; `\|` is no end of one.
fn cells(line: &str) -> Vec<String> {
    let line = line.replace("\\|", "\0");
    let cells = line.trim().trim_matches('|').split('|');
    cells.map(|cell| cell.trim().replace('\0', "|")).collect()
}

/// The code in a cell, and the text before each.
fn code(cell: &str) -> Vec<(Bytes, &str)> {
    let parts: Vec<_> = cell.split('`').collect();
    assert!(parts.len() % 2 == 1, "a backtick too many: {cell}");
    parts.chunks_exact(2).map(|pair| (unescape(pair[1]), pair[0])).collect()
}

/// The bytes that `\r`, `\xe9` and the like stand for.
fn unescape(text: &str) -> Bytes {
    let mut bytes = Bytes::new();
    let mut letters = text.chars();
    while let Some(letter) = letters.next() {
        match (letter == '\\').then(|| letters.next().expect("a letter behind a backslash")) {
            None => bytes.extend(letter.to_string().bytes()),
            Some('r') => bytes.push(b'\r'),
            Some('n') => bytes.push(b'\n'),
            Some('t') => bytes.push(b'\t'),
            Some('0') => bytes.push(0),
            Some('\\') => bytes.push(b'\\'),
            Some('x') => {
                let digits: String = letters.by_ref().take(2).collect();
                bytes.push(u8::from_str_radix(&digits, 16).expect("two hex digits"));
            }
            Some(other) => panic!("what is \\{other}?"),
        }
    }
    bytes
}

/// What the second column says.
#[derive(Debug)]
struct Expected<'a> {
    /// Of the answers, in turn.
    statuses: Vec<&'a str>,
    /// Whether the connection is closed behind the last.
    close: bool,
    /// Headers, or names of headers, that it has, and those that it has not.
    with: Vec<String>,
    without: Vec<String>,
    body: Option<&'static str>,
}

impl<'a> Expected<'a> {
    /// Reads `200, then 405, close, with words and `Code` behind it`.
    fn read(answer: &'a str) -> Self {
        let is_status = |part: &str| part.len() == 3 && part.bytes().all(|b| b.is_ascii_digit());
        let mut parts = answer.split(", ").peekable();
        let mut statuses = Vec::new();
        while let Some(status) = parts
            .peek()
            .map(|part| part.strip_prefix("then ").unwrap_or(part))
            .map(|part| part.split(';').next().unwrap_or_default())
            .filter(|status| is_status(status))
        {
            statuses.push(status);
            parts.next();
        }
        assert!(!statuses.is_empty(), "no status: {answer}");
        let close = parts.peek().is_some_and(|part| part.starts_with("close"));
        let headers = code(answer).into_iter();
        let (without, with): (Vec<_>, Vec<_>) =
            headers.partition(|(_, before)| before.ends_with("without "));
        let text = |headers: Vec<(Bytes, _)>| headers.into_iter().map(|(h, _)| utf8(&h)).collect();
        let bodies = [("the line of text", GREETING.as_str()), ("the word ok", "ok")];
        let body = bodies.iter().find(|(words, _)| answer.contains(words)).map(|(_, body)| *body);
        Self { statuses, close, with: text(with), without: text(without), body }
    }
}

/// Sends a request, and holds what comes back against the document.
fn check(address: SocketAddr, request: &[u8], half_close: bool, expected: &Expected) {
    let mut client = Client::connect(address);
    client.send(request);
    if half_close {
        client.finish();
    }
    let has = |head: &str, header: &str| match header.split_once(": ") {
        Some(_) => head.contains(&format!("\r\n{header}\r\n")),
        None => head.contains(&format!("\r\n{header}: ")),
    };
    for (n, status) in expected.statuses.iter().enumerate() {
        let head = client.head();
        assert_eq!(head.get(..13), Some(&*format!("HTTP/1.1 {status} ")), "{head}");
        let is_last = n + 1 == expected.statuses.len();
        assert_eq!(has(&head, "Connection: close"), expected.close && is_last, "{head}");
        for header in &expected.with {
            assert!(has(&head, header), "{header:?} is not there: {head}");
        }
        for header in &expected.without {
            assert!(!has(&head, header), "{header:?} is there: {head}");
        }
        if request.starts_with(b"HEAD ") {
            continue;
        }
        let body = client.body(&head);
        if let Some(expected) = expected.body {
            assert_eq!(String::from_utf8_lossy(&body), expected);
        }
    }
    if expected.close || half_close {
        client.expect_end();
    } else {
        let answer = client.send(HEALTH).answer();
        assert!(answer.starts_with("HTTP/1.1 200 ") && answer.ends_with("\r\n\r\nok"), "{answer}");
    }
}

/// Whether the tests are there that hold a row, and are tests.
fn check_tests(tests: &[&str]) {
    for test in tests {
        let (place, function) = test.rsplit_once("::").expect("place::function");
        let here = format!("{}/tests/greeter/{place}.rs", env!("CARGO_MANIFEST_DIR"));
        // One name may be that of both.
        let files = [here, source(place)].map(fs::read_to_string);
        let text = files.into_iter().flatten().collect::<String>();
        let found = text.lines().collect::<Vec<_>>().windows(2).any(|lines| {
            lines[0].trim() == "#[test]" && lines[1].trim().starts_with(&format!("fn {function}()"))
        });
        assert!(found, "there is no test {test}");
    }
}

/// The file of a place: `module` is greeter's, `crate::module` that crate's.
fn source(place: &str) -> String {
    let root = concat!(env!("CARGO_MANIFEST_DIR"), "/../..");
    match place.split_once("::") {
        None => format!("{root}/bins/greeter/src/{place}.rs"),
        Some((name, module)) => format!("{root}/crates/{name}/src/{module}.rs"),
    }
}

fn utf8(bytes: &[u8]) -> String {
    String::from_utf8(bytes.into()).expect("UTF-8")
}

fn get(fields: &str) -> Bytes {
    format!("GET / HTTP/1.1\r\nHost: x\r\n{fields}\r\n").into()
}

fn field(name: &str, length: usize) -> String {
    format!("{name}: {}\r\n", "c".repeat(length))
}

fn chunked(body: &str) -> Bytes {
    format!("PUT / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n{body}").into()
}

/// The code of a row, and nothing.
fn with_empty(code: Vec<Bytes>) -> Vec<Bytes> {
    [code, vec![Bytes::new()]].concat()
}

/// Each of them, where the template has `{}`.
fn each(code: &[Bytes], template: &str) -> Held {
    Sent(filled(code, template))
}

fn each_chunked(code: &[Bytes], template: &str) -> Held {
    each(code, &utf8(&chunked(template)))
}

fn filled(code: &[Bytes], template: &str) -> Vec<Bytes> {
    let (before, after) = template.split_once("{}").expect("a place for it");
    code.iter().map(|bytes| [before.as_bytes(), bytes, after.as_bytes()].concat()).collect()
}
