//! What one client could do to a leaf.

use std::io::Write;
use std::net::{SocketAddr, TcpStream};
use std::process::Command;
use std::thread::{self, sleep};
use std::time::{Duration, Instant};

use harness::{Process, get, service};

use crate::seen::{kib, memory, open, raise_open_files, row};

/// What a leaf takes at most, in KiB (SECURITY.md).
const MEMORY: u64 = 128 * 1024;

/// Up to 37 MiB of requests each on 8 connections whose answers nobody reads, and a head of
/// up to 1 GiB.
pub(crate) fn without_measure() {
    println!("\na leaf, and clients without measure");
    let (process, address) = Process::serve(&mut name());
    let requests = "GET / HTTP/1.1\r\nHost: x\r\n\r\n".repeat(100);
    let clients: Vec<_> = (0..8)
        .map(|_| {
            let requests = requests.clone();
            thread::spawn(move || send(address, "", &requests, 37))
        })
        .collect();
    let clients: Vec<_> =
        clients.into_iter().map(|client| client.join().expect("it only sends")).collect();
    let sent: usize = clients.iter().map(|(sent, _)| sent).sum();
    row("requests taken, answers unread", format!("{} MiB", sent >> 20));
    row("memory then", kib(memory(&process)));
    assert!(memory(&process) < 64 * 1024, "it keeps answers");

    drop(clients);
    let (sent, stream) = send(address, "GET / HTTP/1.1\r\nX: ", &"x".repeat(100 * 1024), 1024);
    row("of a head of 1 GiB taken", format!("{} MiB", sent >> 20));
    row("memory, at most", kib(process.peak_memory()));
    assert!(sent < 512 << 20, "it takes a head of any length");
    assert!(process.peak_memory() < MEMORY, "it keeps the head");
    drop(stream);
    assert_eq!(get(address, "/health").0, 200);
}

/// As many connections as a leaf takes, each with a head that has no end, or that stops where the
/// library has just doubled its buffer.
pub(crate) fn worst_heads() {
    println!("\na leaf, and heads without an end on 1,024 connections");
    raise_open_files();
    for (what, most) in [("without an end", usize::MAX), ("of 66,000 bytes", 66_000)] {
        let (process, address) = Process::serve(&mut name());
        let mut clients: Vec<_> = (0..1024).map(|_| (open(address), most)).collect();
        for (stream, _) in &mut clients {
            stream.write_all(b"GET / HTTP/1.1\r\nX: ").expect("it is new");
            stream.set_nonblocking(true).expect("a socket");
        }
        let (piece, start) = ([b'x'; 8192], Instant::now());
        while start.elapsed() < Duration::from_secs(3) {
            for (stream, left) in &mut clients {
                // It may be full, or closed.
                *left -= stream.write(&piece[..piece.len().min(*left)]).unwrap_or(0);
            }
            sleep(Duration::from_millis(1));
        }
        drop(clients);
        assert_eq!(get(address, "/health").0, 200);
        let peak = process.peak_memory();
        row(&format!("{what}: memory, at most"), kib(peak));
        assert!(peak < MEMORY, "it keeps the heads");
    }
}

/// Sends `piece` again and again behind `start`, up to so many MiB: how many bytes went, and
/// the connection.
fn send(address: SocketAddr, start: &str, piece: &str, most: usize) -> (usize, TcpStream) {
    let mut stream = open(address);
    let _ = stream.write_all(start.as_bytes());
    let pieces = (most << 20) / piece.len();
    let sent = (0..pieces).take_while(|_| stream.write_all(piece.as_bytes()).is_ok()).count();
    (sent * piece.len(), stream)
}

/// The command that starts `name`; `greeting` is the same but for its words.
fn name() -> Command {
    let mut command = service("name");
    command.env("HOSTNAME", "name-1");
    command
}
