//! The life of a mesh: its processes start, run until Ctrl-C or SIGTERM, and end.

use std::io;

use async_signal::{Signal, Signals};
use chassis::Port;
use smol::channel::{self, Receiver};
use smol::future;
use smol::stream::StreamExt;

use crate::arguments::Options;
use crate::control::Server;
use crate::engine::Engine;
use crate::event::Event;
use crate::loopback;
use crate::orchestrator::{Orchestrator, Starter};
use crate::output::Output;

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
    let front = loopback::port(options.port())
        .map_err(|e| io::Error::new(e.kind(), format!("{e}; --port chooses another")))?;
    let address = front.address();
    let output = options.output();
    let (events, told) = channel::unbounded();
    let (hurry, at_once) = channel::bounded(1);
    let starter = Starter { events, at_once };
    let orchestrator = Orchestrator::new(start(options, front)?, address, starter);
    let control = Server::bind(address.port())?;

    let live = async {
        let starting = async { orchestrator.start(options.tasks).await.map_err(io::Error::other) };
        future::or(starting, tell_of_start(&told, output)).await?;
        // A process is told of before it counts as up: these are all of the start.
        while let Ok(event) = told.try_recv() {
            tell_unless_started(&event, output);
        }
        output.tell(&Event::Up(orchestrator.overview().await));
        future::or(control.serve(&orchestrator), tell_all(&told, output)).await
    };
    let signalled = async {
        signals.next().await;
        Ok(())
    };
    let result = future::or(live, signalled).await;

    output.tell(&Event::Stopping);
    drop(control);
    let again = async {
        signals.next().await;
        output.tell(&Event::StoppingAtOnce);
        // Every process is killed, and waited for: when the mesh ends, nobody is left who could
        // still write to a file of it.
        drop(hurry);
        future::pending().await
    };
    let end = future::or(orchestrator.stop(), tell_all(&told, output));
    let answered = future::or(end, again).await;
    // What the last processes said.
    while let Ok(event) = told.try_recv() {
        output.tell(&event);
    }
    for answered in answered {
        output.tell(&Event::Answered(answered));
    }
    result
}

/// Tells what happens during the start: not of each process that is up, for they all will be.
async fn tell_of_start<T>(told: &Receiver<Event>, output: Output) -> T {
    while let Ok(event) = told.recv().await {
        tell_unless_started(&event, output);
    }
    future::pending().await
}

fn tell_unless_started(event: &Event, output: Output) {
    if !matches!(event, Event::Started { .. }) {
        output.tell(event);
    }
}

/// Tells what happens.
async fn tell_all<T>(told: &Receiver<Event>, output: Output) -> T {
    while let Ok(event) = told.recv().await {
        output.tell(&event);
    }
    future::pending().await
}
