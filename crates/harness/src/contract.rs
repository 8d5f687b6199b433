//! What every service promises, held against its real binary.

use std::net::{IpAddr, Ipv6Addr, SocketAddr, TcpListener, TcpStream};
use std::process::Command;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;

use crate::{Client, PATIENCE, Process, Traffic, get, run, service};

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

    /// A port in use is exit 1 and the address, also when a service like it has it.
    pub fn refuses_a_port_in_use(&self) {
        let taken = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let port = taken.local_addr().expect("bound").port();
        let (_other, address) = Process::serve(&mut self.command());
        for port in [port, address.port()] {
            let refused = run(self.command().env("PORT", port.to_string()));
            let start = format!("{}: cannot listen on 0.0.0.0:{port}: ", self.name);
            assert_eq!(refused.code, Some(1));
            assert!(refused.stderr.starts_with(&start), "{}", refused.stderr);
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
        if TcpListener::bind((localhost, 0)).is_err() {
            return; // a machine without IPv6 has nothing to show
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
                assert!(client.is_closed());
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
        // A body is read away, whatever it holds: it is not the next request.
        let body = "GET /health HTTP/1.1\r\n\r\n";
        for (length, filler) in [(body.len(), ""), (64 * 1024, " ")] {
            let filler = filler.repeat(length - body.len());
            let post = format!(
                "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: {length}\r\n\r\n{body}{filler}"
            );
            let refused = head("405 Method Not Allowed", 31, "Allow: GET, HEAD\r\n");
            assert_eq!(ask(&post), refused + "method not allowed: GET or HEAD");
            assert_eq!(ask("GET /health HTTP/1.1\r\n\r\n"), head("200 Ok", 2, "") + "ok");
        }
        // Where a body ends must be certain, or the connection does.
        let close = "Connection: close\r\n";
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
            assert!(client.is_closed());
        }
        // Asked to close, it closes.
        for request in [
            "GET /health HTTP/1.1\r\nHost: x\r\nConnection: Close\r\n\r\n",
            "GET /health HTTP/1.0\r\n\r\n",
        ] {
            let mut client = Client::connect(address);
            assert_eq!(client.send(request).answer(), head("200 Ok", 2, close) + "ok");
            assert!(client.is_closed());
        }
    }

    /// Sixteen request headers get an answer, the seventeenth none: the library's limit,
    /// and the reason that greeter is not built on it.
    pub fn takes_sixteen_headers(&self) {
        let (_process, address) = Process::serve(&mut self.command());
        let request = |count| format!("GET /health HTTP/1.1\r\n{}\r\n", "X: y\r\n".repeat(count));
        assert!(Client::connect(address).send(request(16)).answer().ends_with("ok"));
        assert!(Client::connect(address).send(request(17)).is_closed());
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
            assert!(Client::connect(address).send(bad).is_closed(), "{bad:?}");
        }
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
