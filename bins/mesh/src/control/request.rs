//! The commands that a running mesh takes.

use std::time::Duration;

use clap::Subcommand;
use serde::{Deserialize, Serialize};

use crate::value::{whole, word};

/// How often a busy mesh tells its client that it is alive.
pub(super) const HEARTBEAT: Duration = Duration::from_millis(500);
use crate::escape;
use crate::task::not_possible;

/// A command, as it is typed and as it is sent to the mesh.
#[derive(Subcommand, Serialize, Deserialize)]
#[serde(tag = "ask", rename_all = "snake_case")]
pub(crate) enum Request {
    /// Show tasks, addresses, versions, faults, and which tasks are ejected
    Status {
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Show where the time of the next request goes, or of requests that came before
    Trace {
        /// The slowest so many of those that are kept, 1 to 1000
        #[arg(long, value_name = "N", value_parser = whole(1..=1000_u16), allow_negative_numbers = true)]
        slowest: Option<u16>,
        /// Only those that failed; the last ten
        #[arg(long)]
        failed: bool,
        /// Print JSON, as Zipkin has it
        #[arg(long)]
        json: bool,
    },
    /// Set how many tasks a service has; surplus tasks are drained
    Scale {
        /// Name of the service
        #[arg(value_parser = word)]
        service: String,
        /// Number of tasks
        #[arg(value_parser = tasks, allow_negative_numbers = true)]
        tasks: u8,
    },
    /// Suspend a task's process (SIGSTOP), so that it hangs
    Pause {
        /// Name of the task, such as name-1
        #[arg(value_parser = word)]
        task: String,
    },
    /// Resume a paused task
    Resume {
        /// Name of the task, such as name-1
        #[arg(value_parser = word)]
        task: String,
    },
    /// Kill a task's process (SIGKILL); it is restarted
    Kill {
        /// Name of the task, such as name-1
        #[arg(value_parser = word)]
        task: String,
    },
    /// Replace a task with one that injects faults, or with a healthy one
    Fault {
        /// Name of the task, such as name-1
        #[arg(value_parser = word)]
        task: String,
        /// Faults to inject, such as 20%503,10%300ms, or none
        #[arg(value_parser = word)]
        fault: String,
    },
    /// Replace a service's tasks one by one with a new version
    Release {
        /// Name of the service
        #[arg(value_parser = word)]
        service: String,
        /// Version to show after the host name in their answers, or none
        #[arg(value_parser = word)]
        version: String,
        /// Start the new tasks beside the old ones, and send them test traffic only
        #[arg(long)]
        blue_green: bool,
    },
    /// Send all requests to the new tasks of a blue-green release, and stop the old ones
    Promote {
        /// Name of the service
        #[arg(value_parser = word)]
        service: String,
    },
    /// Stop the new tasks of a blue-green release
    Rollback {
        /// Name of the service
        #[arg(value_parser = word)]
        service: String,
    },
}

impl Request {
    /// The same in JSON, if it can be and is wanted so.
    pub(crate) fn with_json(mut self, wanted: bool) -> Self {
        if let Self::Status { json } | Self::Trace { json, .. } = &mut self {
            *json |= wanted;
        }
        self
    }
}

/// Parses a number of tasks. The mesh checks the limit again.
fn tasks(word: &str) -> Result<u8, String> {
    word.parse().map_err(|_| not_possible(escape::word(word)))
}
