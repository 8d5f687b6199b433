//! The life of a mesh: its processes start, run until Ctrl-C or SIGTERM, and end.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use std::{fs, io};

use async_signal::{Signal, Signals};
use smol::channel::{self, Receiver};
use smol::stream::StreamExt;
use smol::{Timer, future};

use crate::arguments::{Options, Proxies};
use crate::built_in::BuiltIn;
use crate::control::Server;
use crate::engine::Engine;
use crate::envoy::Envoy;
use crate::event::{Awaited, Event};
use crate::lock::lock;
use crate::loopback;
use crate::orchestrator::Orchestrator;
use crate::program::own_binary;
use crate::supervisor::Starter;
use crate::teller::Teller;

/// When it ends, the mesh says whom it waits for, as often as this passes. Most tasks need half of
/// it.
const LONG: Duration = Duration::from_secs(2);

/// Runs the application until Ctrl-C, SIGTERM or the end of the terminal, then drains it.
///
/// # Errors
///
/// The engine or a process cannot start; mostly, the load balancer's port is in use.
pub(crate) async fn run(options: Options) -> io::Result<()> {
    // First, so that a signal during the start is not lost.
    let mut signals = Signals::new([Signal::Int, Signal::Term])?;
    if !ignores_hangup() {
        signals.add_signals([Signal::Hup])?;
    }
    let front = loopback::port(options.port())
        .map_err(|e| io::Error::new(e.kind(), format!("{e}; --port chooses another")))?;
    let address = front.address();
    let teller = Teller::start(options.output())?;
    let (events, told) = channel::unbounded();
    let (hurry, at_once) = channel::bounded(1);
    let starter = Starter { own_binary: own_binary()?, events, at_once, awaited: Arc::default() };
    let awaited = starter.awaited.clone();
    let engine = match options.proxy {
        Proxies::BuiltIn => Engine::BuiltIn(BuiltIn::new(front)?),
        Proxies::Envoy => Engine::Envoy(Envoy::new(options.tasks, options.connect, front)?),
    };
    let orchestrator = Orchestrator::new(engine, address, starter);
    let control = Server::bind(address.port()).await?;

    let live = async {
        let starting = async { orchestrator.start(options.tasks).await.map_err(io::Error::other) };
        future::or(starting, tell_of_start(&told, &teller)).await?;
        // A process is told of before it counts as up: these are all of the start.
        while let Ok(event) = told.try_recv() {
            tell_unless_started(event, &teller);
        }
        teller.tell(Event::Up(orchestrator.overview().await));
        future::or(control.serve(&orchestrator), tell_all(&told, &teller)).await
    };
    let signalled = async {
        signals.next().await;
        Ok(())
    };
    let result = future::or(live, signalled).await;

    teller.tell(Event::Stopping);
    drop(control);
    let again = async {
        // Not by SIGHUP: from a terminal that closes, both the kernel and a shell send it.
        while let Some(Ok(Signal::Hup)) = signals.next().await {}
        teller.tell(Event::StoppingAtOnce);
        // Every process is killed, and waited for: when the mesh ends, nobody is left who could
        // still write to a file of it.
        drop(hurry);
        future::pending().await
    };
    let telling = future::or(tell_all(&told, &teller), tell_who_is_awaited(&awaited, &teller));
    let end = future::or(orchestrator.stop(), telling);
    let answered = future::or(end, again).await;
    // What the last processes said.
    while let Ok(event) = told.try_recv() {
        teller.tell(event);
    }
    for answered in answered {
        teller.tell(Event::Answered(answered));
    }
    teller.finish();
    result
}

/// Tells what happens during the start: not of each process that is up, for they all will be.
async fn tell_of_start<T>(told: &Receiver<Event>, teller: &Teller) -> T {
    while let Ok(event) = told.recv().await {
        tell_unless_started(event, teller);
    }
    future::pending().await
}

fn tell_unless_started(event: Event, teller: &Teller) {
    if !matches!(event, Event::Started { .. }) {
        teller.tell(event);
    }
}

/// Tells what happens.
async fn tell_all<T>(told: &Receiver<Event>, teller: &Teller) -> T {
    while let Ok(event) = told.recv().await {
        teller.tell(event);
    }
    future::pending().await
}

/// Tells who has not ended yet, while that takes long.
async fn tell_who_is_awaited<T>(awaited: &Mutex<BTreeSet<Awaited>>, teller: &Teller) -> T {
    let mut last = BTreeSet::new();
    loop {
        Timer::after(LONG).await;
        let awaited = lock(awaited).clone();
        if !awaited.is_empty() && awaited != last {
            teller.tell(Event::Awaited { processes: awaited.iter().cloned().collect() });
            last = awaited;
        }
    }
}

/// Whether whoever started the mesh wants it to outlive the terminal, as nohup does. Only Linux says
/// so; elsewhere it ends with the terminal.
fn ignores_hangup() -> bool {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let ignored = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let ignored = ignored.and_then(|bits| u64::from_str_radix(bits.trim(), 16).ok());
    // A bit for each signal, from 1.
    ignored.is_some_and(|bits| bits >> (nix::sys::signal::SIGHUP as u32 - 1) & 1 == 1)
}
