//! What each [`Ask`] does.

use std::sync::Arc;

use application::{SERVICES, Service};
use nix::sys::signal::Signal;

use super::ask::Ask;
use crate::orchestrator::Orchestrator;
use crate::shown;
use crate::task::Task;

/// Does what is asked: the words that say what was done.
///
/// # Errors
///
/// It cannot be done: one line that says what would be right.
pub(super) async fn carry_out(mesh: &Arc<Orchestrator>, ask: Ask) -> Result<String, String> {
    let done = match ask {
        Ask::Status { json: false } => return Ok(mesh.overview().await.lines().join("\n")),
        Ask::Status { json: true } => {
            let json = serde_json::to_string(&mesh.overview().await);
            return json.map_err(|error| error.to_string());
        }
        Ask::Scale { service, tasks } => mesh.scale(find(&service)?, tasks).await,
        Ask::Pause { task } => mesh.signal(Task::parse(&task)?, Signal::SIGSTOP),
        Ask::Resume { task } => mesh.signal(Task::parse(&task)?, Signal::SIGCONT),
        Ask::Kill { task } => mesh.signal(Task::parse(&task)?, Signal::SIGKILL),
        Ask::Fault { task, fault } => mesh.fault(Task::parse(&task)?, word(fault)).await,
        Ask::Release { service, version, blue_green: false } => {
            mesh.release(find(&service)?, word(version)).await
        }
        Ask::Release { service, version, blue_green: true } => {
            mesh.release_beside(find(&service)?, word(version)).await
        }
        Ask::Promote { service } => mesh.promote(find(&service)?).await,
        Ask::Rollback { service } => mesh.roll_back(find(&service)?).await,
    };
    done.inspect(|what| mesh.tell(what))
}

fn find(service: &str) -> Result<Service, String> {
    Service::find(service).ok_or_else(|| {
        let names: Vec<_> = SERVICES.iter().map(|service| service.name).collect();
        let service = shown::word(service);
        format!("there is no service {service}: give one of {}", names.join(", "))
    })
}

/// A variable's value; `none` is none.
fn word(value: String) -> Option<String> {
    (value != "none").then_some(value)
}
