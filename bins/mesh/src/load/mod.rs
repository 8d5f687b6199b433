//! Greetings asked for from many connections at once, and what became of them.
//!
//! | module | what it is for |
//! |---|---|
//! | `pace` | when a request is due |
//! | `client` | asks on one connection |
//! | `failure` | why there was no greeting |
//! | `report` | what came of it, in words |

mod client;
mod failure;
mod pace;
mod report;

use std::io::Write as _;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_signal::{Signal, Signals};
use smol::stream::StreamExt as _;
use smol::{Timer, future};

use crate::lock::lock;
use crate::terminal;
use crate::value::whole;
use client::{Client, Site, TIMEOUT};
use pace::Pace;
use report::Report;

/// How much, and to whom.
#[derive(clap::Args)]
pub(crate) struct Options {
    /// Connections at a time, 1 to 4096
    #[arg(long, value_name = "N", default_value_t = 32)]
    #[arg(value_parser = whole::<u16>(1..=4096), allow_negative_numbers = true)]
    connections: u16,
    /// Requests a second, late or not: the time of each counts from when it was due. Without this,
    /// each connection asks as soon as it has an answer
    #[arg(long, value_name = "N")]
    #[arg(value_parser = whole::<u32>(1..=1_000_000), allow_negative_numbers = true)]
    rate: Option<u32>,
    /// How long, 1 to 3600
    #[arg(long, value_name = "N", default_value_t = 10)]
    #[arg(value_parser = whole::<u16>(1..=3600), allow_negative_numbers = true)]
    seconds: u16,
    /// `http://host[:port][/path]`; without it, the load balancer of the mesh that runs
    #[arg(value_parser = Site::parse)]
    url: Option<Site>,
}

/// Puts on the load, and waits for its end, or Ctrl-C: what came of it. `front` is where a mesh
/// takes requests.
///
/// # Errors
///
/// There is nobody to ask, or there came no greeting at all.
pub(crate) fn run(
    options: Options,
    front: impl FnOnce() -> Result<SocketAddr, String>,
) -> Result<String, String> {
    let site = Arc::new(match options.url {
        Some(url) => url,
        None => Site::at(front()?),
    });
    let time = Duration::from_secs(options.seconds.into());
    let pace = Arc::new(Pace::start(options.rate, time));
    let mut first = Client::new(site.clone());
    smol::block_on(first.reach())?;
    let clients = usize::from(options.connections);
    let report = Arc::new(Mutex::new(Report::new(clients)));
    smol::block_on(async {
        let others = (1..clients).map(|_| Client::new(site.clone()));
        let start = |(number, client): (usize, Client)| {
            smol::spawn(client.run(number, pace.clone(), report.clone()))
        };
        let all = std::iter::once(first).chain(others).enumerate();
        let clients: Vec<_> = all.map(start).collect();
        let all = async {
            for client in clients {
                client.await;
            }
        };
        // Whatever the clients are at.
        let limit = async {
            Timer::at(pace.end() + TIMEOUT).await;
        };
        let end = future::or(all, future::or(limit, interrupted()));
        // It never ends.
        future::or(end, show_progress(&report)).await;
    });
    let (elapsed, never_sent) = (pace.elapsed(), pace.never_sent());
    let mut report = lock(&report);
    report.ended(never_sent, options.rate);
    let words = report.words(elapsed);
    if report.greetings() == 0 { Err(words) } else { Ok(words) }
}

/// Waits for Ctrl-C.
async fn interrupted() {
    match Signals::new([Signal::Int]) {
        Ok(mut signals) => drop(signals.next().await),
        Err(_) => future::pending().await,
    }
}

/// A line that is written anew each second, on a terminal that can, and taken away at the end.
async fn show_progress(report: &Mutex<Report>) {
    if !terminal::writes_anew(&std::io::stderr()) {
        return future::pending().await;
    }
    let mut line = Line::default();
    let mut last = 0;
    for second in 1.. {
        Timer::after(Duration::from_secs(1)).await;
        let (greetings, errors) = {
            let report = lock(report);
            (report.greetings(), report.errors())
        };
        line.write(&format!("{second} s: {}/s, {errors} failed", greetings - last));
        last = greetings;
    }
}

/// The line of the terminal, and how much of it is written.
#[derive(Default)]
struct Line {
    written: usize,
}

impl Line {
    /// Blanks, and no codes for the terminal, take away what was there. It keeps off the last
    /// column: a line that wraps stays.
    fn write(&mut self, text: &str) {
        let mut stderr = std::io::stderr();
        let room = terminal::width(&stderr).saturating_sub(1);
        let text: String = text.chars().take(room).collect();
        let before = self.written.min(room);
        // Nobody may be there to read it.
        let _ = write!(stderr, "\r{text:before$}\r");
        self.written = text.len();
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        self.write("");
    }
}
