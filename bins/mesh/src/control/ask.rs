//! What can be asked of a mesh.

use std::time::Duration;

use clap::Subcommand;
use serde::{Deserialize, Serialize};

use crate::shown;
use crate::task::not_possible;
use crate::value::word;

/// How often a mesh says that it is still at what it was asked for.
pub(super) const SIGN_OF_LIFE: Duration = Duration::from_millis(500);

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
    Scale {
        #[arg(value_parser = word)]
        service: String,
        #[arg(value_parser = tasks, allow_negative_numbers = true)]
        tasks: u8,
    },
    /// Pause a task's process as it stands: it hangs
    Pause {
        #[arg(value_parser = word)]
        task: String,
    },
    /// Let a paused task go on
    Resume {
        #[arg(value_parser = word)]
        task: String,
    },
    /// Kill a task; it is started again
    Kill {
        #[arg(value_parser = word)]
        task: String,
    },
    /// Replace a task by one that misbehaves, as in 20%503,10%300ms, or by one that does not: none
    Fault {
        #[arg(value_parser = word)]
        task: String,
        #[arg(value_parser = word)]
        fault: String,
    },
    /// Replace a service's tasks, one after the other, by such of another version
    Release {
        #[arg(value_parser = word)]
        service: String,
        /// The word behind the host in their answers, or none
        #[arg(value_parser = word)]
        version: String,
        /// Start them beside the old ones, for test traffic only
        #[arg(long)]
        blue_green: bool,
    },
    /// Give a blue-green release all requests, and end what was before it
    Promote {
        #[arg(value_parser = word)]
        service: String,
    },
    /// End a blue-green release
    Rollback {
        #[arg(value_parser = word)]
        service: String,
    },
}

/// A number of tasks, which may be too many: the mesh says so too.
fn tasks(word: &str) -> Result<u8, String> {
    word.parse().map_err(|_| not_possible(shown::word(word)))
}
