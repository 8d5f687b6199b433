//! Puts the parts together, and takes them apart.

use std::collections::BTreeMap;
use std::io::{self, IsTerminal, Write as _};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use application::{EDGE, LEAVES, SERVICES, Service};
use async_signal::{Signal, Signals};
use chassis::Port;
use smol::channel::{self, Receiver, Sender};
use smol::future;
use smol::stream::StreamExt;

use crate::arguments::Options;
use crate::program::Program;
use crate::supervisor::{Notice, Supervisor};

/// The proxies between the tasks: the mesh's own, or Envoy.
pub(crate) trait Engine {
    /// Where a task is to listen, on a free port.
    fn address(&self, service: Service, number: usize) -> IpAddr;
    /// Where a greeter finds a leaf.
    fn upstream(&self, greeter: usize, leaf: Service) -> SocketAddr;
    /// Where everybody finds a service, if there is one such place.
    fn front(&self, service: Service) -> Option<SocketAddr>;
    /// Takes what becomes of a task.
    fn register(&self, service: Service, number: usize) -> Register;
    /// The processes it consists of, by name; each group starts when the one before is up.
    fn programs(&self) -> Vec<Vec<(String, Program)>>;
    /// A line on what else there is to see.
    fn hint(&self) -> Option<String>;
    /// The mesh ends: what the clients of the load balancer have is the last.
    fn close(&self);
    /// How many requests each task answered, in a line for each proxy.
    fn answered(&self) -> Vec<String>;
}

/// Told where a task takes requests, and, by `None`, when it no longer does.
pub(crate) type Register = Box<dyn Fn(Option<SocketAddr>) + Send + Sync>;

/// Runs the application until Ctrl-C or SIGTERM, then drains it.
///
/// # Errors
///
/// The engine cannot start; mostly, the load balancer's port cannot be had.
pub(crate) async fn run<E: Engine>(
    options: Options,
    start: impl FnOnce(Options, Port) -> io::Result<E>,
) -> io::Result<()> {
    // First, so that a signal during the start is not lost.
    let mut signals = Signals::new([Signal::Int, Signal::Term])?;
    let front = loopback(options.port)
        .map_err(|e| io::Error::new(e.kind(), format!("{e}; --port chooses another")))?;
    let engine = start(options, front)?;
    let (notices, told) = channel::unbounded();
    let (hurry, at_once) = channel::bounded(1);
    let [mut tasks, mut proxies] = [(); 2].map(|()| Group::new(&notices, &at_once));

    // Returns when the signal comes; the notices go on for ever.
    let live = async {
        let mut up = BTreeMap::new();
        for (service, number) in options.each_task() {
            let program = task(&engine, service, number);
            tasks.start(service.task(number), program, engine.register(service, number));
        }
        all_up(&told, &mut up, options.tasks * SERVICES.len()).await?;
        for group in engine.programs() {
            let all = up.len() + group.len();
            for (name, program) in group {
                proxies.start(name, program, Box::new(|_| {}));
            }
            all_up(&told, &mut up, all).await?;
        }
        show_all(&engine, options.tasks, &up);
        show(&told).await;
        Ok(())
    };
    let signalled = async {
        signals.next().await;
        Ok(())
    };
    let result = future::or(live, signalled).await;

    say("stopping: every task finishes what it has");
    engine.close();
    drop(notices);
    let end = async {
        // As in ECS: a task's proxy outlives it.
        tasks.stop().await;
        proxies.stop().await;
    };
    let again = async {
        signals.next().await;
        say("stopping at once");
        // Every process is killed, and waited for: no file is written behind our back, and
        // what the mesh has in a folder ends with it.
        drop(hurry);
        future::pending::<()>().await;
    };
    let end = async {
        future::zip(end, show(&told)).await;
    };
    future::or(end, again).await;
    for line in engine.answered() {
        say(&line);
    }
    result
}

/// A port on loopback, 0 for a free one.
pub(crate) fn loopback(port: u16) -> io::Result<Port> {
    let ports = Port::take(&[Ipv4Addr::LOCALHOST.into()], port)?;
    ports.into_iter().next().ok_or_else(|| io::ErrorKind::AddrNotAvailable.into())
}

fn task(engine: &impl Engine, service: Service, number: usize) -> Program {
    let calls = if service == EDGE { LEAVES } else { &[] };
    let url =
        |leaf: &Service| (leaf.variable, format!("http://{}", engine.upstream(number, *leaf)));
    let environment = calls.iter().map(url).collect();
    Program::Task { service, number, ip: engine.address(service, number), environment }
}

/// Processes that are stopped together.
struct Group {
    notices: Sender<Notice>,
    stopper: Sender<()>,
    stop: Receiver<()>,
    at_once: Receiver<()>,
    running: Vec<smol::Task<()>>,
}

impl Group {
    fn new(notices: &Sender<Notice>, at_once: &Receiver<()>) -> Self {
        let (stopper, stop) = channel::bounded(1);
        let (notices, at_once) = (notices.clone(), at_once.clone());
        Self { notices, stopper, stop, at_once, running: Vec::new() }
    }

    fn start(&mut self, name: String, program: Program, register: Register) {
        let (notices, stop) = (self.notices.clone(), self.stop.clone());
        let at_once = self.at_once.clone();
        let supervisor = Supervisor { name, program, register, notices, stop, at_once };
        self.running.push(smol::spawn(supervisor.run()));
    }

    async fn stop(self) {
        drop(self.stopper);
        for running in self.running {
            running.await;
        }
    }
}

/// Where each process is, by its name.
type Places = BTreeMap<String, (SocketAddr, u32)>;

/// Shows what happens until so many processes are up. One that ends before that would end
/// again.
async fn all_up(told: &Receiver<Notice>, up: &mut Places, count: usize) -> io::Result<()> {
    while up.len() < count
        && let Ok(notice) = told.recv().await
    {
        match notice {
            Notice::Up { name, address, pid } => drop(up.insert(name, (address, pid))),
            Notice::Died { name, how, .. } => {
                return Err(io::Error::other(format!("{name} cannot start: {how}")));
            }
            Notice::Line { .. } => show_one(&notice),
        }
    }
    Ok(())
}

/// Shows what happens.
async fn show(told: &Receiver<Notice>) {
    while let Ok(notice) = told.recv().await {
        show_one(&notice);
    }
}

/// What runs where.
fn show_all(engine: &impl Engine, tasks: usize, up: &Places) {
    let mut lines = vec!["up and running".to_owned(), String::new()];
    for &service in [EDGE].iter().chain(LEAVES) {
        let front = engine.front(service).map(|at| format!("http://{at}")).unwrap_or_default();
        let name = if service == EDGE { "load balancer" } else { service.dns_name };
        lines.push(format!("  {name:<18} {front}").trim_end().to_owned());
        for number in 1..=tasks {
            let task = service.task(number);
            let (address, pid) = up[&task];
            let sidecar = up.get(&sidecar(&task)).map(|(_, pid)| format!(", Envoy {pid}"));
            let sidecar = sidecar.unwrap_or_default();
            lines.push(format!("    {task:<16} {address}, process {pid}{sidecar}"));
        }
    }
    lines.push(String::new());
    if let Some(front) = engine.front(EDGE) {
        lines.push(format!("  open http://{front} in a browser, or ask with curl:"));
        lines.push(format!("  for i in $(seq 10); do curl -w '\\n' http://{front}; done"));
    }
    lines.extend(engine.hint().map(|hint| format!("  {hint}")));
    lines.push("  Ctrl-C ends everything\n".to_owned());
    say(&lines.join("\n"));
}

/// What a task's sidecar is called, if it has one.
pub(crate) fn sidecar(task: &str) -> String {
    format!("{task}-envoy")
}

fn show_one(notice: &Notice) {
    match notice {
        Notice::Up { name, address, pid } => {
            say(&format!("{name} is up again: {address}, process {pid}"));
        }
        Notice::Died { name, how, delay } => {
            say(&format!("{name} ended ({how}); it is started again in {delay:?}"));
        }
        Notice::Line { name, line } => print(name, line),
    }
}

fn say(text: &str) {
    print("mesh", text);
}

/// One line, with who says it in front; on a terminal the tasks' own lines are dim.
fn print(who: &str, text: &str) {
    let dim = who != "mesh" && io::stdout().is_terminal();
    let (on, off) = if dim { ("\x1b[2m", "\x1b[0m") } else { ("", "") };
    // Nobody may be there to read it any more: the mesh runs on.
    let _ = writeln!(io::stdout(), "{on}{who:<11} | {text}{off}");
}
