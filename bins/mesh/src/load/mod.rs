//! A load generator: requests on many connections, and a report of the answers.
//!
//! | module | what it is for |
//! |---|---|
//! | `pace` | when each request is due |
//! | `client` | sends requests on one connection |
//! | `failure` | the kinds of failures |
//! | `report` | counts, latencies, and their table |

mod client;
mod failure;
mod pace;
mod report;

use std::sync::Arc;
use std::time::Duration;

use async_signal::{Signal, Signals};
use parking_lot::Mutex;
use smol::stream::StreamExt as _;
use smol::{Task, Timer, future};

use crate::control::Look;
use crate::terminal::{self, Line};
use crate::value::whole;
use client::TIMEOUT;
pub(crate) use client::{Client, Target};
pub(crate) use failure::Failure;
use pace::Pace;
pub(crate) use report::{Report, responders};

/// How much load, and where.
#[derive(clap::Args)]
pub(crate) struct Options {
    /// Concurrent connections, 1 to 4096
    #[arg(long, value_name = "N", default_value_t = 32)]
    #[arg(value_parser = whole::<u16>(1..=4096), allow_negative_numbers = true)]
    connections: u16,
    /// Requests per second, sent on schedule even if answers are late: latency counts from when a
    /// request was due. Without it, each connection sends its next request after each answer
    #[arg(long, value_name = "N")]
    #[arg(value_parser = whole::<u32>(1..=1_000_000), allow_negative_numbers = true)]
    rate: Option<u32>,
    /// Duration in seconds, 1 to 3600
    #[arg(long, value_name = "N", default_value_t = 10)]
    #[arg(value_parser = whole::<u16>(1..=3600), allow_negative_numbers = true)]
    seconds: u16,
    /// `http://host[:port][/path]` [default: the load balancer of the running mesh]
    #[arg(value_parser = Target::parse)]
    url: Option<Target>,
}

/// A load that is put on in the background, until this is dropped.
pub(crate) struct Load {
    pace: Arc<Pace>,
    report: Arc<Mutex<Report>>,
    clients: Vec<Task<()>>,
}

impl Load {
    /// This many requests a second for this time, at random moments, on so many connections.
    pub(crate) fn start(
        target: &Arc<Target>,
        connections: usize,
        rate: u32,
        time: Duration,
    ) -> Self {
        let clients = (0..connections).map(|_| Client::new(target.clone()));
        Self::of(clients.collect(), Arc::new(Pace::at_random(rate, time)))
    }

    fn of(clients: Vec<Client>, pace: Arc<Pace>) -> Self {
        let report = Arc::new(Mutex::new(Report::new(clients.len())));
        let start = |(number, client): (usize, Client)| {
            smol::spawn(client.run(number, pace.clone(), report.clone()))
        };
        let clients = clients.into_iter().enumerate().map(start).collect();
        Self { pace, report, clients }
    }

    /// Waits until the clients have ended.
    async fn ended(&mut self) {
        for client in &mut self.clients {
            client.await;
        }
    }

    /// Waits for its end.
    pub(crate) async fn wait(mut self) -> Arc<Mutex<Report>> {
        self.ended().await;
        self.report
    }

    /// Ends it, with the requests that are on their way.
    pub(crate) async fn stop(self) -> Arc<Mutex<Report>> {
        self.pace.stop();
        self.wait().await
    }
}

/// Generates load until its end or Ctrl-C, and returns the report. `look` looks at the
/// mesh on this port.
///
/// # Errors
///
/// Nothing accepts connections there, or no request got a greeting.
pub(crate) fn run(
    options: Options,
    port: Option<u16>,
    look: fn(Option<u16>) -> Result<Look, String>,
) -> Result<String, String> {
    let (target, mesh) = if let Some(url) = options.url {
        (url, None)
    } else {
        let mesh = look(port)?;
        (Target::at(mesh.front), Some(mesh))
    };
    let target = Arc::new(target);
    let time = Duration::from_secs(options.seconds.into());
    let pace = Arc::new(Pace::start(options.rate, time));
    let mut first = Client::new(target.clone());
    smol::block_on(first.open())?;
    let others = (1..options.connections).map(|_| Client::new(target.clone()));
    let mut load = Load::of(std::iter::once(first).chain(others).collect(), pace.clone());
    let report = load.report.clone();
    smol::block_on(async {
        // Whatever the clients still wait for.
        let limit = async {
            Timer::at(pace.end() + TIMEOUT).await;
        };
        let end = future::or(load.ended(), future::or(limit, interrupted()));
        // It never ends.
        future::or(end, show_progress(&report)).await;
    });
    let (elapsed, never_sent) = (pace.elapsed(), pace.never_sent());
    let mut report = report.lock();
    report.ended(never_sent, options.rate);
    if let Some(Look { front, answered: Some(before) }) = mesh
        && let Some(now) = look(Some(front.port()))?.answered
    {
        report.count_answered(&before, now);
    }
    let words = report.text(elapsed);
    if report.greetings() == 0 { Err(words) } else { Ok(words) }
}

/// Waits for Ctrl-C.
async fn interrupted() {
    match Signals::new([Signal::Int]) {
        Ok(mut signals) => drop(signals.next().await),
        Err(_) => future::pending().await,
    }
}

/// Shows progress in one line that is overwritten each second, and erased at the end.
async fn show_progress(report: &Mutex<Report>) {
    if !terminal::overwrites_lines(&std::io::stderr()) {
        return future::pending().await;
    }
    let mut line = Line::default();
    let mut last = 0;
    for second in 1.. {
        Timer::after(Duration::from_secs(1)).await;
        let (greetings, errors) = {
            let report = report.lock();
            (report.greetings(), report.errors())
        };
        line.write(&format!("{second} s: {}/s, {errors} failed", greetings - last));
        last = greetings;
    }
}
