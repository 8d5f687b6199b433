//! The life of a mesh: its processes start, run until Ctrl-C or SIGTERM, and end.

use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;

use application::{EDGE, Kind, LEAVES, SERVICES, Service};
use async_signal::{Signal, Signals};
use chassis::Port;
use smol::channel::{self, Receiver, Sender};
use smol::future;
use smol::stream::StreamExt;

use crate::arguments::Options;
use crate::engine::{Engine, ProxyProcess, Register, front_name};
use crate::event::{EnvoyOverview, Event, Overview, ServiceOverview, TaskOverview};
use crate::loopback;
use crate::output::Output;
use crate::program::Program;
use crate::supervisor::Process;
use crate::task::Task;

/// Runs the application until Ctrl-C or SIGTERM, then drains it.
///
/// # Errors
///
/// The engine or a process cannot start; mostly, the load balancer's port is in use.
pub(crate) async fn run<E: Engine>(
    options: Options,
    start: impl FnOnce(Options, Port) -> io::Result<E>,
) -> io::Result<()> {
    // First, so that a signal during the start is not lost.
    let mut signals = Signals::new([Signal::Int, Signal::Term])?;
    let front = loopback::port(options.port)
        .map_err(|e| io::Error::new(e.kind(), format!("{e}; --port chooses another")))?;
    let front_address = front.address();
    let engine = start(options, front)?;
    let output = options.output();
    let (events, told) = channel::unbounded();
    let (hurry, at_once) = channel::bounded(1);
    let starter = Starter { events, at_once };
    let (mut tasks, mut proxies) = (Vec::new(), Vec::new());

    // Goes on until the signal comes.
    let live = async {
        let mut up = BTreeMap::new();
        for task in Task::all(options.tasks) {
            let program = program(&engine, task);
            tasks.push(starter.start(task.to_string(), program, engine.register(task)));
        }
        all_up(&told, &mut up, tasks.len(), output).await?;
        // The sidecars before the load balancer, which else would find its targets unhealthy.
        let sidecars = Task::all(options.tasks).filter_map(|task| engine.sidecar(task));
        for group in [sidecars.collect(), Vec::from_iter(engine.load_balancer())] {
            for ProxyProcess { name, program, .. } in group {
                proxies.push(starter.start(name, program, Box::new(|_| {})));
            }
            all_up(&told, &mut up, tasks.len() + proxies.len(), output).await?;
        }
        output.tell(&Event::Up(overview(&engine, front_address, options.tasks, &up)));
        tell_all(&told, output).await;
        Ok(())
    };
    let signalled = async {
        signals.next().await;
        Ok(())
    };
    let result = future::or(live, signalled).await;

    output.tell(&Event::Stopping);
    engine.close();
    drop(starter);
    let end = async {
        // As in ECS: a task's proxy outlives it.
        Process::stop(tasks).await;
        let answered = engine.answered().await;
        Process::stop(proxies).await;
        answered
    };
    let again = async {
        signals.next().await;
        output.tell(&Event::StoppingAtOnce);
        // Every process is killed, and waited for: when the mesh ends, nobody is left who could
        // still write to a file of it.
        drop(hurry);
        future::pending().await
    };
    let end = async { future::zip(end, tell_all(&told, output)).await.0 };
    for answered in future::or(end, again).await {
        output.tell(&Event::Answered(answered));
    }
    result
}

/// Starts processes that tell this mesh what becomes of them, and end with it.
struct Starter {
    events: Sender<Event>,
    at_once: Receiver<()>,
}

impl Starter {
    fn start(&self, name: String, program: Program, register: Register) -> Process {
        Process::start(name, program, register, self.events.clone(), self.at_once.clone())
    }
}

/// A task's program, which finds the services that it calls.
fn program(engine: &impl Engine, task: Task) -> Program {
    let calls = match task.service.kind {
        Kind::Edge => LEAVES,
        Kind::Leaf => &[],
    };
    let url = |leaf: &Service| (leaf.variable, format!("http://{}", engine.upstream(task, *leaf)));
    let environment = calls.iter().map(url).collect();
    Program::Task { task, ip: engine.address(task), environment }
}

/// Where each process takes requests, and its process id, by its name.
type Places = BTreeMap<String, (SocketAddr, u32)>;

/// Waits until so many processes are up, and tells what happens meanwhile.
///
/// # Errors
///
/// A process ended. It is not started again: it would end again.
async fn all_up(
    told: &Receiver<Event>,
    up: &mut Places,
    count: usize,
    output: Output,
) -> io::Result<()> {
    while up.len() < count
        && let Ok(event) = told.recv().await
    {
        match event {
            Event::Started { process, address, pid } => drop(up.insert(process, (address, pid))),
            Event::Ended { process, how, .. } => {
                return Err(io::Error::other(format!("{process} cannot start: {how}")));
            }
            other => output.tell(&other),
        }
    }
    Ok(())
}

/// Tells what happens.
async fn tell_all(told: &Receiver<Event>, output: Output) {
    while let Ok(event) = told.recv().await {
        output.tell(&event);
    }
}

/// What runs where, of a mesh that is up.
fn overview(engine: &impl Engine, address: SocketAddr, tasks: u8, up: &Places) -> Overview {
    let envoy = |process: ProxyProcess| {
        let (_, pid) = up[&process.name];
        EnvoyOverview { pid, admin: process.admin }
    };
    let task = |task: Task| {
        let name = task.to_string();
        let (address, pid) = up[&name];
        TaskOverview { name, address, pid, envoy: engine.sidecar(task).map(envoy) }
    };
    let service = |&service: &Service| ServiceOverview {
        name: service.name,
        behind: front_name(service),
        address: engine.front(service),
        envoy: engine.load_balancer().filter(|_| service == EDGE).map(envoy),
        tasks: (1..=tasks).map(|number| task(Task { service, number })).collect(),
    };
    Overview { address, services: SERVICES.iter().map(service).collect() }
}
