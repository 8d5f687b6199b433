//! `mesh load`: how many greetings, how fast, from whom, and what failed.

use std::net::TcpListener;
use std::thread;
use std::time::Duration;

use harness::{Finished, Peer, peer, run};

use crate::running::{Mesh, command};

fn load(arguments: &[&str]) -> Finished {
    run(command().arg("load").args(arguments))
}

/// The counts of a line of `answered: NAME N, NAME N`.
fn counts(line: &str) -> Vec<u64> {
    let parts = line.strip_prefix("answered: ").expect(line).split(", ");
    parts.map(|part| part.rsplit_once(' ').unwrap().1.parse().unwrap()).collect()
}

#[test]
fn it_says_how_many_greetings_came_and_from_whom() {
    let mesh = Mesh::start(&[]);
    let said = mesh.ask(&["load", "--connections", "4", "--seconds", "1"]);
    let lines: Vec<_> = said.lines().collect();
    let greetings: u64 = lines[0].split(' ').next().unwrap().parse().unwrap();
    assert!(greetings > 0 && lines[0].contains(" greetings in "), "{said}");
    assert!(lines[1].starts_with("times: p50 "), "{said}");
    assert_eq!(lines[2], "errors: none");
    for (line, service) in lines[3..].iter().zip(["greeter", "greeting", "name"]) {
        assert!(line.starts_with(&format!("answered: {service}-1 ")), "{said}");
        assert_eq!(counts(line).iter().sum::<u64>(), greetings, "{said}");
    }
    let counted = mesh.answered();
    assert_eq!(counted["name-1"] + counted["name-2"], greetings, "as the mesh counts");
}

#[test]
fn at_a_rate_each_request_is_sent_or_said_to_be_late() {
    let greeting = peer::ok("From a: Hello (b) Ada (c)");
    // Slower than it is asked: on one connection, a request waits for those before it.
    let slow = Peer::start(move |_, mut stream| {
        use std::io::Write as _;
        while peer::read_request(&mut stream).is_some() {
            thread::sleep(Duration::from_millis(300));
            let _ = stream.write_all(&greeting);
        }
    });
    let arguments = ["--connections", "1", "--rate", "10", "--seconds", "1", &slow.url()];
    let said = load(&arguments).stdout;
    let lines: Vec<_> = said.lines().collect();
    let greetings: u64 = lines[0].split(' ').next().unwrap().parse().unwrap();
    let late = lines[2].strip_prefix("errors: ").unwrap();
    assert_eq!(late, format!("{} never sent: no connection was free", 10 - greetings), "{said}");
    if greetings > 1 {
        // The second was due after 100 ms, and got its answer after 600 at the earliest.
        let longest = lines[1].rsplit(' ').next().unwrap();
        let longest = longest.strip_suffix("ms").map_or(1000.0, |ms| ms.parse().unwrap());
        assert!(longest >= 500.0, "{said}");
    }
}

#[test]
fn errors_are_told_by_kind() {
    let nobody = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let busy = Peer::answering("HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n");
    let other = Peer::saying("hello");
    for (url, kind) in [
        (format!("http://{nobody}/"), "no connection"),
        (busy.url(), "status 503"),
        (other.url(), "no greeting in the answer"),
    ] {
        let said = load(&["--connections", "1", "--seconds", "1", &url]);
        assert_eq!((said.code, said.stdout.as_str()), (Some(1), ""), "no greeting at all");
        let lines: Vec<_> = said.stderr.lines().collect();
        assert!(lines[0].starts_with("mesh: 0 greetings in "), "{}", said.stderr);
        assert!(lines[1].starts_with("errors: ") && lines[1].ends_with(kind), "{}", said.stderr);
    }
    let refused = load(&["https://127.0.0.1/"]).stderr;
    let error = "mesh: cannot ask https://127.0.0.1/: give http://host[:port][/path]\n";
    assert_eq!(refused, error);
}
