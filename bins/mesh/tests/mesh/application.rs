//! What the application does, whoever passes its requests on: tests that take an engine run
//! with the mesh's own proxies and with Envoy.

use std::collections::{BTreeMap, BTreeSet};
use std::net::TcpListener;
use std::process::Command;
use std::time::Instant;

use application::{EDGE, LEAVES, SERVICES};
use chassis::shutdown::STOP_TIMEOUT;
use harness::{Process, eventually, get, run};
use nix::sys::signal::Signal;
use serde_json::json;

use crate::running::{Each, Load, Mesh, command, first, makers, with_both_engines};

with_both_engines! {
    two_hundred_greetings_are_balanced_evenly,
    tasks_are_as_many_as_asked_for,
    a_leaf_killed_under_load_costs_no_greeting_and_comes_back,
    three_rounds_of_restarts_under_load_cost_no_greeting,
    three_rounds_of_killed_leaves_under_load_cost_no_greeting,
    the_tasks_logs_are_told,
    people_are_told_in_words,
    ctrl_c_drains_and_ends_everything,
    a_second_ctrl_c_does_not_wait,
    nothing_is_left_of_a_mesh_that_is_killed,
}

fn two_hundred_greetings_are_balanced_evenly(engine: &[&str]) {
    let mesh = Mesh::start(engine);
    let mut counts = BTreeMap::new();
    for _ in 0..200 {
        let (status, body) = get(mesh.front, "/");
        assert_eq!(status, 200, "{body}");
        for maker in makers(&body).into_values() {
            *counts.entry(maker).or_insert(0) += 1;
        }
    }
    let tasks: Vec<_> = mesh.tasks.keys().cloned().collect();
    assert_eq!(counts.keys().cloned().collect::<Vec<_>>(), tasks, "every task and no other");
    assert_eq!(tasks.len(), 2 * SERVICES.len());
    for (task, count) in counts {
        // Each Envoy takes turns for itself: one too many of each greeter makes two.
        assert!((98..=102).contains(&count), "{task} has {count} of 200");
    }
}

fn tasks_are_as_many_as_asked_for(engine: &[&str]) {
    let mesh = Mesh::start(&[engine, &["--tasks", "3"]].concat());
    let expected: BTreeSet<_> = first(3).into_values().flatten().collect();
    assert_eq!(mesh.tasks.keys().cloned().collect::<BTreeSet<_>>(), expected);
    let greetings = (0..9).map(|_| makers(&get(mesh.front, "/").1));
    assert_eq!(greetings.flat_map(Each::into_values).collect::<BTreeSet<_>>(), expected);
}

fn a_leaf_killed_under_load_costs_no_greeting_and_comes_back(engine: &[&str]) {
    let mut mesh = Mesh::start(engine);
    let load = Load::start(mesh.front);
    let start = Instant::now();
    load.goes_on_for(1000);
    mesh.kill("name-1", Signal::SIGKILL);
    load.goes_on_for(500);
    mesh.is_up_again("name-1");
    load.goes_on_for(500);
    load.was_flawless(start);

    let seen: Vec<_> = (0..4).map(|_| makers(&get(mesh.front, "/").1)).collect();
    assert!(seen.iter().any(|makers| makers["name"] == "name-1"), "{seen:?}");
}

/// Rolling restarts: every task of every service, one after the other.
fn three_rounds_of_restarts_under_load_cost_no_greeting(engine: &[&str]) {
    let mut mesh = Mesh::start(engine);
    let load = Load::start(mesh.front);
    let start = Instant::now();
    let tasks: Vec<_> = mesh.tasks.keys().cloned().collect();
    for task in [&tasks, &tasks, &tasks].into_iter().flatten() {
        load.goes_on_for(100);
        mesh.kill(task, Signal::SIGTERM);
        mesh.is_up_again(task);
    }
    load.goes_on_for(100);
    load.was_flawless(start);
}

fn three_rounds_of_killed_leaves_under_load_cost_no_greeting(engine: &[&str]) {
    let mut mesh = Mesh::start(engine);
    let load = Load::start(mesh.front);
    let start = Instant::now();
    let tasks = || [1, 2].map(|number| LEAVES.iter().map(move |leaf| leaf.task(number)));
    for task in [tasks(), tasks(), tasks()].into_iter().flatten().flatten() {
        load.goes_on_for(100);
        mesh.kill(&task, Signal::SIGKILL);
        mesh.is_up_again(&task);
    }
    load.goes_on_for(100);
    load.was_flawless(start);
}

#[test]
fn a_task_that_dies_again_and_again_waits_longer_each_time() {
    let mut mesh = Mesh::start(&["--tasks", "1"]);
    for delay in [100, 200, 400] {
        mesh.kill("name-1", Signal::SIGKILL);
        let ended = mesh.event(|event| event["event"] == "ended");
        let expected = json!({
            "event": "ended",
            "process": "name-1",
            "how": "signal: 9 (SIGKILL)",
            "again_in_ms": delay,
        });
        assert_eq!(ended, expected);
        mesh.is_up_again("name-1");
    }
    assert_eq!(get(mesh.front, "/").0, 200);
}

fn the_tasks_logs_are_told(engine: &[&str]) {
    let mesh = Mesh::start(&[engine, &["--tasks", "1"]].concat());
    mesh.kill("greeting-1", Signal::SIGTERM);
    let drain = r#""service":"greeting","event":"drain"}"#;
    let log = mesh.event(|event| event["line"].as_str().is_some_and(|line| line.ends_with(drain)));
    assert_eq!((&log["event"], &log["process"]), (&json!("log"), &json!("greeting-1")));
}

fn ctrl_c_drains_and_ends_everything(engine: &[&str]) {
    let mut mesh = Mesh::start(engine);
    for _ in 0..4 {
        assert_eq!(get(mesh.front, "/").0, 200);
    }
    mesh.process.signal(Signal::SIGINT);
    let (status, _) = mesh.process.wait();
    assert_eq!(status.code(), Some(0));
    nothing_is_left(&mesh);
    let log = mesh.process.lines();
    let stopped = log.iter().filter(|line| line.contains(r#"\"event\":\"stop\""#)).count();
    assert_eq!(stopped, mesh.tasks.len(), "tasks that drained: {log:#?}");
}

/// Without `--json`: how to go on, and, at the end, who answered how often.
fn people_are_told_in_words(engine: &[&str]) {
    let mut process = Process::start(command().args(["--port", "0"]).args(engine));
    let start = format!("name-1      | start, version {}, 127.0.", env!("CARGO_PKG_VERSION"));
    let _ = process.line(|line| line.starts_with(&start));
    let balancer = process.line(|line| line.trim_start().starts_with("load balancer"));
    let front = balancer.split("http://").nth(1).unwrap().parse().unwrap();
    let _ = process.line(|line| line.contains("Ctrl-C"));
    for _ in 0..4 {
        assert_eq!(get(front, "/").0, 200);
    }
    process.signal(Signal::SIGTERM);
    process.wait();
    let log = process.lines();
    for service in SERVICES {
        let behind = if *service == EDGE { "load balancer" } else { service.dns_name };
        let line = format!("mesh        | {behind} answered: {0}-1 2, {0}-2 2", service.name);
        assert!(log.contains(&line), "{line}: {log:#?}");
    }
    for line in ["name-1      | drain", "name-1      | stop, 2 requests, quiet"] {
        assert!(log.iter().any(|l| l == line), "{line}: {log:#?}");
    }
    assert!(!log.iter().any(|line| line.contains(r#"{""#)), "JSON is for machines: {log:#?}");
}

/// On a terminal the tasks' lines are dim, unless the user has said that colours are unwelcome.
#[test]
fn colours_are_for_who_wants_them() {
    for (variable, value, dim) in
        [("NO_COLOR", "", "\u{1b}[2m"), ("NO_COLOR", "1", ""), ("TERM", "dumb", "")]
    {
        let mut terminal = Command::new("script");
        // It ends with its terminal, also where the tests run under nohup.
        let line = format!(
            "exec env --default-signal=HUP '{}' --port 0 --tasks 1",
            env!("CARGO_BIN_EXE_mesh")
        );
        terminal.args(["--quiet", "--return", "--command", &line, "/dev/null"]);
        terminal.env("XDG_RUNTIME_DIR", env!("CARGO_TARGET_TMPDIR"));
        terminal.env_remove("NO_COLOR").env("TERM", "xterm").env(variable, value);
        let process = Process::start(&mut terminal);
        let start = process.line(|line| line.contains("name-1 ") && line.contains("start, "));
        assert!(start.starts_with(&format!("{dim}name-1 ")), "{variable}={value}: {start:?}");
        assert_eq!(start.contains('\u{1b}'), !dim.is_empty(), "{variable}={value}: {start:?}");
    }
}

/// Nor does it leave anything behind, also of a task that cannot drain.
fn a_second_ctrl_c_does_not_wait(engine: &[&str]) {
    let mut mesh = Mesh::start(engine);
    mesh.hang("name-1");
    mesh.process.signal(Signal::SIGINT);
    let _ = mesh.event(|event| event["event"] == "stopping");
    mesh.process.signal(Signal::SIGINT);
    let (_, took) = mesh.process.wait();
    assert!(took < STOP_TIMEOUT, "{took:?}, as long as without the second");
    nothing_is_left(&mesh);
}

/// Of a mesh that has ended: it waited for its processes, and took its folder with it.
fn nothing_is_left(mesh: &Mesh) {
    assert_eq!(mesh.left(), [""; 0]);
    assert!(mesh.folder().is_none_or(|folder| !folder.exists()), "{:?} is left", mesh.folder());
}

fn nothing_is_left_of_a_mesh_that_is_killed(engine: &[&str]) {
    let mut mesh = Mesh::start(engine);
    mesh.process.signal(Signal::SIGKILL);
    mesh.process.wait();
    // Nobody waited for its processes: they see its end, and come to theirs.
    eventually("a process is left", || mesh.left().is_empty());
}

#[test]
fn what_cannot_run_says_why() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port();
    let refused = run(command().args(["--port", &port.to_string()]));
    assert_eq!(refused.code, Some(1));
    let start = format!("mesh: cannot listen on 127.0.0.1:{port}: ");
    assert!(refused.stderr.starts_with(&start), "{}", refused.stderr);
    assert!(refused.stderr.ends_with("; --port chooses another\n"), "{}", refused.stderr);

    let refused = run(command().args(["--tasks", "0"]));
    assert_eq!(refused.code, Some(2));
    let error = "mesh: --tasks 0: give a whole number from 1 to 32; see --help\n";
    assert_eq!(refused.stderr, error);
}
