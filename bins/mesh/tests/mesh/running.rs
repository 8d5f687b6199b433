//! The mesh's real binary, running.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::thread;
use std::time::{Duration, Instant};

use application::{EDGE, LEAVES, SERVICES, Service};
use harness::{Client, Finished, PATIENCE, Process, eventually, get, run};
use nix::errno::Errno;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;

/// Runs tests that take an engine's arguments with the mesh's own proxies and with Envoy.
macro_rules! with_both_engines {
    ($($test:ident,)*) => {
        mod built_in {
            $(#[test] fn $test() { super::$test(&[]); })*
        }
        mod envoy {
            needs_envoy::tests! { (&["--proxy", "envoy"]) $($test,)* }
        }
    };
}
pub(crate) use with_both_engines;

/// A running mesh and what it said of itself.
pub(crate) struct Mesh {
    pub(crate) process: Process,
    /// The load balancer.
    pub(crate) front: SocketAddr,
    /// Every task's process id.
    pub(crate) tasks: BTreeMap<String, Pid>,
    /// Every Envoy's: the sidecars' by their tasks, and the load balancer's by its service.
    envoys: BTreeMap<String, Pid>,
    /// What its Envoys read, with Envoy.
    folder: Option<Folder>,
}

/// What a client says when its mesh takes longer than 5 s.
pub(crate) const BUSY: &str =
    "mesh: the mesh is still busy with it; Ctrl-C ends only this command\n";

/// A folder that is removed with the value: of one test, or of a mesh, which leaves it there when
/// it is killed, as at the end of a test.
pub(crate) struct Folder(pub(crate) PathBuf);

impl Folder {
    /// For the files of the test with this name.
    pub(crate) fn new(name: &str) -> Self {
        let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
        let _ = fs::remove_dir_all(&path);
        fs::create_dir(&path).unwrap();
        Self(path)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

impl Mesh {
    pub(crate) fn start(arguments: &[&str]) -> Self {
        Self::start_at("0", arguments)
    }

    /// With the load balancer at this port.
    pub(crate) fn start_at(port: &str, arguments: &[&str]) -> Self {
        Self::start_by(command().args(["--port", port]).args(arguments))
    }

    /// By a command of its own, which says the port, if that is to be another than 8080.
    pub(crate) fn start_by(command: &mut Command) -> Self {
        let process = Process::start(command.arg("--json"));
        let up = event(&process, |event| event["event"] == "up");
        let front = up["address"].as_str().unwrap().parse().unwrap();
        let mut mesh =
            Self { process, front, tasks: BTreeMap::new(), envoys: BTreeMap::new(), folder: None };
        for service in up["services"].as_array().unwrap() {
            mesh.take_note_of_envoy(service);
            for task in service["tasks"].as_array().unwrap() {
                mesh.tasks.insert(text(&task["name"]), pid(&task["pid"]));
                mesh.take_note_of_envoy(task);
            }
        }
        mesh
    }

    /// Of a service or a task.
    fn take_note_of_envoy(&mut self, of: &Value) {
        if of["envoy"].is_object() {
            self.envoys.insert(text(&of["name"]), pid(&of["envoy"]["pid"]));
            let admin = PathBuf::from(text(&of["envoy"]["admin"]));
            let folder = admin.ancestors().nth(2).expect("one in the mesh's folder");
            self.folder.get_or_insert_with(|| Folder(folder.to_owned()));
        }
    }

    /// Waits until the mesh tells of such an event.
    pub(crate) fn event(&self, wanted: impl Fn(&Value) -> bool) -> Value {
        event(&self.process, wanted)
    }

    /// Asks it as another terminal does: its words. It does not refuse.
    pub(crate) fn ask(&self, arguments: &[&str]) -> String {
        let asked = self.try_to_ask(arguments);
        let said = asked.stderr.replace(BUSY, "");
        assert_eq!((asked.code, said.as_str()), (Some(0), ""), "{arguments:?}");
        asked.stdout
    }

    pub(crate) fn try_to_ask(&self, arguments: &[&str]) -> Finished {
        let port = self.front.port().to_string();
        run(command().args(arguments).args(["--port", &port]))
    }

    /// What `status --json` says of every task, in order of their names.
    pub(crate) fn status(&self) -> BTreeMap<String, Value> {
        let status: Value = serde_json::from_str(&self.ask(&["status", "--json"])).unwrap();
        let services = status["services"].as_array().unwrap().iter();
        let tasks = services.flat_map(|service| service["tasks"].as_array().unwrap());
        tasks.map(|task| (text(&task["name"]), task.clone())).collect()
    }

    /// Every task's process id, as it is now.
    pub(crate) fn pids(&self) -> BTreeMap<String, Pid> {
        self.status().into_iter().map(|(name, task)| (name, pid(&task["pid"]))).collect()
    }

    /// Ends a mesh that has said what it has to say: how often each task answered.
    pub(crate) fn answered(mut self) -> BTreeMap<String, u64> {
        self.process.signal(Signal::SIGINT);
        self.process.wait();
        let lines = self.process.lines();
        let events = lines.iter().map(|line| serde_json::from_str::<Value>(line).unwrap());
        let answered = events.filter(|event| event["event"] == "answered");
        let counts = answered.flat_map(|event| event["tasks"].as_object().unwrap().clone());
        counts.map(|(task, count)| (task, count.as_u64().unwrap())).collect()
    }

    pub(crate) fn kill(&self, task: &str, signal: Signal) {
        kill(self.tasks[task], signal).expect("the task is there");
    }

    /// Stops a task, all of its threads: the signal reaches one of them first, and another may
    /// answer a request meanwhile.
    pub(crate) fn hang(&self, task: &str) {
        self.kill(task, Signal::SIGSTOP);
        let threads = format!("/proc/{}/task", self.tasks[task]);
        let is_stopped = |thread: PathBuf| {
            let stat = fs::read_to_string(thread.join("stat")).unwrap_or_default();
            stat.rsplit(") ").next().is_some_and(|fields| fields.starts_with('T'))
        };
        eventually("it does not stop", || {
            fs::read_dir(&threads).unwrap().all(|thread| is_stopped(thread.unwrap().path()))
        });
    }

    /// Waits until a task that ended is there again.
    pub(crate) fn is_up_again(&mut self, task: &str) {
        let again = self.event(|event| event["event"] == "started" && event["process"] == task);
        let pid = pid(&again["pid"]);
        let old = self.tasks.insert(task.to_owned(), pid);
        assert_ne!(old, Some(pid));
    }

    /// The tasks, and what has an Envoy, of which a process is left.
    pub(crate) fn left(&self) -> Vec<&str> {
        let all = self.tasks.iter().chain(&self.envoys);
        let left = all.filter(|&(_, &pid)| kill(pid, None) != Err(Errno::ESRCH));
        left.map(|(task, _)| task.as_str()).collect()
    }

    /// The folder with what its Envoys read.
    pub(crate) fn folder(&self) -> Option<&Path> {
        self.folder.as_ref().map(|folder| folder.0.as_path())
    }
}

/// Waits until the process, started with `--json`, tells of such an event.
fn event(process: &Process, wanted: impl Fn(&Value) -> bool) -> Value {
    let parse = |line: &str| serde_json::from_str::<Value>(line).ok();
    let line = process.line(|line| parse(line).is_some_and(|event| wanted(&event)));
    parse(&line).expect("parsed before")
}

fn text(value: &Value) -> String {
    value.as_str().expect("a text").to_owned()
}

fn pid(value: &Value) -> Pid {
    let pid = value.as_i64().and_then(|pid| i32::try_from(pid).ok());
    Pid::from_raw(pid.expect("a process id"))
}

/// The binary, with a place for control sockets that is the tests' own: a mesh that is killed, as
/// at the end of most tests, leaves its socket there.
pub(crate) fn command() -> Command {
    command_of(Path::new(env!("CARGO_BIN_EXE_mesh")))
}

/// The same, of a copy of the binary.
pub(crate) fn command_of(program: &Path) -> Command {
    let mut command = Command::new(program);
    command.env("XDG_RUNTIME_DIR", env!("CARGO_TARGET_TMPDIR"));
    command
}

/// What each service has: a task, or tasks.
pub(crate) type Each<T> = BTreeMap<&'static str, T>;

/// What each service of the application has.
pub(crate) fn each<T>(of: impl Fn(Service) -> T) -> Each<T> {
    SERVICES.iter().map(|&service| (service.name, of(service))).collect()
}

/// The first so many tasks of each service.
pub(crate) fn first(count: usize) -> Each<BTreeSet<String>> {
    each(|service| (1..=count).map(|number| service.task(number)).collect())
}

/// The task of each service that made a greeting: `From EDGE: TEXT (LEAF) TEXT (LEAF)`, and so on.
pub(crate) fn makers(body: &str) -> Each<String> {
    let try_parse = || {
        let (edge, mut rest) = body.strip_prefix("From ")?.split_once(": ")?;
        let mut makers = Each::from([(EDGE.name, edge.to_owned())]);
        for leaf in LEAVES {
            let (text, behind) = rest.split_once(" (")?;
            let (task, behind) = behind.split_once(')')?;
            if text.trim().is_empty() || text.contains(char::is_control) {
                return None;
            }
            makers.insert(leaf.name, task.to_owned());
            rest = behind;
        }
        let are_theirs = makers.iter().all(|(service, task)| {
            task.strip_prefix(service).is_some_and(|number| number.starts_with('-'))
        });
        (rest.is_empty() && are_theirs).then_some(makers)
    };
    try_parse().unwrap_or_else(|| panic!("no greeting: {body:?}"))
}

/// Greetings from several clients at once, until dropped.
pub(crate) struct Load {
    done: Arc<AtomicUsize>,
    stop: Arc<AtomicBool>,
    clients: Vec<thread::JoinHandle<()>>,
}

impl Load {
    /// Half of the clients keep their connection, half open one for each request.
    pub(crate) fn start(front: SocketAddr) -> Self {
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
    pub(crate) fn goes_on_for(&self, more: usize) {
        let (target, end) = (self.done.load(SeqCst) + more, Instant::now() + PATIENCE);
        while self.done.load(SeqCst) < target {
            assert!(!self.clients.iter().any(thread::JoinHandle::is_finished), "one failed");
            assert!(Instant::now() < end, "only {} greetings", self.done.load(SeqCst));
            thread::sleep(Duration::from_millis(2));
        }
    }

    /// Stops it: every greeting was one.
    pub(crate) fn was_flawless(self, start: Instant) {
        let (done, seconds) = (self.done.load(SeqCst), start.elapsed().as_secs_f64());
        println!("{done} greetings in {seconds:.1} s");
        self.stop.store(true, SeqCst);
        for client in self.clients {
            client.join().expect("a greeting failed");
        }
    }
}
