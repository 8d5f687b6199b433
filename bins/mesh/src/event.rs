//! What happens in a mesh, as it is told: to people by [`crate::output`], to machines as JSON.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use serde::Serialize;

use crate::overview::Overview;
use crate::task::Task;

/// One thing that happened.
#[derive(Serialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub(crate) enum Event {
    /// All of the mesh takes requests.
    Up(Overview),
    /// A process takes requests; again, if it ended before.
    Started { process: String, address: SocketAddr, pid: u32, again: bool },
    /// A process ended, and is started again after so many milliseconds.
    Ended { process: String, how: String, again_in_ms: u64 },
    /// A process wrote a line.
    Log { process: String, line: String },
    /// What was asked for from another terminal is done.
    Changed { what: String },
    /// The mesh ends, when all its tasks have drained.
    Stopping,
    /// These were told to stop, and have not yet.
    Awaited { processes: Vec<Awaited> },
    /// The mesh ends without waiting for its tasks.
    StoppingAtOnce,
    /// What the tasks of a service did since the start.
    Answered(Answered),
}

/// A process that was told to stop.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub(crate) struct Awaited {
    pub(crate) process: String,
    pub(crate) pid: u32,
}

/// How often each task answered.
#[derive(Serialize)]
pub(crate) struct Answered {
    /// What passed the requests on.
    pub(crate) behind: &'static str,
    /// What was counted.
    pub(crate) counted: Counted,
    pub(crate) tasks: BTreeMap<Task, u64>,
}

/// What a proxy counts: what it balances.
#[derive(Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Counted {
    Requests,
    Connections,
}
