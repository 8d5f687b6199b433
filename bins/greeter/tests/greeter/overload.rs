//! Too much of everything: connections, files, noise.

use std::io::BufRead;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use harness::{Client, Process, eventually, get};

use crate::common::{GET, GREETING, answer, ask, command, greet, greeter, negotiated, peers};

const HEALTH: &str = "GET /health HTTP/1.1\r\nHost: x\r\n\r\n";

#[test]
fn connections_over_the_limit_are_turned_away_until_one_ends() {
    let (greeting, name) = peers();
    let mut command = command(&greeting.url(), &name.url());
    let (_process, address) = Process::serve(command.env("MAX_CONNECTIONS", "2"));
    let mut open = [Client::connect(address), Client::connect(address)];
    for client in &mut open {
        assert_eq!(client.send(HEALTH).answer(), answer("200 OK", "", "ok"));
    }
    let mut third = Client::connect(address);
    let busy = "Retry-After: 1\r\nConnection: close\r\n";
    let expected = answer("503 Service Unavailable", busy, "too many connections");
    assert_eq!(third.answer(), expected);
    assert!(third.is_closed());

    let [first, _second] = open;
    drop(first);
    // The server sees its end a moment later.
    eventually("its place is never free again", || get(address, "/health").0 == 200);
}

#[test]
fn without_files_it_neither_spins_nor_ends() {
    let (greeting, name) = peers();
    let plain = command(&greeting.url(), &name.url());
    let mut limited = Command::new("sh");
    limited.args(["-c", "ulimit -n 64; exec \"$@\"", "sh"]);
    limited.arg(plain.get_program()).args(plain.get_args());
    limited.env_clear().envs(plain.get_envs().filter_map(|(key, value)| Some((key, value?))));
    let (process, address) = Process::serve(&mut limited);

    let mut first = Client::connect(address);
    assert_eq!(ask(&mut first, GET), negotiated("200 OK", "", GREETING));
    let others: Vec<_> = (0..100).map(|_| Client::connect(address)).collect();
    let _ = process.line(|line| line.contains("accept failed"));

    let (before, start) = (process.cpu_time(), Instant::now());
    thread::sleep(Duration::from_secs(1));
    let spent = process.cpu_time().saturating_sub(before);
    let took = start.elapsed();
    assert!(spent <= took / 5, "{spent:?} in {took:?} while there is nothing to do");
    // Those who are in are served, on the connections there are.
    assert_eq!(ask(&mut first, GET), negotiated("200 OK", "", GREETING));

    drop(others);
    let greeted = || {
        Client::try_connect(address).is_some_and(|mut client| {
            client.try_send(GET).is_ok() && client.answer().ends_with(GREETING)
        })
    };
    eventually("no greeting once there are files again", greeted);
}

#[test]
fn noise_cannot_flood_the_log_nor_write_lines_of_its_own() {
    let (greeting, name) = peers();
    let (process, address) = greeter(&greeting, &name);
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
    let (greeting, name) = peers();
    let mut command = command(&greeting.url(), &name.url());
    let (_process, address, mut log) = Process::serve_unread(&mut command);
    let refuse = || {
        let answer = Client::connect(address).send("noise\r\n").answer();
        assert!(answer.starts_with("HTTP/1.1 400 "), "{answer}");
    };
    refuse();
    assert_eq!(greet(address), negotiated("200 OK", "", GREETING));

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
    let (greeting, name) = peers();
    let (_process, address) = greeter(&greeting, &name);
    let mut random = fastrand::Rng::with_seed(7);
    for _ in 0..300 {
        let noise: Vec<u8> = (0..random.usize(1..2000)).map(|_| random.u8(..)).collect();
        let mut client = Client::connect(address);
        let _ = client.try_send(&noise);
    }
    assert_eq!(greet(address), negotiated("200 OK", "", GREETING));
}
