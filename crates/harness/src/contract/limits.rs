//! A leaf: its limits, and that no client harms the others.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};
use std::thread::{self, sleep};
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;

use super::Binary;
use crate::client::{Client, get};
use crate::process::{Process, is_emulated, run, with_files};
use crate::wait::{PATIENCE, eventually, say};

impl Binary {
    /// The answers to pipelined requests are bounded in bytes, because they take memory: 256 short ones
    /// always fit. Each comes once and in order, and the last has `Connection: close`.
    pub fn bounds_a_row(&self) {
        let (_process, address) = Process::serve(&mut self.command());
        let counts = if is_emulated() {
            say("an emulator does not tell what a client has read: no long row is tried");
            &[256][..]
        } else {
            &[256, 5000]
        };
        for &count in counts {
            let mut client = Client::connect(address);
            let mut sender = client.share();
            let row = "GET /health HTTP/1.1\r\nHost: x\r\n\r\n".repeat(count - 1);
            let last = "GET /health HTTP/1.0\r\n\r\n";
            thread::scope(|scope| {
                // The connection may be closed before all are sent.
                scope.spawn(move || sender.write_all((row + last).as_bytes()));
                let is_last = |_: &usize| {
                    let answer = client.answer();
                    assert!(answer.ends_with("\r\n\r\nok"), "{answer}");
                    answer.contains("\r\nConnection: close\r\n")
                };
                let number = (1..=count).find(is_last).expect("one that is the last");
                assert!(number >= 256, "the answer {number} of {count} is the last");
                client.expect_nothing_but_empty_answers();
            });
        }
    }

    /// Bad heads do not fill standard error, and it may be closed.
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

    /// With more connections than files, some are served and the others closed; it does not spin, and it
    /// recovers.
    pub fn has_files_left(&self) {
        let (process, address) = Process::serve(&mut with_files(64, &self.command()));
        let mut clients: Vec<_> = (0..100).map(|_| Client::connect(address)).collect();
        let served = |client: &mut Client| {
            let _ = client.try_send("GET /health HTTP/1.1\r\nHost: x\r\n\r\n");
            client.read_some() > 0
        };
        let count = clients.iter_mut().filter_map(|client| served(client).then_some(())).count();
        assert!((10..64).contains(&count), "{count} of 100 connections were served");
        // A full leaf is healthy.
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

    /// A client that does not read is dropped before its answers fill the memory.
    pub fn drops_who_does_not_read(&self) {
        if is_emulated() {
            return say("an emulator does not tell what a client has read: not tried");
        }
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
    /// A leaf checks its memory each 50 ms of its own CPU time, later on a busy machine. This client sends
    /// at most 10 MiB a second, so that a check that is seconds late still finds it in time.
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
        let peak = process.peak_memory();
        assert!(peak < 128 * 1024, "{peak} KiB of memory");
        assert_eq!(get(address, "/health"), (200, "ok".into()));
    }

    /// Most of the memory of closed connections goes back to the system.
    pub fn gives_memory_back(&self) {
        let (process, address) = Process::serve(&mut self.command());
        assert_eq!(get(address, "/health"), (200, "ok".into()));
        let before = process.memory();
        // Enough to touch all of the library's 32 KiB buffers.
        let request = format!("GET /health HTTP/1.1\r\nX: {}\r\n\r\n", "x".repeat(1000));
        let clients: Vec<_> = (0..64)
            .map(|_| {
                let mut client = Client::connect(address);
                for _ in 0..40 {
                    assert!(client.send(&request).answer().ends_with("ok"));
                }
                client
            })
            .collect();
        let taken = process.memory() - before;
        assert!(taken > 2048, "they took {taken} KiB");
        drop(clients);
        eventually("the memory is kept", || process.memory() < before + taken / 4);
    }

    /// A connection without a request, and a request without its body, time out.
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

    /// Clients that send requests without end do not starve others.
    pub fn is_fair(&self) {
        if is_emulated() {
            // The library reads until EAGAIN, and so for ever from a client that is faster.
            return say(
                "under an emulator a leaf is slower than its clients: fairness is not tried",
            );
        }
        let (_process, address) = Process::serve(&mut self.command());
        let (answered, done) = (AtomicUsize::new(0), AtomicBool::new(false));
        thread::scope(|scope| {
            for _ in 0..4 {
                let stream = TcpStream::connect(address).expect("connects");
                let mut reader = stream.try_clone().expect("a second handle");
                let (answered, done) = (&answered, &done);
                scope.spawn(move || {
                    // Large, so that few fill the library's buffer.
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
}
