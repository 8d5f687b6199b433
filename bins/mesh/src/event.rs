//! The events of a mesh, printed by [`crate::output`] as text or JSON.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use serde::Serialize;

use crate::overview::Overview;
use crate::task::Task;

/// An event.
#[derive(Serialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub(crate) enum Event {
    /// The whole mesh takes requests.
    Up(Overview),
    /// A process takes requests; again, if it ended before.
    Started { process: String, address: SocketAddr, pid: u32, again: bool },
    /// A process ended, and is restarted after this many milliseconds.
    Ended { process: String, how: String, again_in_ms: u64 },
    /// A process wrote a line.
    Log { process: String, line: String },
    /// A command from another terminal was executed.
    Changed { what: String },
    /// The mesh is stopping: its tasks drain.
    Stopping,
    /// These processes are stopping, and have not ended yet.
    Awaited { processes: Vec<Awaited> },
    /// The mesh kills its tasks.
    StoppingAtOnce,
    /// How many requests each task of a service has answered since the start.
    Answered(Answered),
}

/// A process that is stopping.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub(crate) struct Awaited {
    pub(crate) process: String,
    pub(crate) pid: u32,
}

/// How many requests each task answered.
#[derive(Serialize)]
pub(crate) struct Answered {
    /// The proxy in front of the tasks.
    pub(crate) behind: &'static str,
    /// What was counted.
    pub(crate) counted: Counted,
    pub(crate) tasks: BTreeMap<Task, u64>,
}

/// What a proxy balances, and so counts.
#[derive(Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Counted {
    Requests,
    Connections,
}
