//! More clients than greeter was designed for, and more requests.

use std::io::{Read, Write};
use std::thread::{self, sleep};
use std::time::{Duration, Instant};

use harness::{Process, eventually};

use crate::edge::{Latencies, REQUEST, greet, greeter, load};
use crate::seen::{kib, memory, open, open_files, raise_open_files, row};

/// 1,000 heads, of which a byte comes every two seconds, beside good requests.
pub(crate) fn slow_heads() {
    println!("\n1,000 clients send a byte of their head every 2 s");
    raise_open_files();
    let (_process, address) = Process::serve(&mut greeter(&[]));
    let before = Latencies::of(address, Duration::from_secs(5));

    let start = Instant::now();
    let mut slow: Vec<_> = (0..1000).map(|_| open(address)).collect();
    let attack = thread::spawn(move || {
        for (byte, second) in REQUEST.bytes().zip([0, 2, 4, 6, 8]) {
            sleep(Duration::from_secs(second).saturating_sub(start.elapsed()));
            for stream in &mut slow {
                stream.write_all(&[byte]).expect("still open");
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
pub(crate) fn idle_connections() {
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

/// A million greetings, or as many as a minute allows.
pub(crate) fn many_greetings() {
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
