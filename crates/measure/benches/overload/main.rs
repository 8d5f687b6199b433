//! greeter, and a leaf, under more than they were made for: `just overload`, which sets
//! `SERVICES` to the folder of the shipped binaries.
//!
//! Prints what it measures, and fails where a promise is broken. It takes five minutes, and
//! 10,500 open files (`ulimit -Hn`) for itself and for greeter each.

mod attacks;
mod leaf;

use std::fmt::{self, Display};
use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::Command;
use std::sync::LazyLock;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::thread::{self, sleep};
use std::time::{Duration, Instant};

use application::{EDGE, LEAVES, Service};
use harness::peer::ok;
use harness::{PATIENCE, Peer, Process, eventually, service, with_files};
use nix::sys::resource::{Resource, getrlimit, setrlimit};

const REQUEST: &[u8] = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n";

/// What greeter says, behind who it is: the leaves' lines.
static LINES: LazyLock<String> =
    LazyLock::new(|| LEAVES.iter().map(said).collect::<Vec<_>>().join(" "));

/// What is measured, by the names that choose some of them.
const ALL: [(&str, fn()); 14] = [
    ("slow-heads", slow_heads),
    ("slow-many", attacks::too_slow_one_by_one),
    ("idle", idle_connections),
    ("no-files", no_files_left),
    ("files-come-and-go", attacks::files_come_and_go),
    ("no-room-to-continue", attacks::no_room_to_continue),
    ("pipelines", attacks::one_who_pipelines),
    ("connects", attacks::those_who_connect),
    ("unread-log", attacks::a_log_that_nobody_reads),
    ("unread-answers", attacks::answers_that_nobody_reads),
    ("many", many_greetings),
    ("leaf-bad-heads", leaf::bad_heads),
    ("leaf-no-files", leaf::no_files_left),
    ("leaf-unread", leaf::without_measure),
];

fn main() {
    let Some((_, chosen)) = measure::asked() else { return };
    for (name, measure) in ALL {
        if chosen.is_empty() || chosen.iter().any(|chosen| chosen == name) {
            measure();
        }
    }
}

/// 1,000 heads, of which a byte comes every two seconds, beside good requests.
fn slow_heads() {
    println!("\n1,000 clients send a byte of their head every 2 s");
    raise_open_files();
    let (_process, address) = Process::serve(&mut greeter(&[]));
    let before = Latencies::of(address, Duration::from_secs(5));

    let start = Instant::now();
    let mut slow: Vec<_> = (0..1000).map(|_| open(address)).collect();
    let attack = thread::spawn(move || {
        for (byte, second) in REQUEST.iter().zip([0, 2, 4, 6, 8]) {
            sleep(Duration::from_secs(second).saturating_sub(start.elapsed()));
            for stream in &mut slow {
                stream.write_all(&[*byte]).expect("still open");
            }
        }
        let ends = slow.into_iter().map(|mut stream| {
            let mut answer = String::new();
            let _ = stream.read_to_string(&mut answer);
            assert!(answer.starts_with("HTTP/1.1 408 "), "{answer:?}");
            start.elapsed()
        });
        ends.collect::<Vec<_>>()
    });
    let during = Latencies::of(address, Duration::from_secs(9));
    let ends = attack.join().expect("each was told 408");
    let (first, last) = (ends[0], ends[ends.len() - 1]);

    let ratio = |percent| during.at(percent).div_duration_f64(before.at(percent));
    row("latency of good requests before", &before);
    row("latency of good requests during", &during);
    row("ratio, p50 and p99", format!("{:.2} and {:.2}", ratio(50), ratio(99)));
    row("slow clients told 408", ends.len());
    row("first and last of them", format!("after {first:.1?} and {last:.1?}"));
    assert!(first > Duration::from_millis(9500) && last < Duration::from_secs(12));
    assert!(ratio(50) < 2.0, "slow clients slow down the others");
    assert!(during.at(99) < before.at(99) * 2 + Duration::from_millis(2), "some of them a lot");
}

/// 10,000 connections that say nothing, or ask once, and stay.
fn idle_connections() {
    println!("\n10,000 idle connections");
    let files = raise_open_files();
    if files < 10_500 {
        return row("not measured: open files allowed", files);
    }
    let settings = [("MAX_CONNECTIONS", "12000")];
    let (process, address) = Process::serve(&mut greeter(&settings));
    greet(&mut open(address));
    let before = memory(&process);

    let mut clients: Vec<_> = (0..10_000).map(|_| open(address)).collect();
    eventually("not all connections are accepted", || open_files(&process) > 10_000);
    let silent = memory(&process);
    let beside_silent = Latencies::of(address, Duration::from_secs(2));

    clients.iter_mut().for_each(greet);
    let greeted = memory(&process);
    let beside_greeted = Latencies::of(address, Duration::from_secs(2));

    drop(clients);
    eventually("connections stay open without their clients", || open_files(&process) < 100);
    greet(&mut open(address));
    let after = memory(&process);

    row("memory before", kib(before));
    row("memory, all silent", kib(silent));
    row("memory, all greeted once", kib(greeted));
    row("memory when they have gone", kib(after));
    row("latency beside them, silent", &beside_silent);
    row("latency beside them, greeted", &beside_greeted);
    assert!(greeted < 256 * 1024, "not well within 512 MiB");
    assert!(after < greeted / 2, "it keeps what they took");
}

/// 100 connections to a process that may open 64 files.
fn no_files_left() {
    println!("\n100 connections, 64 open files");
    let (process, address) = Process::serve(&mut with_files(64, &greeter(&[])));
    greet(&mut open(address));
    let clients: Vec<_> = (0..100).map(|_| open(address)).collect();
    // It may have inherited some with higher numbers.
    eventually("there are files left", || open_files(&process) >= 64);

    let (cpu, start) = (process.cpu_time(), Instant::now());
    sleep(Duration::from_secs(2));
    let used = process.cpu_time().saturating_sub(cpu);
    let share = used.div_duration_f64(start.elapsed()) * 100.0;
    assert!(open_files(&process) >= 64, "there are files again");

    drop(clients);
    let start = Instant::now();
    greet(&mut open(address));
    let served = start.elapsed();

    row("CPU used in 2 s without files", format!("{used:?}, {share:.1}% of a core"));
    row("first greeting when they have gone", format!("after {served:.1?}"));
    assert!(share < 10.0, "it spins");
}

/// A million greetings, or as many as a minute allows.
fn many_greetings() {
    println!("\nmany greetings, on 32 connections");
    let (process, address) = Process::serve(&mut greeter(&[]));
    let minute = Duration::from_mins(1);
    let few = load(address, 10_000, minute);
    let early = memory(&process);
    let start = Instant::now();
    let many = load(address, 990_000, minute);
    let took = start.elapsed();
    let late = memory(&process);

    row("greetings", few + many);
    row("greetings a second", format!("{:.0}", f64::from(many) / took.as_secs_f64()));
    row("memory after the first 10,000", kib(early));
    row("memory after all", kib(late));
    assert!(late < early + early / 10, "it grows");
}

/// What a leaf says.
fn said(leaf: &Service) -> String {
    format!("a {0} ({0}-1)", leaf.name)
}

/// The command that starts greeter in front of services as they should be.
fn greeter(settings: &[(&str, &str)]) -> Command {
    let mut command = service(EDGE.name);
    command.env("HOSTNAME", "greeter-1").envs(settings.iter().copied());
    for leaf in LEAVES {
        // Not Peer::saying(): it reads byte by byte, which is slower than greeter.
        let service = Peer::start(move |_, mut stream| {
            let (answer, mut request) = (ok(&said(leaf)), [0; 1024]);
            while stream.read(&mut request).is_ok_and(|count| count > 0)
                && stream.write_all(&answer).is_ok()
            {}
        });
        command.env(leaf.variable, service.url());
    }
    command
}

fn open(address: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(address).expect("connects");
    stream.set_read_timeout(Some(PATIENCE)).expect("a time-out above zero");
    stream.set_nodelay(true).expect("a TCP socket");
    stream
}

/// Asks once. The answer must be a greeting.
fn greet(stream: &mut TcpStream) {
    stream.write_all(REQUEST).expect("still open");
    let (mut answer, mut length) = ([0; 1024], 0);
    while !answer[..length].ends_with(LINES.as_bytes()) {
        let count = stream.read(&mut answer[length..]).expect("an answer in time");
        length += count;
        assert!(count > 0, "not a greeting: {}", String::from_utf8_lossy(&answer[..length]));
    }
    assert!(answer.starts_with(b"HTTP/1.1 200 OK\r\n"));
}

/// Asks on 32 connections until `count` greetings have come or `time` is over: how many.
fn load(address: SocketAddr, count: u32, time: Duration) -> u32 {
    let (end, begun) = (Instant::now() + time, AtomicU32::new(0));
    let ask = || {
        let (mut stream, mut greetings) = (open(address), 0);
        while begun.fetch_add(1, Relaxed) < count && Instant::now() < end {
            greet(&mut stream);
            greetings += 1;
        }
        greetings
    };
    thread::scope(|scope| {
        let clients: Vec<_> = (0..32).map(|_| scope.spawn(ask)).collect();
        clients.into_iter().map(|client| client.join().expect("greetings alone")).sum()
    })
}

/// How long greetings took, the shortest first.
struct Latencies(Vec<Duration>);

impl Latencies {
    /// Asks on one connection, again and again, until `time` is over.
    fn of(address: SocketAddr, time: Duration) -> Self {
        let (end, mut stream) = (Instant::now() + time, open(address));
        let mut all = Vec::new();
        while Instant::now() < end {
            let start = Instant::now();
            greet(&mut stream);
            all.push(start.elapsed());
        }
        all.sort_unstable();
        Self(all)
    }

    fn longest(&self) -> Duration {
        self.at(100)
    }

    /// What this part of the greetings stayed within.
    fn at(&self, percent: usize) -> Duration {
        self.0[(self.0.len() * percent / 100).min(self.0.len() - 1)]
    }
}

impl Display for Latencies {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let us = |percent| self.at(percent).as_micros();
        write!(f, "p50 {} us, p99 {} us, of {}", us(50), us(99), self.0.len())
    }
}

/// Allows this process, and those it starts, as many open files as the hard limit does.
fn raise_open_files() -> u64 {
    let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE).expect("a limit");
    setrlimit(Resource::RLIMIT_NOFILE, hard, hard).expect("up to the hard limit");
    hard
}

/// Memory that is resident, in KiB.
fn memory(process: &Process) -> u64 {
    sleep(Duration::from_millis(200)); // for what still ends
    process.memory()
}

fn open_files(process: &Process) -> usize {
    fs::read_dir(format!("/proc/{}/fd", process.pid())).expect("it lives").count()
}

fn kib(size: u64) -> String {
    format!("{size} KiB")
}

fn row(what: &str, value: impl Display) {
    println!("  {what:36}{value}");
}
