//! The mesh's real binary: its tasks, its balancing, its restarts, its end.

use std::collections::BTreeMap;
use std::net::{SocketAddr, TcpListener};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::thread;
use std::time::{Duration, Instant};

use harness::{Client, PATIENCE, Process, get, run};
use nix::errno::Errno;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

/// A running mesh and what it said of itself.
struct Mesh {
    process: Process,
    /// The load balancer.
    front: SocketAddr,
    /// Every task's process id.
    tasks: BTreeMap<String, Pid>,
}

impl Mesh {
    fn start(arguments: &[&str]) -> Self {
        let process = Process::start(command().args(["--port", "0"]).args(arguments));
        let place = |line: &str| line.split_whitespace().last().unwrap().to_owned();
        let front = place(&process.line(|line| line.contains("load balancer")));
        let mut tasks = BTreeMap::new();
        loop {
            let line = process.line(|line| line.contains(", process ") || line.contains("Ctrl-C"));
            if line.contains("Ctrl-C") {
                break;
            }
            let task = line.split_whitespace().next().unwrap().to_owned();
            tasks.insert(task, Pid::from_raw(place(&line).parse().unwrap()));
        }
        let front = front.strip_prefix("http://").unwrap().parse().unwrap();
        Self { process, front, tasks }
    }

    fn kill(&self, task: &str, signal: Signal) {
        kill(self.tasks[task], signal).expect("the task is there");
    }

    /// Waits until a task that ended is there again; its new process id.
    fn is_up_again(&mut self, task: &str) {
        let again = format!("{task} is up again");
        let line = self.process.line(|line| line.contains(&again));
        let pid = line.split_whitespace().last().unwrap().parse().unwrap();
        let old = self.tasks.insert(task.to_owned(), Pid::from_raw(pid));
        assert_ne!(old, Some(Pid::from_raw(pid)));
    }

    /// Waits until none of the tasks' processes is left.
    fn is_gone(&self) {
        let end = Instant::now() + PATIENCE;
        for (task, &pid) in &self.tasks {
            while kill(pid, None) != Err(Errno::ESRCH) {
                assert!(Instant::now() < end, "{task} is left, process {pid}");
                thread::sleep(Duration::from_millis(5));
            }
        }
    }
}

fn command() -> Command {
    Command::new(env!("CARGO_BIN_EXE_mesh"))
}

/// The tasks that made a greeting: greeter, greeting, name.
fn makers(body: &str) -> [String; 3] {
    let try_parse = || {
        let (greeter, rest) = body.strip_prefix("From ")?.split_once(": ")?;
        let (greeting, rest) = rest.split_once(" (")?;
        let (greeting_host, rest) = rest.split_once(") ")?;
        let (name, name_host) = rest.strip_suffix(')')?.rsplit_once(" (")?;
        let known = ["Hey", "Hi", "Hello", "Greetings"].contains(&greeting);
        let named = !name.is_empty() && !name.contains(char::is_control);
        (known && named).then(|| [greeter, greeting_host, name_host].map(String::from))
    };
    try_parse().unwrap_or_else(|| panic!("no greeting: {body:?}"))
}

#[test]
fn two_hundred_greetings_are_balanced_evenly() {
    let mesh = Mesh::start(&[]);
    let mut counts = BTreeMap::new();
    for _ in 0..200 {
        let (status, body) = get(mesh.front, "/");
        assert_eq!(status, 200, "{body}");
        for maker in makers(&body) {
            *counts.entry(maker).or_insert(0) += 1;
        }
    }
    let tasks: Vec<_> = mesh.tasks.keys().cloned().collect();
    assert_eq!(counts.keys().cloned().collect::<Vec<_>>(), tasks, "every task and no other");
    assert_eq!(tasks.len(), 6);
    for (task, count) in counts {
        assert!((99..=101).contains(&count), "{task} has {count} of 200");
    }
}

#[test]
fn tasks_are_as_many_as_asked_for() {
    let mesh = Mesh::start(&["--tasks", "3"]);
    let expected = ["greeter", "greeting", "name"].map(|s| [1, 2, 3].map(|n| format!("{s}-{n}")));
    assert_eq!(mesh.tasks.keys().cloned().collect::<Vec<_>>(), expected.concat());
    let seen: std::collections::BTreeSet<_> =
        (0..9).flat_map(|_| makers(&get(mesh.front, "/").1)).collect();
    assert_eq!(seen.into_iter().collect::<Vec<_>>(), expected.concat());
}

/// Greetings from several clients at once, until dropped.
struct Load {
    done: Arc<AtomicUsize>,
    stop: Arc<AtomicBool>,
    clients: Vec<thread::JoinHandle<()>>,
}

impl Load {
    /// Half of the clients keep their connection, half open one for each request.
    fn start(front: SocketAddr) -> Self {
        let (done, stop) = (Arc::<AtomicUsize>::default(), Arc::<AtomicBool>::default());
        let client = |keeps: bool| {
            let (done, stop) = (done.clone(), stop.clone());
            thread::spawn(move || {
                let mut kept = keeps.then(|| Client::connect(front));
                while !stop.load(SeqCst) {
                    let body = match &mut kept {
                        None => {
                            let (status, body) = get(front, "/");
                            assert_eq!(status, 200, "{body}");
                            body
                        }
                        Some(client) => {
                            client.send("GET / HTTP/1.1\r\nHost: x\r\n\r\n");
                            let answer = client.answer();
                            assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
                            answer.split("\r\n\r\n").nth(1).unwrap().to_owned()
                        }
                    };
                    makers(&body);
                    done.fetch_add(1, SeqCst);
                }
            })
        };
        let clients = vec![client(true), client(false), client(true), client(false)];
        Self { done, stop, clients }
    }

    /// Waits for this many more greetings.
    fn goes_on_for(&self, more: usize) {
        let (target, end) = (self.done.load(SeqCst) + more, Instant::now() + PATIENCE);
        while self.done.load(SeqCst) < target {
            assert!(!self.clients.iter().any(thread::JoinHandle::is_finished), "one failed");
            assert!(Instant::now() < end, "only {} greetings", self.done.load(SeqCst));
            thread::sleep(Duration::from_millis(2));
        }
    }

    /// Stops it: every greeting was one.
    fn was_flawless(self, start: Instant) {
        let (done, seconds) = (self.done.load(SeqCst), start.elapsed().as_secs_f64());
        println!("{done} greetings in {seconds:.1} s");
        self.stop.store(true, SeqCst);
        for client in self.clients {
            client.join().expect("a greeting failed");
        }
    }
}

#[test]
fn a_leaf_killed_under_load_costs_no_greeting_and_comes_back() {
    let mut mesh = Mesh::start(&[]);
    let load = Load::start(mesh.front);
    let start = Instant::now();
    load.goes_on_for(1000);
    mesh.kill("name-1", Signal::SIGKILL);
    load.goes_on_for(500);
    mesh.is_up_again("name-1");
    load.goes_on_for(500);
    load.was_flawless(start);

    let seen: Vec<_> = (0..4).map(|_| makers(&get(mesh.front, "/").1)).collect();
    assert!(seen.iter().any(|makers| makers[2] == "name-1"), "{seen:?}");
}

/// Rolling restarts: every task of every service, one after the other.
#[test]
fn three_rounds_of_restarts_under_load_cost_no_greeting() {
    let mut mesh = Mesh::start(&[]);
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

#[test]
fn three_rounds_of_killed_leaves_under_load_cost_no_greeting() {
    let mut mesh = Mesh::start(&[]);
    let load = Load::start(mesh.front);
    let start = Instant::now();
    for task in ["greeting-1", "name-1", "greeting-2", "name-2"].repeat(3) {
        load.goes_on_for(100);
        mesh.kill(task, Signal::SIGKILL);
        mesh.is_up_again(task);
    }
    load.goes_on_for(100);
    load.was_flawless(start);
}

#[test]
fn a_task_that_dies_again_and_again_waits_longer_each_time() {
    let mut mesh = Mesh::start(&["--tasks", "1"]);
    for delay in ["100ms", "200ms", "400ms"] {
        mesh.kill("name-1", Signal::SIGKILL);
        let expected =
            format!("name-1 ended (signal: 9 (SIGKILL)); it is started again in {delay}");
        let _ = mesh.process.line(|line| line.contains(&expected));
        mesh.is_up_again("name-1");
    }
    assert_eq!(get(mesh.front, "/").0, 200);
}

#[test]
fn the_tasks_logs_are_shown_with_their_names() {
    let mesh = Mesh::start(&["--tasks", "1"]);
    mesh.kill("greeting-1", Signal::SIGTERM);
    let drain = r#""service":"greeting","event":"drain"}"#;
    let line = mesh.process.line(|line| line.contains(drain));
    assert!(line.starts_with("greeting-1  | {"), "{line}");
}

#[test]
fn ctrl_c_drains_and_ends_everything() {
    let mut mesh = Mesh::start(&[]);
    for _ in 0..4 {
        assert_eq!(get(mesh.front, "/").0, 200);
    }
    mesh.process.signal(Signal::SIGINT);
    let (status, _) = mesh.process.wait();
    assert_eq!(status.code(), Some(0));
    mesh.is_gone();
    let log = mesh.process.lines();
    let stopped = log.iter().filter(|line| line.contains(r#""event":"stop""#)).count();
    assert_eq!(stopped, 6, "tasks that drained: {log:#?}");
    let count = "mesh        | load balancer answered: greeter-1 2, greeter-2 2";
    assert!(log.iter().any(|line| line == count), "{log:#?}");
}

#[test]
fn a_second_ctrl_c_does_not_wait() {
    let mut mesh = Mesh::start(&[]);
    mesh.process.signal(Signal::SIGINT);
    let _ = mesh.process.line(|line| line.contains("stopping"));
    mesh.process.signal(Signal::SIGINT);
    mesh.process.wait();
    mesh.is_gone();
}

#[test]
fn nothing_is_left_of_a_mesh_that_is_killed() {
    let mut mesh = Mesh::start(&[]);
    mesh.process.signal(Signal::SIGKILL);
    mesh.process.wait();
    mesh.is_gone();
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
    let start = "mesh: --tasks 0: give a number from 1 to 32\n\nusage: ";
    assert!(refused.stderr.starts_with(start), "{}", refused.stderr);
}
