//! The life of a mesh: its processes start, run until Ctrl-C or SIGTERM, and end.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;
use std::{fs, io};

use async_signal::{Signal, Signals};
use parking_lot::Mutex;
use smol::channel::{self, Receiver};
use smol::stream::StreamExt;
use smol::{Timer, future};

use crate::arguments::{Options, Proxies};
use crate::built_in::BuiltIn;
use crate::control::Server;
use crate::engine::Engine;
use crate::envoy::Envoy;
use crate::event::{Awaited, Event};
use crate::loopback;
use crate::orchestrator::Orchestrator;
use crate::printer::Printer;
use crate::program::own_binary;
use crate::supervisor::Starter;
use crate::trace::Traces;
use crate::user_program::UserPrograms;
use crate::watch::watch;

/// How often a stopping mesh prints which processes it waits for. Most tasks need half of this.
const LONG: Duration = Duration::from_secs(2);

/// Runs the application until Ctrl-C, SIGTERM or the end of the terminal, then drains it.
///
/// # Errors
///
/// The engine or a process cannot start; mostly, the load balancer's port is in use.
pub(crate) async fn run(options: Options, programs: UserPrograms) -> io::Result<()> {
    // First, so that a signal during the start is not lost.
    let mut signals = Signals::new([Signal::Int, Signal::Term])?;
    if !ignores_hangup() {
        signals.add_signals([Signal::Hup])?;
    }
    let front = loopback::port(options.port())
        .map_err(|e| io::Error::new(e.kind(), format!("{e}; --port chooses another")))?;
    let address = front.address();
    let printer = Printer::start(options.output())?;
    let (sender, events) = channel::unbounded();
    let (stop_at_once, at_once) = channel::bounded(1);
    let starter =
        Starter { own_binary: own_binary()?, events: sender, at_once, awaited: Arc::default() };
    let awaited = starter.awaited.clone();
    let traces = options.trace.then(Arc::<Traces>::default);
    let engine = match options.proxy {
        Proxies::BuiltIn => Engine::BuiltIn(BuiltIn::new(front, traces.as_ref())?),
        Proxies::Envoy => {
            let traces = traces.clone();
            Engine::Envoy(Envoy::new(options.tasks, options.connect, front, traces)?)
        }
    };
    let orchestrator = Orchestrator::new(engine, address, starter, programs, traces);
    let control = Server::bind(address.port()).await?;

    let live = async {
        let starting = async { orchestrator.start(options.tasks).await.map_err(io::Error::other) };
        future::or(starting, print_start(&events, &printer)).await?;
        // A process reports its start before it counts as up, so these events are all of the start.
        while let Ok(event) = events.try_recv() {
            print_unless_started(event, &printer);
        }
        printer.print(Event::Up(orchestrator.overview().await));
        let watching = async {
            match options.watch {
                Some(path) => watch(path, &orchestrator).await,
                None => future::pending().await,
            }
        };
        let serving = future::or(control.serve(&orchestrator), watching);
        future::or(serving, print_all(&events, &printer)).await
    };
    let signalled = async {
        signals.next().await;
        Ok(())
    };
    let result = future::or(live, signalled).await;

    printer.print(Event::Stopping);
    drop(control);
    let again = async {
        // Not by SIGHUP: from a terminal that closes, both the kernel and a shell send it.
        while let Some(Ok(Signal::Hup)) = signals.next().await {}
        printer.print(Event::StoppingAtOnce);
        // Every process is killed and waited for: when the mesh ends, none can still write to its
        // files.
        drop(stop_at_once);
        future::pending().await
    };
    let printing = future::or(print_all(&events, &printer), print_awaited(&awaited, &printer));
    let end = future::or(orchestrator.stop(), printing);
    let answered = future::or(end, again).await;
    // The events of the last processes.
    while let Ok(event) = events.try_recv() {
        printer.print(event);
    }
    for answered in answered {
        printer.print(Event::Answered(answered));
    }
    printer.finish();
    result
}

/// Prints events during the start, but not each process's own start.
async fn print_start<T>(events: &Receiver<Event>, printer: &Printer) -> T {
    while let Ok(event) = events.recv().await {
        print_unless_started(event, printer);
    }
    future::pending().await
}

fn print_unless_started(event: Event, printer: &Printer) {
    if !matches!(event, Event::Started { .. }) {
        printer.print(event);
    }
}

/// Prints events.
async fn print_all<T>(events: &Receiver<Event>, printer: &Printer) -> T {
    while let Ok(event) = events.recv().await {
        printer.print(event);
    }
    future::pending().await
}

/// Prints which processes have not ended yet, while stopping takes long.
async fn print_awaited<T>(awaited: &Mutex<BTreeSet<Awaited>>, printer: &Printer) -> T {
    let mut last = BTreeSet::new();
    loop {
        Timer::after(LONG).await;
        let awaited = awaited.lock().clone();
        if !awaited.is_empty() && awaited != last {
            printer.print(Event::Awaited { processes: awaited.iter().cloned().collect() });
            last = awaited;
        }
    }
}

/// Whether SIGHUP is ignored, as under nohup, so that the mesh outlives the terminal. Only Linux
/// tells; elsewhere the mesh ends with the terminal.
fn ignores_hangup() -> bool {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let ignored = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let ignored = ignored.and_then(|bits| u64::from_str_radix(bits.trim(), 16).ok());
    // A bit for each signal, from 1.
    ignored.is_some_and(|bits| bits >> (nix::sys::signal::SIGHUP as u32 - 1) & 1 == 1)
}
