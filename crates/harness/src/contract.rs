//! What every service promises, held against its real binary.

use std::io::{Read, Write};
use std::net::{IpAddr, Ipv6Addr, SocketAddr, TcpListener, TcpStream};
use std::process::Command;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};
use std::thread::{self, sleep};
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;

use crate::process::started_at;
use crate::{Client, PATIENCE, Process, Traffic, eventually, get, run, service, with_files};

/// The host the services under test say they come from.
pub const HOST: &str = "host-1.test";

/// A service's binary, with what it needs besides a port.
#[derive(Clone, Copy, Debug)]
pub struct Binary {
    /// What it is called.
    pub name: &'static str,
    /// Its file: `env!("CARGO_BIN_EXE_name")`.
    pub path: &'static str,
    /// The variables it cannot start without.
    pub environment: &'static [(&'static str, &'static str)],
}

impl Binary {
    /// The binary with its environment, and nothing of the tests' own.
    #[must_use]
    pub fn command(&self) -> Command {
        let mut command = service(self.path);
        command.env("HOSTNAME", HOST).envs(self.environment.iter().copied());
        command
    }

    /// `--version` and `--help` answer; anything unknown is exit 2 and the usage.
    pub fn has_a_command_line(&self) {
        let version = run(self.command().arg("--version"));
        assert_eq!(version.code, Some(0));
        assert_eq!(version.stdout, format!("{} {}\n", self.name, env!("CARGO_PKG_VERSION")));

        let help = run(self.command().arg("--help"));
        assert_eq!(help.code, Some(0));
        for expected in [self.name, "healthcheck", "PORT", "HOSTNAME"] {
            assert!(help.stdout.contains(expected), "{expected} is not in {}", help.stdout);
        }
        for variable in self.environment {
            assert!(help.stdout.contains(variable.0), "{} is not in the help", variable.0);
        }
        for unknown in [&["--vresion"][..], &["help"], &["serve", "now"], &[""]] {
            let refused = run(self.command().args(unknown));
            assert_eq!(refused.code, Some(2), "{unknown:?}");
            assert_eq!((refused.stdout.as_str(), &refused.stderr), ("", &help.stdout));
        }
    }

    /// Its exit code is the same where standard error cannot be written.
    pub fn fails_without_a_standard_error(&self) {
        for (argument, port, code) in [("help", "0", 2), ("serve", "http", 78)] {
            let (_, writer) = std::io::pipe().expect("a pipe");
            let mut command = self.command();
            let status = command.arg(argument).env("PORT", port).stderr(writer).status();
            assert_eq!(status.expect("it starts").code(), Some(code));
        }
    }

    /// A setting that is wrong is exit 78 and one line: variable, value, remedy.
    pub fn refuses(&self, variable: &str, value: &str, line: &str) {
        let refused = run(self.command().env(variable, value));
        assert_eq!(refused.code, Some(78), "{variable}={value}");
        assert_eq!(refused.stderr, format!("{}: {line}\n", self.name));
        assert_eq!(refused.stdout, "");
    }

    /// The one setting that all have.
    pub fn refuses_a_bad_port(&self) {
        let line = r#"PORT="http" is not a whole number from 0 to 65535"#;
        self.refuses("PORT", "http", line);
    }

    /// The version is a word, if it is set.
    pub fn refuses_a_bad_version(&self) {
        let remedy = "is no word: at most 32 printable characters, no blanks or parentheses";
        self.refuses("VERSION", "a b", &format!(r#"VERSION="a b" {remedy}"#));
    }

    /// A port in use is exit 1, the address and the remedy, also when a service like it has it.
    pub fn refuses_a_port_in_use(&self) {
        let taken = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let port = taken.local_addr().expect("bound").port();
        let (_other, address) = Process::serve(&mut self.command());
        for port in [port, address.port()] {
            let refused = run(self.command().env("PORT", port.to_string()));
            let address = format!("0.0.0.0:{port}");
            let start = format!("{}: PORT={port}: cannot listen on {address}: ", self.name);
            let remedy = ": end what listens there, or set PORT to another\n";
            assert_eq!(refused.code, Some(1));
            assert!(refused.stderr.starts_with(&start), "{}", refused.stderr);
            assert!(refused.stderr.ends_with(remedy), "{}", refused.stderr);
            assert_eq!(refused.stderr.lines().count(), 1, "{}", refused.stderr);
        }
    }

    /// `healthcheck` is exit 0 or 1 and one line that says why.
    pub fn checks_its_own_health(&self) {
        let (mut process, address) = Process::serve(&mut self.command());
        let check = || {
            let once =
                || run(self.command().arg("healthcheck").env("PORT", address.port().to_string()));
            // It gives up after 1.5 s, which a busy machine may need now and then.
            (0..10)
                .map(|_| once())
                .find(|check| !check.stderr.contains("timeout"))
                .unwrap_or_else(once)
        };
        let url = format!("http://127.0.0.1:{}/health", address.port());
        let healthy = check();
        assert_eq!(healthy.code, Some(0));
        assert_eq!(healthy.stdout, format!("healthy: {url} answers 200\n"));

        let traffic = Traffic::start(address);
        process.signal(Signal::SIGTERM);
        let _ = process.line(|line| line.contains(r#""event":"drain""#));
        let draining = check();
        drop(traffic);
        assert_eq!(draining.code, Some(1));
        let line = format!("{}: unhealthy: {url} answers 503 Service Unavailable\n", self.name);
        assert_eq!(draining.stderr, line);

        process.wait();
        let gone = check();
        assert_eq!(gone.code, Some(1));
        let start = format!("{}: unhealthy: {url}: ", self.name);
        assert!(gone.stderr.starts_with(&start) && gone.stderr.lines().count() == 1);
    }

    /// It listens on IPv6 too, where there is IPv6.
    pub fn speaks_ipv6(&self) {
        let localhost = IpAddr::V6(Ipv6Addr::LOCALHOST);
        if let Err(error) = TcpListener::bind((localhost, 0)) {
            return crate::say(&format!("{} is not asked over IPv6: {error}", self.name));
        }
        let (_process, address) = Process::serve(&mut self.command());
        assert_eq!(get(SocketAddr::new(localhost, address.port()), "/health"), (200, "ok".into()));
    }

    /// SIGTERM or SIGINT: it goes on serving, says so, and ends with 0 once it is quiet.
    pub fn drains(&self) {
        for signal in [Signal::SIGTERM, Signal::SIGINT] {
            let (mut process, address) = Process::serve(&mut self.command());
            let mut kept = Client::connect(address);
            kept.send("GET /health HTTP/1.1\r\nHost: x\r\n\r\n");
            assert!(kept.answer().ends_with("\r\n\r\nok"));

            // Before it begins: this thread may hear of it late.
            let start = Instant::now();
            let traffic = Traffic::start(address);
            process.signal(signal);
            let _ = process.line(|line| line.contains(r#""event":"drain""#));
            // On connections old and new.
            kept.send("GET /health HTTP/1.1\r\nHost: x\r\n\r\n");
            for client in [
                &mut kept,
                Client::connect(address).send("GET /health HTTP/1.1\r\nHost: x\r\n\r\n"),
            ] {
                let answer = client.answer();
                assert!(answer.starts_with("HTTP/1.1 503 Service Unavailable\r\n"), "{answer}");
                assert!(answer.contains("\r\nConnection: close\r\n"), "{answer}");
                assert!(answer.ends_with("\r\n\r\ndraining"), "{answer}");
                client.expect_end();
            }
            drop(traffic);
            let (status, _) = process.wait();
            assert_eq!(status.code(), Some(0), "{signal}");
            let lived = start.elapsed();
            assert!(lived >= Duration::from_secs(1), "gone within the quiet second: {lived:?}");
            let _ = process.line(|line| line.contains(r#""event":"stop""#));
        }
    }

    /// Whoever checks its health all the time does not keep it from ending.
    pub fn drains_despite_health_checks(&self) {
        let (mut process, address) = Process::serve(&mut self.command());
        process.signal(Signal::SIGTERM);
        let _ = process.line(|line| line.contains(r#""event":"drain""#));
        let start = Instant::now();
        while let Some(mut client) = Client::try_connect(address) {
            // Its end may come between the two.
            let _ = client.try_send("GET /health HTTP/1.1\r\nHost: x\r\n\r\n");
            std::thread::sleep(Duration::from_millis(100));
            assert!(start.elapsed() < PATIENCE, "still there");
        }
        assert_eq!(process.wait().0.code(), Some(0));
        // Not because its time was up.
        let stop = process.line(|line| line.contains(r#""event":"stop""#));
        assert!(stop.contains(r#""quiet":"true""#), "{stop}");
    }

    /// A log that nobody reads holds nothing up, least of all its end.
    pub fn waits_for_no_reader(&self) {
        let (mut process, address, _log) = Process::serve_unread(&mut self.command());
        assert_eq!(get(address, "/health"), (200, "ok".into()));
        process.signal(Signal::SIGTERM);
        assert_eq!(process.wait().0.code(), Some(0));
    }

    /// A second signal ends it at once.
    pub fn obeys_a_second_signal(&self) {
        let (mut process, address) = Process::serve(&mut self.command());
        let _traffic = Traffic::start(address);
        process.signal(Signal::SIGTERM);
        let _ = process.line(|line| line.contains(r#""event":"drain""#));
        process.signal(Signal::SIGTERM);
        assert_eq!(process.wait().0.code(), Some(128 + 15));
    }

    /// What a leaf answers, byte for byte; `is_word` knows its words.
    pub fn answers_as_a_leaf(&self, is_word: impl Fn(&str) -> bool) {
        let (_process, address) = Process::serve(&mut self.command());
        let mut client = Client::connect(address);
        let head = |status: &str, length: usize, extra: &str| {
            format!(
                "HTTP/1.1 {status}\r\nServer: M\r\nDate: DATE\r\nContent-Length: {length}\r\n{extra}\
                 Content-Type: text/plain; charset=utf-8\r\nX-Content-Type-Options: nosniff\r\n\
                 Cache-Control: no-store\r\n\r\n"
            )
        };
        let mut ask = |request: &str| client.send(request).answer();

        // Any path, on one connection.
        for path in ["/", "/any/path?query", "/healthy", "/health/"] {
            let answer = ask(&format!("GET {path} HTTP/1.1\r\nHost: x\r\n\r\n"));
            let body = answer.split("\r\n\r\n").nth(1).expect("a body");
            assert_eq!(answer, head("200 Ok", body.len(), "") + body);
            let word = body.strip_suffix(&format!(" ({HOST})")).expect("the host behind the word");
            assert!(is_word(word), "{word:?}");
        }
        for path in ["/health", "/health?deep"] {
            let answer = ask(&format!("GET {path} HTTP/1.1\r\nHost: x\r\n\r\n"));
            assert_eq!(answer, head("200 Ok", 2, "") + "ok");
        }
        // No body for HEAD; its Content-Length is beyond the library.
        assert_eq!(ask("HEAD / HTTP/1.1\r\nHost: x\r\n\r\n"), head("200 Ok", 0, ""));
        // A body is read away, whatever it holds: it is not the next request. There is none.
        let close = "Connection: close\r\n";
        let body = "GET /health HTTP/1.1\r\n\r\n";
        for (length, filler) in [(body.len(), ""), (64 * 1024, " ")] {
            let filler = filler.repeat(length - body.len());
            let post = format!(
                "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: {length}\r\n\r\n{body}{filler}"
            );
            let mut client = Client::connect(address);
            let refused =
                head("405 Method Not Allowed", 31, &format!("{close}Allow: GET, HEAD\r\n"));
            assert_eq!(client.send(&post).answer(), refused + "method not allowed: GET or HEAD");
            client.expect_end();
        }
        // Where a body ends must be certain.
        for (field, status, text) in [
            ("Content-Length: many", "400 Bad Request", "bad Content-Length"),
            ("Content-Length: -1", "400 Bad Request", "bad Content-Length"),
            ("Content-Length: 18446744073709551616", "400 Bad Request", "bad Content-Length"),
            ("Content-Length: 1\r\nContent-Length: 2", "400 Bad Request", "bad Content-Length"),
            (
                "Transfer-Encoding: chunked",
                "400 Bad Request",
                "Transfer-Encoding is not supported here",
            ),
            ("Content-Length: 65537", "413 Content Too Large", "body over 64 KiB"),
        ] {
            let mut client = Client::connect(address);
            client.send(format!("POST / HTTP/1.1\r\nHost: x\r\n{field}\r\n\r\n"));
            assert_eq!(client.answer(), head(status, text.len(), close) + text, "{field}");
            client.expect_end();
        }
        // Asked to close, it closes.
        for request in [
            "GET /health HTTP/1.1\r\nHost: x\r\nConnection: Close\r\n\r\n",
            "GET /health HTTP/1.0\r\n\r\n",
        ] {
            let mut client = Client::connect(address);
            assert_eq!(client.send(request).answer(), head("200 Ok", 2, close) + "ok");
            client.expect_end();
        }
    }

    /// Sixteen request headers get an answer, the seventeenth none: the library's limit,
    /// and the reason that greeter is not built on it.
    pub fn takes_sixteen_headers(&self) {
        let (_process, address) = Process::serve(&mut self.command());
        let request = |count| format!("GET /health HTTP/1.1\r\n{}\r\n", "X: y\r\n".repeat(count));
        assert!(Client::connect(address).send(request(16)).answer().ends_with("ok"));
        Client::connect(address).send(request(17)).expect_end();
        // The others go on.
        assert_eq!(get(address, "/health"), (200, "ok".into()));
    }

    /// What the edge answers with an error, a leaf only hangs up on: its library parses
    /// the head before the service is asked, and says nothing when that fails.
    pub fn hangs_up_without_an_answer(&self) {
        let (_process, address) = Process::serve(&mut self.command());
        for bad in [
            "GET /\r\n\r\n",
            "GET / HTTP/9.9\r\n\r\n",
            "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
            "GET / HTTP/1.1\r\nHost : x\r\n\r\n",
            "GET / HTTP/1.1\r\nA: b\r\n c\r\n\r\n",
            "GET / HTTP/1.1\r\nA: b\0c\r\n\r\n",
            "\x16\x03\x01\x02\0\x01\0",
        ] {
            println!("{bad:?}"); // the last one is the one that failed
            Client::connect(address).send(bad).expect_end();
            // What stands before it in the same segment is lost with it.
            let good = "GET / HTTP/1.1\r\nHost: x\r\n\r\n";
            Client::connect(address).send(good.to_owned() + bad).expect_end();
        }
    }

    /// The answer that ends a connection arrives, whatever stands before and behind it in
    /// the same segment, and nothing arrives behind it.
    pub fn ends_behind_an_answer(&self) {
        let (_process, address) = Process::serve(&mut self.command());
        let one = "GET /health HTTP/1.1\r\nHost: x\r\n\r\n";
        for (last, status, behind) in [
            ("GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", "200 Ok", one),
            ("GET / HTTP/1.0\r\n\r\n", "200 Ok", "GET"),
            (
                "POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n",
                "400 Bad Request",
                "18\r\nGET /health HTTP/1.1\r\n\r\n\r\n0\r\n\r\n",
            ),
            ("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: many\r\n\r\n", "400 Bad Request", one),
        ] {
            for before in (0..=50).chain([63, 64, 65, 250]) {
                let mut client = Client::connect(address);
                if before % 2 == 1 {
                    // A connection that is already known.
                    assert!(client.send(one).answer().ends_with("ok"));
                }
                client.send(one.repeat(before) + last + behind);
                for _ in 0..before {
                    let answer = client.answer();
                    assert!(!answer.contains("\r\nConnection: close\r\n"), "{answer}");
                    assert!(answer.ends_with("\r\n\r\nok"), "{answer}");
                }
                let answer = client.answer();
                assert!(answer.starts_with(&format!("HTTP/1.1 {status}\r\n")), "{answer}");
                assert!(answer.contains("\r\nConnection: close\r\n"), "{answer}");
                client.expect_end();
            }
        }
    }

    /// So many requests may come in one go, and no more: they all take memory.
    pub fn bounds_a_row(&self) {
        let (_process, address) = Process::serve(&mut self.command());
        let mut client = Client::connect(address);
        client.send("GET /health HTTP/1.1\r\nHost: x\r\n\r\n".repeat(500));
        for number in 1..=256 {
            let answer = client.answer();
            assert_eq!(answer.contains("\r\nConnection: close\r\n"), number == 256, "{number}");
        }
        client.expect_end();
    }

    /// What is asked in one go while it drains: one answer that says so, and the end.
    pub fn drains_a_row_of_requests(&self) {
        let (mut process, address) = Process::serve(&mut self.command());
        let one = "GET / HTTP/1.1\r\nHost: x\r\n\r\n";
        let mut kept = Client::connect(address);
        assert!(kept.send(one).answer().ends_with(&format!(" ({HOST})")));
        process.signal(Signal::SIGTERM);
        let _ = process.line(|line| line.contains(r#""event":"drain""#));
        for client in [&mut kept, &mut Client::connect(address)] {
            let answer = client.send(one.repeat(3)).answer();
            assert!(answer.contains("\r\nConnection: close\r\n"), "{answer}");
            assert!(answer.ends_with(&format!(" ({HOST})")), "{answer}");
            client.expect_end();
        }
        assert_eq!(process.wait().0.code(), Some(0));
    }

    /// Who waits to be told to send the body is answered without it.
    pub fn answers_who_holds_the_body_back(&self) {
        let (_process, address) = Process::serve(&mut self.command());
        for (method, status) in [("POST", "405 Method Not Allowed"), ("GET", "200 Ok")] {
            let mut client = Client::connect(address);
            client.send(format!(
                "{method} / HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n"
            ));
            let answer = client.answer();
            assert!(answer.starts_with(&format!("HTTP/1.1 {status}\r\n")), "{answer}");
            assert!(answer.contains("\r\nConnection: close\r\n"), "{answer}");
            client.expect_end();
        }
        // Without a body there is nothing to hold back.
        let mut client = Client::connect(address);
        let expects = "GET /health HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\n\r\n";
        for _ in 0..2 {
            let answer = client.send(expects).answer();
            assert!(!answer.contains("\r\nConnection: close\r\n"), "{answer}");
        }
    }

    /// Bad heads do not fill standard error, nor does it matter that nobody can be told.
    pub fn outlives_its_standard_error(&self) {
        for gone in [false, true] {
            let (reader, writer) = std::io::pipe().expect("a pipe");
            let reader = (!gone).then_some(reader);
            let (mut process, address) = Process::serve(self.command().stderr(writer));
            for _ in 0..2000 {
                Client::connect(address).send("GET /\r\n\r\n").expect_end();
            }
            assert_eq!(get(address, "/health"), (200, "ok".into()));
            process.signal(Signal::SIGTERM);
            assert_eq!(process.wait().0.code(), Some(0));
            let mut written = String::new();
            if let Some(mut reader) = reader {
                reader.read_to_string(&mut written).expect("UTF-8");
            }
            assert_eq!(written, "");
        }
    }

    /// More connections than it may open files: some are served, the others closed, and it
    /// neither spins nor stays so.
    pub fn has_files_left(&self) {
        let (process, address) = Process::serve(&mut with_files(64, &self.command()));
        let mut clients: Vec<_> = (0..100).map(|_| Client::connect(address)).collect();
        let served = |client: &mut Client| {
            let _ = client.try_send("GET /health HTTP/1.1\r\nHost: x\r\n\r\n");
            client.read_some() > 0
        };
        let count = clients.iter_mut().filter_map(|client| served(client).then_some(())).count();
        assert!((10..64).contains(&count), "{count} of 100 connections were served");
        // A leaf that is full is well.
        let port = address.port().to_string();
        let checked = run(self.command().arg("healthcheck").env("PORT", port));
        assert_eq!((checked.code, &*checked.stderr), (Some(0), ""));

        let (cpu, start) = (process.cpu_time(), Instant::now());
        sleep(Duration::from_secs(1));
        let used = process.cpu_time().saturating_sub(cpu);
        assert!(used < start.elapsed() / 2, "it spins: {used:?} of CPU in {:?}", start.elapsed());

        drop(clients);
        eventually("it does not serve again", || {
            Client::try_connect(address).is_some_and(|mut client| served(&mut client))
        });
    }

    /// A body behind other requests is none of them, wherever the library's buffer ends. What
    /// stands before it is answered, and it ends the connection.
    pub fn reads_bodies_away(&self) {
        let (_process, address) = Process::serve(&mut self.command());
        let one = "GET /health HTTP/1.1\r\nHost: x\r\n\r\n";
        for length in [1, 1000, 16_000, 31_000, 32_000, 33_000, 65_536] {
            let body = "x".repeat(length);
            for (before, behind) in [("", ""), (one, ""), (one, one)] {
                let mut client = Client::connect(address);
                let post = format!("POST / HTTP/1.1\r\nContent-Length: {length}\r\n\r\n{body}");
                client.send(format!("{before}{post}{behind}"));
                if !before.is_empty() {
                    assert!(client.answer().ends_with("\r\n\r\nok"));
                }
                let answer = client.answer();
                assert!(answer.starts_with("HTTP/1.1 405 "), "{answer}");
                assert!(answer.contains("\r\nConnection: close\r\n"), "{answer}");
                // With more behind than the library's buffer holds, it may add something.
                if behind.is_empty() {
                    client.expect_end();
                }
            }
        }
    }

    /// An answer is given once, though the library's reads end where a request does, or where
    /// its buffer does.
    pub fn answers_once(&self) {
        let (_process, address) = Process::serve(&mut self.command());
        let body = "x".repeat(64 * 1024);
        let post = format!("POST / HTTP/1.0\r\nContent-Length: {}\r\n\r\n{body}", body.len());
        for _ in 0..500 {
            let mut client = Client::connect(address);
            client.send("GET /health HTTP/1.1\r\nHost: x\r\n\r\n");
            assert!(client.answer().ends_with("\r\n\r\nok"));
            let answer = client.send(&post).answer();
            assert!(answer.starts_with("HTTP/1.1 405 "), "{answer}");
        }
        let get = |length: usize, last: &str| {
            format!("GET /health HTTP/1.1\r\nX: {}\r\n{last}\r\n", "x".repeat(length))
        };
        let filler = get(10, "").repeat(1000);
        for (length, times, last) in [(20_000, 1, 20_000), (100, 5, 40_000), (15_000, 2, 17_000)] {
            let mut client = Client::connect(address);
            let row = get(length, "").repeat(times) + &get(last, "Connection: close\r\n");
            let _ = client.try_send(row + &filler);
            for _ in 0..times {
                let answer = client.answer();
                assert!(answer.ends_with("\r\n\r\nok"), "{answer}");
                assert!(!answer.contains("Connection: close"), "{length}, {times}: {answer}");
            }
            let answer = client.answer();
            assert!(answer.contains("\r\nConnection: close\r\n"), "{length}, {times}: {answer}");
        }
    }

    /// `FAULT` is off unless it is set, and a bad one ends the start.
    pub fn refuses_a_bad_fault(&self) {
        let remedy = "is no fault: set it to 20%503, 20%300ms or health, or to several with \
                      commas (1% to 100%, a status from 500 to 599, 1ms to 5000ms)";
        self.refuses("FAULT", "503", &format!(r#"FAULT="503" {remedy}"#));
        let help = run(self.command().arg("--help")).stdout;
        assert!(help.contains("\n  FAULT "), "{help}");
        let process = Process::start(self.command().env("PORT", "0"));
        let start = process.line(|line| line.contains(r#""event":"start""#));
        assert!(!start.contains("fault"), "{start}");
    }

    /// As many answers have a fault's status as it says, on connections that go on, and none
    /// of those to health checks.
    pub fn answers_with_a_fault(&self) {
        let process = Process::start(self.command().env("PORT", "0").env("FAULT", "20%503"));
        let start = process.line(|line| line.contains(r#""event":"start""#));
        assert!(start.contains(r#","fault":"20%503""#), "{start}");
        let mut client = Client::connect(started_at(&start));
        let fault = "HTTP/1.1 503 Injected Fault\r\nServer: M\r\nDate: DATE\r\n\
                     Content-Length: 48\r\nContent-Type: text/plain; charset=utf-8\r\n\
                     X-Content-Type-Options: nosniff\r\nCache-Control: no-store\r\n\r\n\
                     injected fault: this leaf was started with FAULT";
        let mut faults = 0;
        for _ in 0..1000 {
            let answer = client.send("GET / HTTP/1.1\r\nHost: x\r\n\r\n").answer();
            faults += usize::from(answer == fault);
            assert!(answer == fault || answer.ends_with(&format!(" ({HOST})")), "{answer}");
            let health = client.send("GET /health HTTP/1.1\r\nHost: x\r\n\r\n").answer();
            assert!(health.ends_with("\r\n\r\nok"), "{health}");
        }
        // 200, give or take eight standard deviations of 12.6.
        assert!((100..300).contains(&faults), "{faults} of 1,000 answers");
    }

    /// `health` makes its health check fail, and nothing else.
    pub fn is_unwell_on_purpose(&self) {
        let (_process, address) = Process::serve(self.command().env("FAULT", "health"));
        let text = "injected fault: this leaf was started with FAULT";
        assert_eq!(get(address, "/health"), (503, text.into()));
        assert_eq!(get(address, "/").0, 200);
        let port = address.port().to_string();
        let check = run(self.command().arg("healthcheck").env("PORT", port));
        assert_eq!(check.code, Some(1));
    }

    /// A delayed answer keeps nobody waiting but those who asked, and a drain until it is given.
    pub fn delays_an_answer(&self) {
        let mut command = self.command();
        let (mut process, address) = Process::serve(command.env("FAULT", "100%5000ms,100%500"));
        let one = "GET / HTTP/1.1\r\nHost: x\r\n\r\n";
        let mut delayed: Vec<_> = (0..10).map(|_| Client::connect(address)).collect();
        for client in &mut delayed {
            client.send(one);
        }
        // Others are answered meanwhile, in a row as well.
        let mut other = Client::connect(address);
        for _ in 0..10 {
            other.send("GET /health HTTP/1.1\r\nHost: x\r\n\r\n".repeat(10));
            for _ in 0..10 {
                assert!(other.answer().ends_with("\r\n\r\nok"));
            }
        }
        assert!(!delayed.iter().any(Client::has_input), "a delayed answer is there already");
        process.signal(Signal::SIGTERM);
        let _ = process.line(|line| line.contains(r#""event":"drain""#));
        // What is asked now is not held back.
        let answer = Client::connect(address).send(one).answer();
        assert!(answer.starts_with("HTTP/1.1 500 Injected Fault\r\n"), "{answer}");
        for client in &mut delayed {
            let answer = client.answer();
            assert!(answer.starts_with("HTTP/1.1 500 Injected Fault\r\n"), "{answer}");
            assert!(answer.contains("\r\nConnection: close\r\n"), "{answer}");
            client.expect_end();
        }
        assert_eq!(process.wait().0.code(), Some(0));
        let stop = process.line(|line| line.contains(r#""event":"stop""#));
        assert!(stop.contains(r#""requests":"11","quiet":"true""#), "{stop}");
    }

    /// Who does not read the answers is dropped before they fill the memory.
    pub fn drops_who_does_not_read(&self) {
        let (process, address) = Process::serve(&mut self.command());
        let requests = "GET / HTTP/1.1\r\nHost: x\r\n\r\n".repeat(1000);
        let mut client = Client::connect(address);
        let sent = (0..1200).take_while(|_| client.try_send(&requests).is_ok()).count();
        assert!(sent < 1200, "it took {} KiB of requests", sent * requests.len() / 1024);
        assert!(process.memory() < 32 * 1024, "{} KiB of memory", process.memory());
        assert_eq!(get(address, "/health"), (200, "ok".into()));
    }

    /// A head without an end is cut off before it fills the memory.
    ///
    /// The leaf looks at its memory every 50 ms, and late on a busy machine: a client that sends
    /// as fast as it can may outrun it. This one sends 10 MiB a second at most, so
    /// that a look late by seconds still finds it in time.
    pub fn bounds_a_head(&self) {
        let (process, address) = Process::serve(&mut self.command());
        let piece = "x".repeat(100 * 1024);
        let mut client = Client::connect(address);
        assert!(client.send("GET /health HTTP/1.1\r\nHost: x\r\n\r\n").answer().ends_with("ok"));
        client.send("GET / HTTP/1.1\r\nX: ");
        let take = |_: &i32| {
            sleep(Duration::from_millis(10));
            client.try_send(&piece).is_ok()
        };
        let sent = (0..2000).take_while(take).count();
        assert!(sent < 2000, "it took {sent} times 100 KiB");
        assert!(process.memory() < 256 * 1024, "{} KiB of memory", process.memory());
        assert_eq!(get(address, "/health"), (200, "ok".into()));
    }

    /// A connection without a request, and a request without its body, end after a while.
    pub fn ends_who_is_too_slow(&self) {
        let (_process, address) = Process::serve(&mut self.command());
        let start = Instant::now();
        let (mut silent, mut slow) = (Client::connect(address), Client::connect(address));
        slow.send("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nbod");
        assert_eq!(get(address, "/health"), (200, "ok".into()));
        silent.expect_end();
        let _ = slow.head();
        assert!(slow.read_some() > 0, "it is answered");
        assert_eq!(slow.read_some(), 0);
        assert!(start.elapsed() < PATIENCE, "it is not closed");
    }

    /// Clients whose requests never cease do not keep others from being served.
    pub fn is_fair(&self) {
        let (_process, address) = Process::serve(&mut self.command());
        let (answered, done) = (AtomicUsize::new(0), AtomicBool::new(false));
        thread::scope(|scope| {
            for _ in 0..4 {
                let stream = TcpStream::connect(address).expect("connects");
                let mut reader = stream.try_clone().expect("a second handle");
                let (answered, done) = (&answered, &done);
                scope.spawn(move || {
                    // Large, so that few fill what the library reads in one go.
                    let request =
                        format!("GET / HTTP/1.1\r\nHost: x\r\nX: {}\r\n\r\n", "y".repeat(400));
                    let requests = request.repeat(100);
                    while !done.load(Relaxed) && (&stream).write_all(requests.as_bytes()).is_ok() {}
                    let _ = stream.shutdown(std::net::Shutdown::Both);
                });
                scope.spawn(move || {
                    let mut buffer = [0; 16 * 1024];
                    while let Ok(count @ 1..) = reader.read(&mut buffer) {
                        answered.fetch_add(count / 200, Relaxed);
                    }
                });
            }
            eventually("they get no answers", || answered.load(Relaxed) > 10_000);
            let mut most = 0;
            for _ in 0..20 {
                let before = answered.load(Relaxed);
                assert_eq!(get(address, "/health"), (200, "ok".into()));
                most = most.max(answered.load(Relaxed) - before);
            }
            done.store(true, Relaxed);
            assert!(most < 50_000, "{most} answers to others before one of ours");
        });
    }

    /// Nothing a client sends ends the process.
    pub fn survives(&self) {
        let (mut process, address) = Process::serve(&mut self.command());
        for noise in [
            &b"\x16\x03\x01\x02\x00\x01\x00"[..],
            b"\0\0\0\0",
            b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
            b"\r\n\r\n\r\n",
            b"GET",
        ] {
            // It may hang up on the first of it.
            let _ = Client::connect(address).try_send(noise);
        }
        drop(TcpStream::connect(address).expect("connects"));
        assert_eq!(get(address, "/health"), (200, "ok".into()));
        process.signal(Signal::SIGTERM);
        assert_eq!(process.wait().0.code(), Some(0));
    }
}

/// The tests that every service's binary must pass, a test a promise.
#[macro_export]
macro_rules! test_every_promise {
    ($binary:expr) => {
        $crate::test_every_promise! { $binary =>
            command_line: has_a_command_line,
            command_line_unheard: fails_without_a_standard_error,
            bad_port: refuses_a_bad_port,
            bad_version: refuses_a_bad_version,
            port_in_use: refuses_a_port_in_use,
            health_check: checks_its_own_health,
            ipv6: speaks_ipv6,
            drain: drains,
            drain_and_health_checks: drains_despite_health_checks,
            second_signal: obeys_a_second_signal,
            unread_log: waits_for_no_reader,
            noise: survives,
        }
    };
    ($binary:expr => $($test:ident: $promise:ident,)*) => {
        $(#[test]
        fn $test() {
            $binary.$promise();
        })*
    };
}

/// The tests that a leaf's binary must pass besides.
#[macro_export]
macro_rules! test_every_promise_of_a_leaf {
    ($binary:expr) => {
        $crate::test_every_promise! { $binary =>
            header_limit: takes_sixteen_headers,
            malformed_requests: hangs_up_without_an_answer,
            last_answer: ends_behind_an_answer,
            long_row: bounds_a_row,
            drain_and_a_row: drains_a_row_of_requests,
            body_held_back: answers_who_holds_the_body_back,
            standard_error: outlives_its_standard_error,
            bodies: reads_bodies_away,
            answers_once: answers_once,
            files: has_files_left,
            unread_answers: drops_who_does_not_read,
            long_head: bounds_a_head,
            bad_fault: refuses_a_bad_fault,
            faulty_answers: answers_with_a_fault,
            faulty_health: is_unwell_on_purpose,
            delayed_answers: delays_an_answer,
            slow_clients: ends_who_is_too_slow,
            fairness: is_fair,
        }
    };
}
