//! Every service: what ends it, how it drains, and what does not end it.

use std::net::TcpStream;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;

use super::Binary;
use crate::client::{Client, Traffic, get};
use crate::process::Process;
use crate::wait::PATIENCE;

impl Binary {
    /// On SIGTERM or SIGINT it keeps serving, announces the drain, and exits with 0 once it is quiet.
    pub fn drains(&self) {
        for signal in [Signal::SIGTERM, Signal::SIGINT] {
            let (mut process, address) = Process::serve(&mut self.command());
            let mut kept = Client::connect(address);
            kept.send("GET /health HTTP/1.1\r\nHost: x\r\n\r\n");
            assert!(kept.answer().ends_with("\r\n\r\nok"));

            // Before the drain begins, which this thread may see late.
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

    /// Constant health checks do not prolong the drain.
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
        // Before its time limit.
        let stop = process.line(|line| line.contains(r#""event":"stop""#));
        assert!(stop.contains(r#""quiet":"true""#), "{stop}");
    }

    /// A log that nobody reads delays neither an answer nor the end.
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
