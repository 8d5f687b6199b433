//! Executes each [`Request`].

use std::sync::Arc;

use nix::sys::signal::Signal;

use super::request::Request;
use crate::orchestrator::Orchestrator;
use crate::task::{Task, find_service as find};
use crate::trace::Which;

/// Executes a command, and returns a line that describes what was done.
///
/// # Errors
///
/// It is not possible: one line with the reason and the remedy.
pub(super) async fn execute(mesh: &Arc<Orchestrator>, request: Request) -> Result<String, String> {
    let done = match request {
        Request::Status { json: false } => return Ok(mesh.overview().await.lines().join("\n")),
        Request::Status { json: true } => {
            let json = serde_json::to_string(&mesh.overview().await);
            return json.map_err(|error| error.to_string());
        }
        Request::Trace { slowest: None, failed: false, json } => {
            return mesh.traces()?.next(json).await;
        }
        Request::Trace { slowest, failed, json } => {
            let traces = mesh.traces()?.clone();
            traces.settled().await;
            // A thousand take a while to write.
            return smol::unblock(move || traces.kept(Which { failed, slowest }, json)).await;
        }
        Request::Scale { service, tasks } => mesh.scale(find(&service)?, tasks).await,
        Request::Pause { task } => mesh.signal(Task::parse(&task)?, Signal::SIGSTOP),
        Request::Resume { task } => mesh.signal(Task::parse(&task)?, Signal::SIGCONT),
        Request::Kill { task } => mesh.signal(Task::parse(&task)?, Signal::SIGKILL),
        Request::Fault { task, fault } => mesh.fault(Task::parse(&task)?, word(fault)).await,
        Request::Release { service, version, blue_green: false } => {
            mesh.release(find(&service)?, word(version)).await
        }
        Request::Release { service, version, blue_green: true } => {
            mesh.release_beside(find(&service)?, word(version)).await
        }
        Request::Promote { service } => mesh.promote(find(&service)?).await,
        Request::Rollback { service } => mesh.roll_back(find(&service)?).await,
    };
    done.inspect(|what| mesh.announce(what))
}

/// A variable's value; the word `none` unsets it.
fn word(value: String) -> Option<String> {
    (value != "none").then_some(value)
}
