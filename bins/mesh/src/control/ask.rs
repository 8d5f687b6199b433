//! What can be asked of a mesh.

use clap::Subcommand;
use serde::{Deserialize, Serialize};

/// As it is typed, and as it is sent.
#[derive(Subcommand, Serialize, Deserialize)]
#[serde(tag = "ask", rename_all = "snake_case")]
pub(crate) enum Ask {
    /// Say what runs where: tasks, addresses, versions, faults, and who is out
    Status {
        /// Say it in JSON
        #[arg(long)]
        json: bool,
    },
    /// Run so many tasks of a service: new ones are started, surplus ones drained
    Scale { service: String, tasks: u8 },
    /// Stop a task's process as it stands: it hangs
    Stop { task: String },
    /// Let a stopped task go on
    Start { task: String },
    /// Kill a task; it is started again
    Kill { task: String },
    /// Replace a task by one that misbehaves, as in 20%503,10%300ms, or by one that does not: none
    Fault { task: String, fault: String },
    /// Replace a service's tasks, one after the other, by such of another version
    Release {
        service: String,
        /// The word behind the host in their answers, or none
        version: String,
        /// Start them beside the old ones, for test traffic only
        #[arg(long)]
        blue_green: bool,
    },
    /// Give a blue-green release all requests, and end what was before it
    Promote { service: String },
    /// End a blue-green release
    Rollback { service: String },
}
