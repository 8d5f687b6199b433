//! `mesh load`: how many greetings, how fast, from whom, and what failed.

use std::io::Write as _;
use std::net::{TcpListener, TcpStream};
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use application::{EDGE, LEAVES};
use harness::{Finished, PATIENCE, Peer, Process, eventually, peer, run};
use nix::sys::signal::Signal;

use crate::running::{Mesh, command};

const GREETING: &str = "From a: Hello (b) Ada (c)";

fn load(arguments: &[&str]) -> Finished {
    run(command().arg("load").args(arguments))
}

/// Of a report, the count and the times of a row of its table: p50, p99 and longest.
fn row<'a>(said: &'a str, label: &str) -> (u64, Vec<&'a str>) {
    let line = said.lines().find(|line| {
        let rest = line.strip_prefix(label);
        rest.is_some_and(|rest| rest.trim_start().starts_with(|c: char| c.is_ascii_digit()))
    });
    let line = line.unwrap_or_else(|| panic!("there is no row {label:?}: {said}"));
    let mut fields = line[label.len()..].split_whitespace();
    let count = fields.next().unwrap().parse().unwrap();
    (count, fields.collect())
}

/// A time as a report writes it, in seconds.
fn seconds(time: &str) -> f64 {
    for (unit, of_a_second) in [("ms", 1e-3), ("µs", 1e-6), ("ns", 1e-9), ("s", 1.0)] {
        if let Some(number) = time.strip_suffix(unit) {
            return number.parse::<f64>().unwrap() * of_a_second;
        }
    }
    panic!("{time} is no time");
}

/// The counts of a line of `answered: NAME N, NAME N`.
fn counts(line: &str) -> Vec<u64> {
    let parts = line.strip_prefix("answered: ").expect(line).split(", ");
    parts.map(|part| part.rsplit_once(' ').unwrap().1.parse().unwrap()).collect()
}

#[test]
fn it_says_how_many_greetings_came_and_from_whom() {
    let mesh = Mesh::start(&[]);
    let said = mesh.ask(&["load", "--connections", "4", "--seconds", "1"]);
    let lines: Vec<_> = said.lines().collect();
    let greetings: u64 = lines[0].split(' ').next().unwrap().parse().unwrap();
    assert!(greetings > 0 && lines[0].contains(" greetings in "), "{said}");
    assert_eq!(lines[1], "errors: none");
    assert_eq!(lines[2].split_whitespace().collect::<Vec<_>>(), ["count", "p50", "p99", "longest"]);
    for label in ["all", "greetings"] {
        let (count, times) = row(&said, label);
        assert_eq!((count, times.len()), (greetings, 3), "{said}");
        assert!(times.iter().all(|time| seconds(time) < 60.0), "{said}");
    }
    let services = [&[EDGE], LEAVES].concat();
    assert_eq!(lines.len(), 5 + services.len(), "{said}");
    for (line, service) in lines[5..].iter().zip(services) {
        assert!(line.starts_with(&format!("answered: {} ", service.task(1))), "{said}");
        assert_eq!(counts(line).iter().sum::<u64>(), greetings, "{said}");
    }
    let counted = mesh.answered();
    assert_eq!(counted["name-1"] + counted["name-2"], greetings, "as the mesh counts");
}

#[test]
fn at_a_rate_each_request_is_sent_or_said_to_be_late() {
    let greeting = peer::ok(GREETING);
    // Slower than it is asked: on one connection, a request waits for those before it.
    let slow = Peer::start(move |_, mut stream| {
        while peer::read_request(&mut stream).is_some() {
            thread::sleep(Duration::from_millis(300));
            let _ = stream.write_all(&greeting);
        }
    });
    let arguments = ["--connections", "1", "--rate", "10", "--seconds", "1", &slow.url()];
    let said = load(&arguments).stdout;
    let (greetings, times) = row(&said, "greetings");
    let late = 10 - greetings;
    assert!(
        said.contains(&format!("\nerrors: {late} never sent: no connection was free\n")),
        "{said}"
    );
    assert_eq!(row(&said, "all").0, 10, "{said}");
    if greetings > 1 {
        // The second was due after 100 ms, and got its answer after 600 at the earliest.
        assert!(seconds(times[2]) >= 0.5, "{said}");
    }
    // The first that was not sent was due long before the end.
    let (_, waited) = row(&said, "never sent: no connection was free");
    assert!(seconds(waited[2]) >= 0.05 * f64::from(u32::try_from(late).unwrap()), "{said}");
}

/// The slowest of all are those that fail.
#[test]
fn what_fails_is_timed_as_what_succeeds() {
    let (greeting, slow) = (peer::ok(GREETING), Duration::from_millis(400));
    let failure = "HTTP/1.1 504 Gateway Timeout\r\nContent-Length: 0\r\n\r\n";
    let peer = Peer::start(move |_, mut stream| {
        for number in 0.. {
            let Some(_) = peer::read_request(&mut stream) else { return };
            let _ = if number == 1 {
                thread::sleep(slow);
                stream.write_all(failure.as_bytes())
            } else {
                stream.write_all(&greeting)
            };
        }
    });
    let said = load(&["--connections", "1", "--seconds", "1", &peer.url()]).stdout;
    let (failed, times) = row(&said, "status 504");
    assert!((1..=3).contains(&failed), "{said}");
    for time in times.into_iter().chain([row(&said, "all").1[2]]) {
        assert!(seconds(time) >= 0.4, "{said}");
    }
    assert_eq!(row(&said, "all").0, failed + row(&said, "greetings").0, "{said}");
    assert!(said.contains(&format!("\nerrors: {failed} status 504\n")), "{said}");
}

#[test]
fn errors_are_told_by_kind() {
    let busy = Peer::answering("HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n");
    let other = Peer::saying("hello");
    let long = Peer::saying(&"x".repeat(100_000));
    let no_chunk = Peer::answering("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nx\r\n");
    let strange = Peer::answering("220 smtp.example.com\r\n");
    let cut = Peer::start(|_, mut stream| {
        let _ = peer::read_request(&mut stream);
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nFrom");
    });
    let resets = Peer::start(|_, mut stream| {
        let _ = peer::read_request(&mut stream);
        peer::reset(stream);
    });
    for (peer, kind) in [
        (busy, "status 503"),
        (other, "no greeting in the answer"),
        (long, "an answer of more than 64 KiB"),
        (strange, "no HTTP in the answer"),
        (no_chunk, "no HTTP in the answer"),
        (cut, "connection closed before the end of the answer"),
        (resets, "connection broke: connection reset"),
    ] {
        let said = load(&["--connections", "1", "--seconds", "1", &peer.url()]);
        assert_eq!((said.code, said.stdout.as_str()), (Some(1), ""), "no greeting at all");
        let lines: Vec<_> = said.stderr.lines().collect();
        assert!(lines[0].starts_with("mesh: 0 greetings in "), "{}", said.stderr);
        assert!(lines[1].starts_with("errors: ") && lines[1].ends_with(kind), "{}", said.stderr);
        assert_eq!(row(&said.stderr, kind), row(&said.stderr, "all"));
    }
}

/// A load has nothing to say of whom it cannot reach in the first place.
#[test]
fn nobody_there_is_said_at_once() {
    let nobody = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    // No label of the DNS is that long: nobody has to be asked.
    let unknown = format!("{}.invalid", "x".repeat(64));
    for (url, error) in [
        (
            format!("http://{nobody}/"),
            format!("cannot reach {nobody}: no connection: connection refused"),
        ),
        (format!("http://{unknown}:80"), format!("cannot reach {unknown}:80: unknown host")),
    ] {
        let start = Instant::now();
        let said = load(&["--seconds", "60", &url]);
        assert_eq!((said.code, said.stdout.as_str()), (Some(1), ""));
        assert!(said.stderr.starts_with(&format!("mesh: {error}: ")), "{}", said.stderr);
        assert_eq!(said.stderr.lines().count(), 1, "{}", said.stderr);
        assert!(start.elapsed() < PATIENCE, "not at once");
    }
}

/// A connection is a file: one that cannot be opened is no fault of who is asked.
#[test]
fn connections_that_there_are_no_files_for_are_told_apart() {
    let peer = Peer::saying(GREETING);
    let arguments = ["load", "--connections", "100", "--seconds", "1", &peer.url()];
    let said = run(&mut harness::with_files(40, command().args(arguments))).stdout;
    assert!(row(&said, "no connection: out of files").0 > 0, "{said}");
    assert!(row(&said, "greetings").0 > 0, "{said}");
}

/// What is no URL of plain HTTP is refused, with the word and what would be right.
#[test]
fn what_is_no_url_is_refused() {
    for url in [
        "https://127.0.0.1/",
        "127.0.0.1:8080",
        "http://",
        "http://a b/",
        "http://127.0.0.1:99999/",
        "http://ada:secret@127.0.0.1/",
        "",
    ] {
        let refused = load(&[url]);
        assert_eq!((refused.code, refused.stdout.as_str()), (Some(2), ""), "{url}");
        let line = &refused.stderr;
        assert!(line.starts_with("mesh: cannot use "), "{line}");
        assert!(line.ends_with(": give http://host[:port][/path]; see --help\n"), "{line}");
    }
}

/// Ten seconds after the last request was due at the latest, with every request counted.
#[test]
fn it_ends_in_time_whatever_the_server_does() {
    let endless = |start: &'static str, again: &'static str, pause: Duration| {
        Peer::start(move |_, mut stream| {
            let _ = peer::read_request(&mut stream);
            let _ = stream.write_all(start.as_bytes());
            let again = again.repeat(if pause.is_zero() { 1000 } else { 1 });
            while stream.write_all(again.as_bytes()).is_ok() {
                thread::sleep(pause);
            }
        })
    };
    let (now, slowly) = (Duration::ZERO, Duration::from_millis(500));
    let body = "HTTP/1.1 200 OK\r\nContent-Length: 9999\r\n\r\n";
    let peers = [
        endless("", "HTTP/1.1 102 Processing\r\n\r\n", now),
        endless("", "HTTP/1.1 102 Processing\r\n\r\n", slowly),
        endless("HTTP/1.1 200 OK\r\n", "X: y\r\n", slowly),
        endless(body, "x", slowly),
        // It takes connections and says nothing.
        Peer::start(|_, stream| hold(&stream)),
    ];
    let loads = peers.map(|peer| {
        thread::spawn(move || {
            let start = Instant::now();
            let said = load(&["--connections", "8", "--seconds", "1", &peer.url()]);
            (said, start.elapsed())
        })
    });
    for load in loads {
        let (said, took) = load.join().unwrap();
        assert!(took < Duration::from_secs(20), "{took:?}: {}", said.stderr);
        assert_eq!(said.code, Some(1));
        assert_eq!(row(&said.stderr, "all").0, 8, "{}", said.stderr);
        assert_eq!(row(&said.stderr, "no answer within 10s").0, 8, "{}", said.stderr);
    }
}

fn hold(stream: &TcpStream) {
    let _ = stream.peek(&mut [0]);
    thread::sleep(PATIENCE);
}

#[test]
fn ctrl_c_ends_it_with_its_report() {
    let peer = Peer::start(|number, mut stream| {
        // The second connection hangs.
        while number == 0 && peer::read_request(&mut stream).is_some() {
            let _ = stream.write_all(&peer::ok(GREETING));
        }
        hold(&stream);
    });
    let mut process = Process::start(command().args([
        "load",
        "--connections",
        "2",
        "--seconds",
        "60",
        &peer.url(),
    ]));
    eventually("it does not ask", || peer.connections() == 2);
    thread::sleep(Duration::from_millis(200));
    process.signal(Signal::SIGINT);
    let (status, took) = process.wait();
    assert!(took < Duration::from_secs(20), "{took:?}");
    assert_eq!(status.code(), Some(0));
    let said = process.lines().join("\n");
    assert!(said.contains(" greetings in "), "{said}");
    let (count, times) = row(&said, "not answered when it ended");
    assert!((1..=2).contains(&count) && seconds(times[2]) > 0.1, "{said}");
}

/// Names come from whoever answers.
#[test]
fn nothing_that_comes_reaches_the_terminal_as_it_is() {
    let peer = Peer::saying("From \u{1b}[31mred\u{7}: Hello (b\r\u{202e}) Ada (c\u{9b}2J)");
    let said = load(&["--connections", "1", "--seconds", "1", &peer.url()]).stdout;
    assert!(said.contains("\nanswered: \\u{1b}[31mred\\u{7} "), "{said}");
    assert!(said.contains("\nanswered: b\\r\\u{202e} "), "{said}");
    assert!(said.contains("\nanswered: c\\u{9b}2J "), "{said}");
    assert!(!said.contains(|c: char| c.is_control() && c != '\n'), "{said:?}");
}

/// What a load writes in a terminal of 30 columns: pieces between the returns of the carriage.
fn in_a_narrow_terminal(environment: &[(&str, &str)]) -> String {
    let peer = Peer::saying(GREETING);
    let line = format!(
        "stty cols 30 && exec '{}' load --connections 1 --seconds 3 {}",
        env!("CARGO_BIN_EXE_mesh"),
        peer.url()
    );
    let mut terminal = Command::new("script");
    terminal.args(["--quiet", "--return", "--command", &line, "/dev/null"]);
    terminal.env("TERM", "xterm").env_remove("NO_COLOR").envs(environment.iter().copied());
    let finished = run(&mut terminal);
    assert_eq!(finished.code, Some(0), "{finished:?}");
    finished.stdout
}

/// One that wrapped could not be written anew.
#[test]
fn its_line_of_progress_fits_into_the_terminal() {
    let said = in_a_narrow_terminal(&[]);
    let (progress, _) = said.split_once(" greetings in ").unwrap();
    assert!(progress.contains("\r1 s: ") && progress.contains("\r2 s: "), "{said:?}");
    assert!(!progress.contains('\n'), "{said:?}");
    for line in progress.split('\r') {
        assert!(line.chars().count() < 30, "{line:?} in {said:?}");
    }
    // The report begins on an empty line.
    let before = progress.rsplit('\r').nth(1).unwrap();
    assert!(!before.is_empty() && before.trim().is_empty(), "{said:?}");
    assert!(!said.contains('\u{1b}'), "{said:?}");
}

#[test]
fn a_dumb_terminal_gets_no_line_that_is_written_anew() {
    let said = in_a_narrow_terminal(&[("TERM", "dumb")]);
    assert!(!said.contains(" s: ") || said.find(" s: ") > said.find("greetings in"), "{said:?}");
    assert!(!said.replace("\r\n", "\n").contains('\r'), "{said:?}");
}
