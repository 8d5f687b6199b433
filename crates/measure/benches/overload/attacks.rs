//! What one client, or a blocked log, could do to all others.

use std::collections::VecDeque;
use std::fs;
use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::thread::{self, JoinHandle, sleep};
use std::time::{Duration, Instant};

use harness::{Client, Process, with_files};
use nix::sys::signal::Signal;

use crate::edge::{Latencies, REQUEST, greet, greeter};
use crate::seen::{open, open_files, raise_open_files, row};

const HEALTH: &str = "GET /health HTTP/1.1\r\nHost: x\r\n\r\n";

/// 9,000 clients that send only the start of a head, and reconnect after their 408: at every moment one
/// of them times out.
pub(crate) fn too_slow_one_by_one() {
    const CLIENTS: u32 = 9000;
    const SPREAD: Duration = Duration::from_secs(10); // as long as each of them has
    const TIME: Duration = Duration::from_secs(25);
    println!("\n{CLIENTS} clients that are too slow, one by one, 25 s");
    let files = raise_open_files();
    if files < 10_500 {
        return row("not measured: open files allowed", files);
    }
    let (process, address) = Process::serve(&mut greeter(&[("MAX_CONNECTIONS", "12000")]));
    greet(&mut open(address));
    let comes = || {
        let mut stream = open(address);
        stream.write_all(b"GET / HTTP/1.1\r\nHost:").expect("it is new");
        stream
    };

    let (before, start) = (process.cpu_of_threads(), Instant::now());
    let (mut clients, mut told, mut buffer) = (VecDeque::new(), 0, [0; 1024]);
    for number in 0.. {
        let at = SPREAD * number / CLIENTS;
        if at > TIME {
            break;
        }
        sleep(at.saturating_sub(start.elapsed()));
        if number >= CLIENTS
            && let Some(mut first) = clients.pop_front()
        {
            let count = TcpStream::read(&mut first, &mut buffer).expect("it is told in time");
            assert!(buffer[..count].starts_with(b"HTTP/1.1 408 "), "{:?}", &buffer[..count]);
            told += 1;
        }
        clients.push_back(comes());
    }
    let used = process
        .cpu_of_threads()
        .into_iter()
        .map(|(thread, cpu)| cpu.saturating_sub(before.get(&thread).copied().unwrap_or_default()));
    // A shipped binary's threads have no names. One of them is the worker; the others together
    // are that of the deadlines, for the rest have nothing to do.
    let (mut all, mut worker) = (Duration::ZERO, Duration::ZERO);
    for cpu in used {
        (all, worker) = (all + cpu, worker.max(cpu));
    }
    row("told 408", told);
    let others = all.saturating_sub(worker);
    row("CPU of the process", format!("{all:.2?}"));
    row("of that, of their deadlines", format!("{others:.1?}"));
    assert!(others < Duration::from_millis(500), "a deadline costs too much");
}

/// 64 open files, and four times as many clients that come, are silent, and go, for 30 s.
pub(crate) fn files_come_and_go() {
    println!("\nclients that come and go, 64 open files, 30 s");
    let (process, address) = Process::serve(&mut with_files(64, &greeter(&[])));
    greet(&mut open(address));
    let idle = open_files(&process);
    let attack = Attack::start(4, move |over, seed| {
        let (mut random, mut clients) = (fastrand::Rng::with_seed(seed), VecDeque::new());
        while !over.load(Relaxed) {
            clients.extend(Client::try_connect(address));
            if clients.len() > 60 {
                clients.drain(..random.usize(1..40));
            }
            sleep(Duration::from_micros(random.u64(..5000)));
        }
    });
    sleep(Duration::from_secs(30));
    attack.stop();
    let start = Instant::now();
    let left = || open_files(&process);
    while left() > idle + 4 && start.elapsed() < Duration::from_secs(15) {
        sleep(Duration::from_millis(10));
    }
    row("files open before, and when they have gone", format!("{idle} and {}", left()));
    assert!(left() <= idle + 4, "files are lost");
    greet(&mut open(address));
}

/// Clients whose windows close after more and more answers, and who then wait for `100 Continue`: for
/// one of them there is no room.
pub(crate) fn no_room_to_continue() {
    const CLIENTS: usize = 800;
    println!("\n{CLIENTS} clients without room for 100 Continue");
    raise_open_files();
    let (process, address) = Process::serve(&mut greeter(&[]));
    let before = open_files(&process);
    let clients: Vec<_> = (0..CLIENTS)
        .map(|more| {
            let mut client = Client::with_room(address, 1);
            let expects = "Content-Length: 5\r\nExpect: 100-continue";
            let post = format!("POST / HTTP/1.1\r\nHost: x\r\n{expects}\r\n\r\n");
            // Its end may come while it is sent.
            let _ = client.try_send(HEALTH.repeat(100 + more) + &post);
            client
        })
        .collect();
    sleep(Duration::from_secs(25));
    let held = open_files(&process).saturating_sub(before);
    row("held 25 s after their last byte", held);
    assert_eq!(held, 0);
    drop(clients);
}

/// One client that always has more requests, and reads all answers.
pub(crate) fn one_who_pipelines() {
    println!("\none client that pipelines without end");
    let (_process, address) = Process::serve(&mut greeter(&[]));
    let before = Latencies::of(address, Duration::from_secs(3));
    let pipelines = Arc::new(open(address));
    let (reads, writes) = (pipelines.clone(), pipelines.clone());
    let reader = thread::spawn(move || {
        let (mut buffer, mut all) = (vec![0; 64 * 1024], 0);
        while let Ok(count @ 1..) = (&*reads).read(&mut buffer) {
            all += count;
        }
        all
    });
    let attack = Attack::start(1, move |over, _| {
        let many = HEALTH.repeat(1000);
        while !over.load(Relaxed) && (&*writes).write_all(many.as_bytes()).is_ok() {}
    });
    sleep(Duration::from_millis(500));
    let during = Latencies::of(address, Duration::from_secs(5));
    let _ = pipelines.shutdown(Shutdown::Both);
    attack.stop();
    row("latency of others before", &before);
    row("latency of others during", &during);
    row("longest during", format!("{:.1?}", during.longest()));
    row("bytes it was answered", reader.join().expect("it reads"));
    assert!(during.longest() < Duration::from_secs(1), "one keeps the worker");
}

/// Clients that only connect, as fast as they can.
pub(crate) fn those_who_connect() {
    println!("\nclients that only connect, without end");
    let (_process, address) = Process::serve(&mut greeter(&[]));
    let before = Latencies::of(address, Duration::from_secs(3));
    let attack = Attack::start(2, move |over, _| {
        while !over.load(Relaxed) {
            if let Ok(stream) = TcpStream::connect(address) {
                harness::peer::reset(stream);
            }
        }
    });
    let during = Latencies::of(address, Duration::from_secs(5));
    attack.stop();
    row("latency of others before", &before);
    row("latency of others during", &during);
    row("longest during", format!("{:.1?}", during.longest()));
    assert!(during.longest() < Duration::from_secs(1), "they keep the worker");
}

/// Standard output is a pipe that is full; a refused and a failed request a second.
pub(crate) fn a_log_that_nobody_reads() {
    println!("\na log that nobody reads, 3 s");
    let nowhere = ("NAME_URL", "http://127.0.0.1:1");
    let (mut process, address, _log) =
        Process::serve_unread(greeter(&[]).env(nowhere.0, nowhere.1));
    let (mut served, start) = (0, Instant::now());
    while start.elapsed() < Duration::from_secs(3) {
        for (request, status) in [("no request\r\n", "400"), (REQUEST, "502"), (HEALTH, "200")] {
            assert_eq!(&Client::connect(address).send(request).answer()[9..12], status);
            served += 1;
        }
    }
    process.signal(Signal::SIGTERM);
    let (status, took) = process.wait();
    row("requests answered", served);
    row("its end after SIGTERM", format!("{status}, after {took:.1?}"));
    assert!(status.success());
}

/// 40 clients that ask for the page a thousand times, and read nothing.
pub(crate) fn answers_that_nobody_reads() {
    println!("\n40 clients that do not read, 1,000 requests each");
    let (process, address) = Process::serve(&mut greeter(&[]));
    let page = "GET / HTTP/1.1\r\nHost: x\r\nAccept: text/html\r\n\r\n".repeat(1000);
    greet(&mut open(address));
    let before = kernel_memory();
    let clients: Vec<_> = (0..40)
        .map(|_| {
            // So that unread bytes stay at greeter's end.
            let mut client = Client::with_room(address, 4096);
            client.send(&page);
            client
        })
        .collect();
    sleep(Duration::from_secs(5));
    let during = kernel_memory().saturating_sub(before);
    sleep(Duration::from_secs(20));
    let (after, left) = (kernel_memory().saturating_sub(before), connections(&process, address));
    let kib = |bytes: u64| format!("{} KiB", bytes / 1024);
    row("in the kernel after 5 s", kib(during));
    row("in the kernel after 25 s", kib(after));
    row("connections it has after 25 s", left);
    assert_eq!(left, 0);
    drop(clients);
}

/// What all TCP sockets of this machine hold, in bytes.
fn kernel_memory() -> u64 {
    let statistics = fs::read_to_string("/proc/net/sockstat").expect("Linux has it");
    let pages =
        statistics.lines().find_map(|line| line.strip_prefix("TCP: ")?.split(" mem ").nth(1));
    4096 * pages.expect("the kernel counts it").trim().parse::<u64>().expect("a number")
}

/// How many sockets the kernel has on this address, open or not.
fn connections(process: &Process, address: SocketAddr) -> usize {
    let port = format!(":{:04X}", address.port());
    let sockets = fs::read_to_string(format!("/proc/{}/net/tcp", process.pid())).expect("Linux");
    let local =
        |line: &&str| line.split_whitespace().nth(1).is_some_and(|end| end.ends_with(&port));
    // Its listener is one.
    sockets.lines().filter(local).count() - 1
}

/// Threads that go on until they are told.
struct Attack {
    over: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
}

impl Attack {
    /// Each is given its number from 0.
    fn start(count: u64, attack: impl FnOnce(&AtomicBool, u64) + Clone + Send + 'static) -> Self {
        let over = Arc::new(AtomicBool::new(false));
        let one = |number| {
            let (attack, over) = (attack.clone(), over.clone());
            thread::spawn(move || attack(&over, number))
        };
        let threads = (0..count).map(one).collect();
        Self { over, threads }
    }

    fn stop(self) {
        self.over.store(true, Relaxed);
        for thread in self.threads {
            thread.join().expect("it only attacks");
        }
    }
}
