//! Too much of everything: connections, files, noise.

use std::collections::VecDeque;
use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::thread;
use std::time::{Duration, Instant};

use harness::{Client, Process, eventually, get, run, with_files};

use crate::common::{GET, GREETING, answer, ask, command, greet, greeter, negotiated};

const HEALTH: &str = "GET /health HTTP/1.1\r\nHost: x\r\n\r\n";

#[test]
fn connections_over_the_limit_are_turned_away_until_one_ends() {
    let (_process, address) = Process::serve(command().env("MAX_CONNECTIONS", "2"));
    let mut open = [Client::connect(address), Client::connect(address)];
    for client in &mut open {
        assert_eq!(client.send(HEALTH).answer(), answer("200 OK", "", "ok"));
    }
    let mut third = Client::connect(address);
    let busy = "Retry-After: 1\r\nConnection: close\r\n";
    let expected = answer("503 Service Unavailable", busy, "too many connections");
    assert_eq!(third.answer(), expected);
    third.expect_end();
    // Nor has a HEAD a body here, although nothing else of the request is looked at.
    let (head, _) = expected.split_once("\r\n\r\n").unwrap();
    let mut asks = Client::connect(address);
    asks.send("HEAD / HTTP/1.1\r\nHost: x\r\n\r\n");
    assert_eq!(asks.head(), format!("{head}\r\n\r\n"));
    asks.expect_end();

    let [first, _second] = open;
    drop(first);
    // The server sees its end a moment later.
    eventually("its place is never free again", || get(address, "/health").0 == 200);
}

/// Those who are turned away take no place of those who are not, and are seen off in time.
#[test]
fn a_crowd_that_is_turned_away_takes_nobodys_place() {
    let (_process, address) = Process::serve(command().env("MAX_CONNECTIONS", "2"));
    let open = [Client::connect(address), Client::connect(address)].map(|mut client| {
        assert_eq!(client.send(HEALTH).answer(), answer("200 OK", "", "ok"));
        client
    });
    // At any time some fifty are told, and stay.
    let (over, is_there) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicBool::new(false)));
    let crowd = {
        let (over, is_there) = (over.clone(), is_there.clone());
        thread::spawn(move || {
            let mut told = VecDeque::new();
            while !over.load(Relaxed) {
                let mut client = Client::connect(address);
                if client.send(HEALTH).head().starts_with("HTTP/1.1 503 ") {
                    told.push_back(client);
                }
                if told.len() > 50 {
                    is_there.store(true, Relaxed);
                    told.pop_front();
                    thread::sleep(Duration::from_millis(5));
                }
            }
        })
    };
    eventually("nobody is turned away", || is_there.load(Relaxed));
    let [mut first, second] = open;
    assert_eq!(first.send(HEALTH).answer(), answer("200 OK", "", "ok"));
    drop(second);
    eventually("the crowd keeps its place", || get(address, "/health").0 == 200);
    over.store(true, Relaxed);
    crowd.join().unwrap();
}

/// ECS ends a task whose own health check fails; one that is full is well.
#[test]
fn a_full_greeter_is_healthy() {
    let (_process, address) = Process::serve(command().env("MAX_CONNECTIONS", "1"));
    let _crowd: Vec<_> = (0..200).map(|_| Client::connect(address)).collect();
    let mut check = command();
    let checked = run(check.arg("healthcheck").env("PORT", address.port().to_string()));
    assert_eq!((checked.code, &*checked.stderr), (Some(0), ""));
}

/// One who pipelines without end, and reads all of it, is answered; and so are the others.
#[test]
fn one_client_does_not_keep_the_worker() {
    const REQUESTS: &str = "OPTIONS / HTTP/1.1\r\nHost: x\r\n\r\n";
    let (_process, address) = greeter();
    let (over, read) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
    let mut pipelines = Client::with_room(address, 64 * 1024).share();
    let mut reads = pipelines.try_clone().unwrap();
    let clients = [
        thread::spawn({
            let over = over.clone();
            move || {
                let many = REQUESTS.repeat(1000);
                while !over.load(Relaxed) && pipelines.write_all(many.as_bytes()).is_ok() {}
                let _ = pipelines.shutdown(Shutdown::Both);
            }
        }),
        thread::spawn({
            let read = read.clone();
            move || {
                let mut buffer = vec![0; 64 * 1024];
                while let Ok(count @ 1..) = reads.read(&mut buffer) {
                    read.fetch_add(count as u64, Relaxed);
                }
            }
        }),
    ];
    let read = || read.load(Relaxed);
    eventually("it is not answered", || read() > 1_000_000);
    // An answer takes some 180 bytes. What waits between the two has room for 200 kB; and 16
    // answers are written between one turn and the next.
    let mut most = 0;
    let mut client = Client::connect(address);
    for _ in 0..20 {
        let before = read();
        assert_eq!(client.send(HEALTH).answer(), answer("200 OK", "", "ok"));
        most = most.max(read() - before);
        let _ = greet(address);
    }
    over.store(true, Relaxed);
    for client in clients {
        client.join().unwrap();
    }
    assert!(most < 1_000_000, "{most} bytes for one before another's turn");
}

/// How many clients the tests of memory have: enough for what each takes to stand out.
const CROWD: usize = 200;

/// The largest heads that are served, and answers that nobody reads: neither is held in memory
/// while a client has no room. It would be 64 KiB and 36 KiB of each.
#[test]
fn who_does_not_read_costs_little_memory() {
    let (process, address) = greeter();
    greet(address);
    let before = process.memory();
    let page = |field: &str| {
        format!("GET / HTTP/1.1\r\nHost: x\r\nAccept: text/html\r\nA: {field}\r\n\r\n")
    };
    let requests = page(&"a".repeat(60_000)) + &page("").repeat(20);
    let clients: Vec<_> = (0..CROWD)
        .map(|_| {
            let mut client = Client::with_room(address, 1);
            client.send(&requests);
            client
        })
        .collect();
    eventually("it does not answer", || clients.iter().all(Client::has_input));
    let each = process.memory().saturating_sub(before) / CROWD as u64;
    assert!(each < 48, "{each} KiB for each who does not read");
}

/// Heads that are nearly as large as they may be, and that never end; then their senders go.
#[test]
fn memory_goes_back_when_clients_have_gone() {
    let (process, address) = greeter();
    greet(address);
    let before = process.memory();
    let head = format!("GET / HTTP/1.1\r\nHost: x\r\nA: {}", "a".repeat(60_000));
    let clients: Vec<_> = (0..CROWD)
        .map(|_| {
            let mut client = Client::connect(address);
            client.send(&head);
            client
        })
        .collect();
    let taken = || process.memory().saturating_sub(before);
    eventually("it does not read them", || taken() > 50 * CROWD as u64);
    let most = taken();
    drop(clients);
    eventually("the memory is kept", || taken() < most / 10);
}

/// Clients that come, are silent, and go, where there are too few files for them: each time a
/// file is closed and another opened, on another thread once, a connection could be lost to
/// epoll, and its file for good.
#[test]
fn files_are_not_lost_when_there_are_too_few() {
    let (process, address) = Process::serve(&mut with_files(64, &command()));
    let over = Arc::new(AtomicBool::new(false));
    let crowd: Vec<_> = (0..4)
        .map(|seed| {
            let over = over.clone();
            thread::spawn(move || {
                let mut random = fastrand::Rng::with_seed(seed);
                let mut open = VecDeque::new();
                while !over.load(Relaxed) {
                    open.extend(Client::try_connect(address));
                    if open.len() > 30 {
                        open.drain(..random.usize(1..20));
                    }
                    thread::sleep(Duration::from_micros(random.u64(..5000)));
                }
            })
        })
        .collect();
    thread::sleep(Duration::from_secs(5));
    over.store(true, Relaxed);
    for client in crowd {
        client.join().unwrap();
    }
    let _ = process.line(|line| line.contains("accept failed"));
    let open = || fs::read_dir(format!("/proc/{}/fd", process.pid())).unwrap().count();
    eventually("files are lost", || open() < 16);
    assert_eq!(get(address, "/"), (200, GREETING.clone()));
}

#[test]
fn without_files_it_neither_spins_nor_ends() {
    let (process, address) = Process::serve(&mut with_files(64, &command()));

    let mut first = Client::connect(address);
    assert_eq!(ask(&mut first, GET), negotiated("200 OK", "", &GREETING));
    let others: Vec<_> = (0..100).map(|_| Client::connect(address)).collect();
    let _ = process.line(|line| line.contains("accept failed"));

    let (before, start) = (process.cpu_time(), Instant::now());
    thread::sleep(Duration::from_secs(1));
    let spent = process.cpu_time().saturating_sub(before);
    let took = start.elapsed();
    assert!(spent <= took / 5, "{spent:?} in {took:?} while there is nothing to do");
    // Those who are in are served, on the connections there are.
    assert_eq!(ask(&mut first, GET), negotiated("200 OK", "", &GREETING));

    drop(others);
    let greeted = || {
        Client::try_connect(address).is_some_and(|mut client| {
            client.try_send(GET).is_ok() && client.answer().ends_with(GREETING.as_str())
        })
    };
    eventually("no greeting once there are files again", greeted);
}

#[test]
fn noise_cannot_flood_the_log_nor_write_lines_of_its_own() {
    let (process, address) = greeter();
    let start = Instant::now();
    for _ in 0..500 {
        let mut client = Client::connect(address);
        client.send("GET /\"}\u{1b}[31m{\"event\":\"fake\" HTTP/1.1\r\nHost: a\"}\r\n\r\n");
        assert!(client.answer().starts_with("HTTP/1.1 400 "));
    }
    // One more second, and one more refusal, which counts those before it.
    thread::sleep(Duration::from_millis(1100));
    let _ = Client::connect(address).send("noise\r\n").answer();
    let counted = process.line(|line| line.contains("left_out"));
    let lines = process.lines();
    let written = 2 + lines.iter().filter(|line| line.contains("refused")).count();
    let seconds = usize::try_from(start.elapsed().as_secs()).unwrap();
    assert!(written <= seconds + 3, "{written} lines in {seconds} s");
    for line in lines.iter().chain([&counted]) {
        let value: serde_json::Value = serde_json::from_str(line).expect("a line of JSON");
        assert_eq!(value["event"], "refused", "{line}");
    }
}

/// Whoever keeps the log from being written keeps nobody from being served.
#[test]
fn a_log_that_nobody_reads_is_not_waited_for() {
    let (_process, address, mut log) = Process::serve_unread(&mut command());
    let refuse = || {
        let answer = Client::connect(address).send("noise\r\n").answer();
        assert!(answer.starts_with("HTTP/1.1 400 "), "{answer}");
    };
    refuse();
    assert_eq!(greet(address), negotiated("200 OK", "", &GREETING));

    // Read again, the log says what it is short of. One line a second comes of refusals.
    let (sender, lines) = std::sync::mpsc::channel();
    thread::spawn(move || {
        let mut line = String::new();
        while log.read_line(&mut line).is_ok_and(|length| length > 0) {
            let _ = sender.send(std::mem::take(&mut line));
        }
    });
    eventually("the log does not go on", || {
        refuse();
        lines.try_iter().any(|line| line.contains(r#""dropped":""#))
    });
}

#[test]
fn random_bytes_do_no_harm() {
    let (_process, address) = greeter();
    let mut random = fastrand::Rng::with_seed(7);
    for _ in 0..300 {
        let noise: Vec<u8> = (0..random.usize(1..2000)).map(|_| random.u8(..)).collect();
        let mut client = Client::connect(address);
        let _ = client.try_send(&noise);
    }
    assert_eq!(greet(address), negotiated("200 OK", "", &GREETING));
}

/// The stack of one connection more is what the system refuses here, and the runtime panics.
#[test]
#[cfg(target_os = "linux")]
fn what_ends_it_says_where_it_was() {
    if harness::is_emulated() {
        return harness::say("the limit would be the emulator's: not tried");
    }
    let (said, writer) = std::io::pipe().unwrap();
    let mut command = command();
    let (process, address) = Process::serve(command.stderr(writer));
    drop(command);
    let pid = process.pid().to_string();
    assert!(run(Command::new("prlimit").args(["--as=1", "--pid", &pid])).code == Some(0));
    let mut said = BufReader::new(said).lines().map_while(Result::ok);
    let clients: Vec<_> = (0..16).map(|_| TcpStream::connect(address)).collect();
    let line = said.find(|line| line.contains(" panicked at ")).expect("a word");
    let (_, place) = line.split_once(".rs:").expect("a file");
    let numbers: Vec<_> = place.trim_end_matches(':').split(':').map(str::parse::<u32>).collect();
    assert!(matches!(numbers[..], [Ok(1..), Ok(1..)]), "{line}"); // a line, and a column
    drop(clients);
}
