//! Every service: its command line, its settings, and its health check.

use std::ffi::OsStr;
use std::fs::File;
use std::io::{ErrorKind, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener};
use std::os::unix::ffi::OsStrExt as _;
use std::process::{Output, Stdio};

use nix::sys::signal::Signal;

use super::Binary;
use crate::client::{Traffic, get};
use crate::process::{Process, after, fill, is_emulated, nameless_file, run};
use crate::wait::{eventually, say};

/// Makes an output that cannot be written to.
type Nowhere = fn() -> Stdio;

impl Binary {
    /// `--version` and `--help` print; an unknown argument is exit 2, and is named above the usage.
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
        let long = "\u{1b}".repeat(10_000);
        for (words, wrong) in [
            (&[&b"--vresion"[..]][..], "there is no \"--vresion\""),
            (&[b"help"], "there is no \"help\""),
            (&[b"serve", b"now"], "\"now\" is one argument too many"),
            (&[b"--help", b"--nope", b"x"], "\"--nope\" is one argument too many"),
            (&[b""], "there is no \"\""),
            (&[b"\xff\n"], "there is no \"\u{fffd}\\n\""),
            (&[long.as_bytes()], &format!("there is no \"{}\"...", "\\u{1b}".repeat(60))),
        ] {
            let refused =
                run(self.command().args(words.iter().map(|word| OsStr::from_bytes(word))));
            let expected = format!("{}: {wrong}\n\n{}", self.name, help.stdout);
            assert_eq!((refused.stdout, refused.stderr), (String::new(), expected));
            assert_eq!(refused.code, Some(2), "{wrong}");
        }
    }

    /// Its exit code is the same if standard error cannot be written to.
    pub fn fails_without_a_standard_error(&self) {
        for (argument, port, code) in [("help", "0", 2), ("serve", "http", 78)] {
            let (_, writer) = std::io::pipe().expect("a pipe");
            let mut command = self.command();
            let status = command.arg(argument).env("PORT", port).stderr(writer).status();
            assert_eq!(status.expect("it starts").code(), Some(code));
        }
    }

    /// Success is exit 0 even if the output cannot be written: a full disk, a reader that is gone or does
    /// not read, a file that may not grow.
    pub fn succeeds_unheard(&self) {
        let (_process, address) = Process::serve(&mut self.command());
        let nowhere: [(&str, Nowhere); 4] = [
            ("a full disk", || File::options().write(true).open("/dev/full").unwrap().into()),
            ("nobody", || std::io::pipe().unwrap().1.into()),
            ("a reader who does not read", || {
                let (reader, writer) = std::io::pipe().unwrap();
                fill(writer.try_clone().unwrap());
                std::mem::forget(reader); // it stays
                writer.into()
            }),
            ("a file that may not grow", || nameless_file().into()),
        ];
        for (what, nowhere) in nowhere {
            for argument in ["healthcheck", "--version", "--help"] {
                let mut command = self.command();
                command.arg(argument).env("PORT", address.port().to_string());
                let said = || after("ulimit -f 0", &command).stdout(nowhere()).output().unwrap();
                let is_heard = |output: &Output| {
                    let is_late = b"timeout";
                    !output.stderr.windows(is_late.len()).any(|words| words == is_late)
                };
                // A health check gives up after 1.5 s, which a busy machine may need now and then.
                let said = (0..10).map(|_| said()).find(is_heard).unwrap_or_else(said);
                assert_eq!(said.status.code(), Some(0), "{argument} to {what}: {said:?}");
            }
        }
    }

    /// If the log's file may not grow, lines are lost, and the service goes on.
    pub fn outlives_a_full_file(&self) {
        // Room for the first line. (A block has 512 bytes.)
        let mut log = nameless_file();
        log.write_all(&[b'\n'; 512 - 180]).expect("room");
        let mut command = after("ulimit -f 1", &self.command());
        let (mut process, address) = Process::serve_logged(&mut command, &log);
        let traffic = Traffic::start(address);
        process.signal(Signal::SIGTERM);
        eventually("it does not drain", || log.metadata().is_ok_and(|file| file.len() == 512));
        // It still answers, without a log.
        assert_eq!(get(address, "/health").0, 503);
        drop(traffic);
        assert_eq!(process.wait().0.code(), Some(0));
    }

    /// A start that a system limit prevents is exit 1, and one line that names the limit.
    pub fn says_what_it_needs(&self) {
        let refused = |limit: &str, remedy: &str| {
            let refused = run(&mut after(limit, &self.command()));
            let line = refused.stderr;
            assert_eq!(refused.code, Some(1), "{limit}: {line}");
            assert!(line.starts_with(&format!("{}: cannot start without ", self.name)), "{line}");
            assert!(line.contains(remedy) && line.lines().count() == 1, "{limit}: {line}");
        };
        for files in [6, 8, 10, 16, 24] {
            refused(&format!("ulimit -n {files}"), "raise ulimit -n");
        }
        if is_emulated() {
            return say("an emulator needs more memory than these limits allow: not tried");
        }
        for kib in [60_000, 150_000] {
            refused(&format!("ulimit -v {kib}"), "raise ulimit -v and ulimit -d");
            refused(&format!("ulimit -d {kib}"), "raise ulimit -v and ulimit -d");
        }
    }

    /// A setting that is wrong is exit 78 and one line: variable, value, remedy.
    pub fn refuses(&self, variable: &str, value: &str, line: &str) {
        let refused = run(self.command().env(variable, value));
        assert_eq!(refused.code, Some(78), "{variable}={value}");
        assert_eq!(refused.stderr, format!("{}: {line}\n", self.name));
        assert_eq!(refused.stdout, "");
    }

    /// `PORT`, which all services have.
    pub fn refuses_a_bad_port(&self) {
        let line = r#"PORT="http" is not a whole number from 0 to 65535"#;
        self.refuses("PORT", "http", line);
    }

    /// `VERSION` is one word.
    pub fn refuses_a_bad_version(&self) {
        let remedy = "is not a version: at most 32 printable characters, no blanks or parentheses";
        self.refuses("VERSION", "a b", &format!(r#"VERSION="a b" {remedy}"#));
    }

    /// `HOSTNAME` must fit into ` (host)`.
    pub fn refuses_a_bad_host(&self) {
        let remedy = "is not a host name: at most 255 bytes, no control characters or parentheses";
        for host in ["a (b)", "a\u{7}"] {
            self.refuses("HOSTNAME", host, &format!("HOSTNAME={host:?} {remedy}"));
        }
    }

    /// A port in use is exit 1, with the address and the remedy, also if another such service uses it.
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

    /// It listens on IPv6 too, where there is IPv6.
    pub fn speaks_ipv6(&self) {
        let localhost = IpAddr::V6(Ipv6Addr::LOCALHOST);
        if let Err(error) = TcpListener::bind((localhost, 0)) {
            return crate::wait::say(&format!("{} is not asked over IPv6: {error}", self.name));
        }
        let (_process, address) = Process::serve(&mut self.command());
        assert_eq!(get(SocketAddr::new(localhost, address.port()), "/health"), (200, "ok".into()));
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

    /// Where nobody listens, `healthcheck` must not connect to itself, as it could from 127.0.0.1 to
    /// 127.0.0.1: that would block the port for a minute.
    pub fn checks_nothing_where_it_might_meet_itself(&self) {
        if cfg!(not(target_os = "linux")) {
            return;
        }
        let there = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        there.set_nonblocking(true).unwrap();
        let port = there.local_addr().unwrap().port().to_string();
        let check = run(self.command().arg("healthcheck").env("PORT", &port));
        let refused = format!("127.0.0.1:{port}/health: io: Connection refused (os error 111)\n");
        assert_eq!(check.code, Some(1));
        assert!(check.stderr.ends_with(&refused), "{}", check.stderr);
        assert_eq!(there.accept().unwrap_err().kind(), ErrorKind::WouldBlock);
    }
}
