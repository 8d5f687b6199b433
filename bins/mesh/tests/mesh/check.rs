//! `mesh check`: what is promised is seen of a mesh, and not of anybody else. With `--lab`, of all
//! worlds: `.ci/worlds`.

use std::io::Write as _;
use std::net::TcpListener;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::mpsc::channel;

use application::{LEAVES, Service};
use harness::{Finished, Peer, peer, run};
use serde_json::Value;

use crate::running::{Mesh, command, with_both_engines};

with_both_engines! {
    what_is_promised_is_seen,
}

fn check(arguments: &[&str]) -> Finished {
    run(command().arg("check").args(arguments))
}

/// Of what it prints as JSON, each point and its result.
fn points(said: &str) -> Vec<(String, String)> {
    let said: Value = serde_json::from_str(said).unwrap();
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let points = said["points"].as_array().unwrap().iter();
    points.map(|row| (text(&row["point"]), text(&row["result"]))).collect()
}

fn what_is_promised_is_seen(engine: &[&str]) {
    let mesh = Mesh::start(engine);
    let said = mesh.ask(&["check", "--json"]);
    for (point, result) in points(&said) {
        assert_eq!(result, "seen", "{point}: {said}");
    }
    let about: Value = serde_json::from_str(&said).unwrap();
    assert_eq!(about["mesh"], env!("CARGO_PKG_VERSION"));
    assert_eq!(about["url"], format!("http://{}/", mesh.front));
    assert!(about["begun"].as_str().unwrap().ends_with('Z'), "{said}");
    let world = about["world"].as_str().unwrap();
    assert_eq!(world.starts_with("a mesh with Envoy 1."), !engine.is_empty(), "{world}");
    let by_url = run(command().args(["check", &format!("http://{}", mesh.front)]));
    let lines: Vec<_> = by_url.stdout.lines().collect();
    assert!(lines[0].contains(world), "{}", by_url.stdout);
    assert!(lines[1..].iter().all(|line| line.starts_with("seen  ")), "{}", by_url.stdout);
    mesh.ask(&["fault", "name-1", "1%500"]);
    let refused = mesh.try_to_ask(&["check", "--lab"]);
    let why = "--lab needs a mesh as it was started, and name-1 is changed: start another";
    assert_eq!((refused.code, refused.stderr), (Some(1), format!("mesh: {why}\n")));
}

#[test]
fn of_what_is_no_greeter_nothing_is_seen() {
    let peer = Peer::saying("hello");
    let said = check(&["--json", &peer.url()]);
    assert_eq!((said.code, said.stderr.as_str()), (Some(1), ""));
    for (point, result) in points(&said.stdout) {
        assert_eq!(result, "NOT AS EXPECTED", "{point}: {}", said.stdout);
    }
    let refused = check(&["--lab", &peer.url()]);
    let why = "--lab needs a mesh or compose.yaml on this machine, and ";
    assert!(refused.stderr.starts_with(&format!("mesh: {why}")), "{}", refused.stderr);
}

/// What is asked goes over the wire as it is called; and tasks of which one has nine tenths are not even.
#[test]
fn the_requests_are_what_they_are_called_and_chance_has_a_bound() {
    let (sender, heads) = channel();
    let count = Arc::new(AtomicUsize::new(0));
    let peer = Peer::start(move |_, mut stream| {
        while let Some(head) = peer::read_request(&mut stream) {
            let name = if count.fetch_add(1, SeqCst).is_multiple_of(10) { 1 } else { 2 };
            let _ = sender.send(head.to_ascii_lowercase());
            let who = |leaf: &Service| if leaf.name == "name" { name } else { 1 };
            let said = LEAVES.iter().map(|leaf| format!(" Ada ({}-{})", leaf.name, who(leaf)));
            let line = format!("From greeter-1:{}", said.collect::<String>());
            let _ = stream.write_all(&peer::ok(&line));
        }
    });
    let said = check(&["--json", &peer.url()]);
    let result = |wanted: &str| {
        let mut points = points(&said.stdout).into_iter();
        points.find(|(point, _)| point == wanted).unwrap().1
    };
    for (point, expected) in [
        ("ten greetings", "seen"),
        ("every task answers", "seen"),
        ("evenness", "NOT AS EXPECTED"),
        ("one connection", "seen"),
        ("HTTP/1.0", "seen"),
        ("a browser's headers", "NOT AS EXPECTED"),
    ] {
        assert_eq!(result(point), expected, "{point}: {}", said.stdout);
    }
    let heads: Vec<_> = heads.try_iter().collect();
    for wanted in [
        "get / http/1.0\r\n",
        "head / http/1.1\r\n",
        "post / http/1.1\r\n",
        "get /health http/1.1\r\n",
        "\r\nupgrade: tls/1.2\r\n",
        "\r\naccept: application/json\r\n",
    ] {
        assert!(heads.iter().any(|head| head.contains(wanted)), "{wanted:?} is not sent");
    }
    assert!(heads.iter().any(|head| head.matches("\r\n").count() > 22), "20 headers");
}

#[test]
fn nobody_there_is_said_in_one_line() {
    let nobody = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let said = check(&[&format!("http://{nobody}/")]);
    assert_eq!((said.code, said.stdout.as_str()), (Some(1), ""));
    let why = format!("mesh: cannot reach {nobody}: no connection: connection refused: ");
    assert!(said.stderr.starts_with(&why) && said.stderr.lines().count() == 1, "{}", said.stderr);
}
