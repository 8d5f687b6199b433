//! The traces that a mesh keeps with `--trace`.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::thread;

use application::{EDGE, LEAVES, Service};
use harness::{Client, get};
use serde_json::Value;

use crate::running::{Each, Mesh, makers, with_both_engines};
use crate::user_programs::{GREETER, NAME};

with_both_engines! {
    each_of_a_hundred_greetings_under_load_has_a_trace_of_its_own,
    a_retry_has_two_branches,
    nothing_is_mixed_up_in_a_release,
}

/// Who made each greeting, by the id of its trace.
type Greetings = BTreeMap<u64, Each<String>>;

/// Greetings with these ids, one after the other.
fn greetings(front: SocketAddr, ids: impl Iterator<Item = u64>, headers: &str) -> Greetings {
    let mut client = Client::connect(front);
    let greeting = |id| {
        let trace = format!("traceparent: 00-{id:032x}-00000000000000ff-01\r\n");
        client.send(format!("GET / HTTP/1.1\r\nHost: x\r\n{trace}{headers}\r\n"));
        let answer = client.answer();
        assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
        (id, makers(answer.split_once("\r\n\r\n").unwrap().1))
    };
    ids.map(greeting).collect()
}

/// All traces that are kept.
fn traces(mesh: &Mesh) -> Vec<Vec<Value>> {
    serde_json::from_str(&mesh.ask(&["trace", "--slowest", "1000", "--json"])).unwrap()
}

/// From the load balancer down to each task that answered, the names of the spans.
fn paths(trace: &[Value]) -> BTreeSet<Vec<String>> {
    let parent = |span: &Value| trace.iter().find(|other| other["id"] == span["parentId"]);
    let answered = trace.iter().filter(|span| {
        let is_parent = trace.iter().any(|other| other["parentId"] == span["id"]);
        !is_parent && span["tags"]["http.status_code"] == "200"
    });
    let path = |span| {
        let spans = std::iter::successors(Some(span), |&span| parent(span));
        let names = spans.map(|span| span["name"].as_str().unwrap().to_owned());
        names.collect::<Vec<_>>().into_iter().rev().collect()
    };
    answered.map(path).collect()
}

/// What they have to be. A version does not count.
fn expected(engine: &[&str], makers: &Each<String>) -> BTreeSet<Vec<String>> {
    let task = |service| makers[service].split(' ').next().unwrap();
    let greeter = task(EDGE.name);
    let path = |leaf: &Service| {
        let (name, service, leaf) = (leaf.name, leaf.dns_name, task(leaf.name));
        let [sidecar, its] = [greeter, leaf].map(|task| format!("{task}'s sidecar"));
        let call = format!("{sidecar} > {name}");
        // Each hop between two Envoys as both saw it.
        let by_envoys = ["GET /", &sidecar, &sidecar, greeter, &call, &its, &its, leaf];
        let built_in = ["GET /", greeter, service, leaf];
        let path = if engine.is_empty() { &built_in[..] } else { &by_envoys };
        path.iter().map(ToString::to_string).collect()
    };
    LEAVES.iter().map(path).collect()
}

/// The traces that are kept of these greetings are what they have to be. How many there are.
fn have_their_traces(mesh: &Mesh, engine: &[&str], greetings: &Greetings) -> usize {
    let (last, _) = greetings.last_key_value().unwrap();
    let id = |trace: &[Value]| u64::from_str_radix(trace[0]["traceId"].as_str().unwrap(), 16).ok();
    let mut kept = traces(mesh);
    assert!(kept.iter().any(|trace| id(trace) == Some(*last)), "the last one is not there");
    kept.retain(|trace| id(trace).is_some_and(|id| greetings.contains_key(&id)));
    for trace in &kept {
        assert_eq!(trace[0]["parentId"], "00000000000000ff");
        let makers = &greetings[&id(trace).unwrap()];
        assert_eq!(paths(trace), expected(engine, makers), "{trace:#?}");
    }
    kept.len()
}

fn each_of_a_hundred_greetings_under_load_has_a_trace_of_its_own(engine: &[&str]) {
    let programs = ["--trace", "--run", NAME, "--run", GREETER];
    let mesh = Mesh::start(&[engine, &programs].concat());
    let front = mesh.front;
    // All of them at the same time.
    let clients = [1000, 2000, 3000, 4000]
        .map(|first| thread::spawn(move || greetings(front, first..first + 25, "")));
    let of_each = clients.map(|client| client.join().unwrap());
    let count: usize = of_each.iter().map(|its| have_their_traces(&mesh, engine, its)).sum();
    assert_eq!(count, 100);
}

fn a_retry_has_two_branches(engine: &[&str]) {
    let mesh = Mesh::start(&[engine, &["--trace"]].concat());
    mesh.ask(&["fault", "name-1", "100%503"]);
    greetings(mesh.front, 1..5, "");
    let attempts = |trace: &[Value]| {
        let of_name = |span: &&Value| {
            span["kind"] == "CLIENT" && span["name"].as_str().unwrap().starts_with("name-")
        };
        // Where a sidecar is asked, and not where that asks its application.
        let first = trace.iter().find(of_name)?["parentId"].clone();
        let its = trace.iter().filter(of_name).filter(|span| span["parentId"] == first);
        let status = |span: &Value| span["tags"]["http.status_code"].as_str().unwrap().to_owned();
        Some(
            its.map(|span| (span["name"].as_str().unwrap()[..6].to_owned(), status(span)))
                .collect(),
        )
    };
    let retried = [("name-1", "503"), ("name-2", "200")].map(|(a, b)| (a.to_owned(), b.to_owned()));
    let traces = traces(&mesh);
    let are_both = |trace: &Vec<Value>| attempts(trace) == Some(Vec::from(retried.clone()));
    assert!(traces.iter().any(are_both), "{traces:#?}");
    let text = mesh.ask(&["trace", "--slowest", "1000"]);
    assert!(text.lines().all(|line| line.chars().count() <= 80), "{text}");
    let rows = |status: &str| {
        let rows = text.lines().filter(|line| line.trim_start().starts_with("name-"));
        rows.filter(|line| line.contains(status)).count()
    };
    assert!(rows("  503 ") > 0 && rows("  200 ") > 0, "{text}");
    assert_eq!(mesh.ask(&["trace", "--failed"]), "no request has failed\n");
}

fn nothing_is_mixed_up_in_a_release(engine: &[&str]) {
    let mesh = Mesh::start(&[engine, &["--trace"]].concat());
    let (front, done) = (mesh.front, Arc::new(AtomicBool::new(false)));
    let clients =
        [(1, ""), (1_000_000, "X-Amzn-Ecs-Blue-Green-Test: 1\r\n")].map(|(from, headers)| {
            let done = done.clone();
            let ids = (from..).take_while(move |_| !done.load(SeqCst));
            thread::spawn(move || greetings(front, ids, headers))
        });
    mesh.ask(&["release", "greeting", "green"]);
    mesh.ask(&["release", "name", "green", "--blue-green"]);
    mesh.ask(&["promote", "name"]);
    done.store(true, SeqCst);
    for of_one in clients.map(|client| client.join().unwrap()) {
        let count = have_their_traces(&mesh, engine, &of_one);
        println!("{} greetings, {count} traces", of_one.len());
    }
}

#[test]
fn the_next_request_is_shown_and_without_traces_the_mesh_says_so() {
    let mesh = Mesh::start(&["--tasks", "1", "--trace"]);
    let (front, stop) = (mesh.front, Arc::new(AtomicBool::new(false)));
    let goes_on = stop.clone();
    let requests = thread::spawn(move || {
        while !goes_on.load(SeqCst) {
            let _ = get(front, "/nothing?a=b");
        }
    });
    let text = mesh.ask(&["trace"]);
    stop.store(true, SeqCst);
    requests.join().unwrap();
    let names: Vec<_> = text.lines().map(|line| line.trim_start().split("  ").next()).collect();
    let expected = ["GET /nothing", "greeter-1", "greeting-service", "greeting-1"];
    assert_eq!(names[..4], expected.map(Some), "{text}");
    let refused = Mesh::start(&["--tasks", "1"]).try_to_ask(&["trace"]);
    let expected = "mesh: this mesh traces no requests: start it with cargo mesh --trace\n";
    assert_eq!((refused.code, refused.stderr.as_str()), (Some(1), expected));
}
