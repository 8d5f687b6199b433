//! Greetings asked for from many connections at once, and what became of them.
//!
//! | module | what it is for |
//! |---|---|
//! | `pace` | when a request is due |
//! | `client` | asks on one connection |
//! | `report` | what came of it, in words |

mod client;
mod pace;
mod report;

use std::io::{IsTerminal as _, Write as _};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_signal::{Signal, Signals};
use hyper::Uri;
use smol::stream::StreamExt as _;
use smol::{Timer, future};

use crate::lock::lock;
use client::{Client, Site};
use pace::Pace;
use report::Report;

/// How much, and to whom.
#[derive(clap::Args)]
pub(crate) struct Options {
    /// Connections at a time, 1 to 4096
    #[arg(long, value_name = "N", default_value_t = 32)]
    #[arg(value_parser = clap::value_parser!(u16).range(1..=4096))]
    connections: u16,
    /// Requests a second, late or not: the time of each counts from when it was due. Without this,
    /// each connection asks as soon as it has an answer
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    rate: Option<u32>,
    /// How long, 1 to 3600
    #[arg(long, value_name = "N", default_value_t = 10)]
    #[arg(value_parser = clap::value_parser!(u16).range(1..=3600))]
    seconds: u16,
    /// `http://host[:port][/path]`; without it, the load balancer of the mesh that runs
    url: Option<Uri>,
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
    let site = Arc::new(match &options.url {
        Some(url) => Site::of(url)?,
        None => Site::at(front()?),
    });
    let time = Duration::from_secs(options.seconds.into());
    let pace = Arc::new(Pace::start(options.rate, time));
    let report = Arc::new(Mutex::new(Report::default()));
    smol::block_on(async {
        let clients: Vec<_> = (0..options.connections)
            .map(|_| smol::spawn(Client::new(site.clone()).run(pace.clone(), report.clone())))
            .collect();
        let all = async {
            for client in clients {
                client.await;
            }
        };
        // Both never end.
        future::or(all, future::or(interrupted(), show_progress(&report))).await;
    });
    let mut report = std::mem::take(&mut *lock(&report));
    report.never_sent(pace.never_sent());
    let words = report.words(pace.elapsed());
    if report.greetings() == 0 { Err(words) } else { Ok(words) }
}

/// Waits for Ctrl-C.
async fn interrupted() {
    match Signals::new([Signal::Int]) {
        Ok(mut signals) => drop(signals.next().await),
        Err(_) => future::pending().await,
    }
}

/// A line that is written anew each second, on a terminal.
async fn show_progress(report: &Mutex<Report>) {
    let mut last = 0;
    for second in 1.. {
        Timer::after(Duration::from_secs(1)).await;
        let (greetings, errors) = {
            let report = lock(report);
            (report.greetings(), report.errors())
        };
        if std::io::stderr().is_terminal() {
            let line =
                format!("{second} s: {} greetings a second, {errors} errors", greetings - last);
            // Nobody may be there to read it.
            let _ = write!(std::io::stderr(), "\r\x1b[K{line}\r");
        }
        last = greetings;
    }
}
