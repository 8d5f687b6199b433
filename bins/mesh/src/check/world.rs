//! What runs behind a URL, and how it is changed.

use std::ffi::OsStr;
use std::fs;
use std::process::Stdio;
use std::time::Duration;

use serde_json::{Value, json};
use smol::Timer;
use smol::process::Command;

use super::table::Miss;
use crate::control::{self, Request};
use crate::envoy;
use crate::load::Target;
use crate::task::Task;
use crate::within::within;

/// How long Docker may take: it drains a task, and starts another.
const PATIENCE: Duration = Duration::from_mins(1);
/// How long a container that was killed is gone.
const GONE: Duration = Duration::from_secs(1);

/// What runs there.
pub(super) enum World {
    /// The mesh on this port.
    Mesh(u16),
    /// Compose's containers: the project that publishes this port.
    Compose { project: String },
    /// Nobody here can say.
    Elsewhere,
}

impl World {
    /// The mesh or the containers behind a URL of this machine.
    pub(super) async fn behind(target: &Target) -> Self {
        let Some(port) = target.port_of_this_machine() else { return Self::Elsewhere };
        if status(port).await.is_ok() {
            return Self::Mesh(port);
        }
        let publish = format!("publish={port}");
        match docker(&["ps", "--filter", &publish, "--format", &label("project")]).await {
            Ok(project) if !project.is_empty() => Self::Compose { project },
            _ => Self::Elsewhere,
        }
    }

    /// What it is, with the version of its proxies.
    pub(super) async fn describe(&self) -> Result<String, String> {
        match self {
            Self::Mesh(port) => {
                let status = status(*port).await?;
                let mut admins = tasks(&status).filter_map(|task| task["envoy"]["admin"].as_str());
                let Some(admin) = admins.next() else {
                    return Ok("a mesh with its own proxies".to_owned());
                };
                let version = envoy::version(admin.into()).await;
                let version = version.map_err(|error| format!("{admin}: {error}: ask again"))?;
                Ok(format!("a mesh with Envoy {version}"))
            }
            Self::Compose { project } => {
                let proxy = docker(&list(project, "load-balancer", "{{.Image}}")).await?;
                Ok(format!("compose.yaml with {proxy}"))
            }
            Self::Elsewhere => Ok("unknown to this machine".to_owned()),
        }
    }

    /// The tasks that it should have, if anybody here can say.
    pub(super) async fn tasks(&self) -> Result<Vec<String>, String> {
        match self {
            Self::Mesh(port) => {
                let status = status(*port).await?;
                Ok(tasks(&status).map(|task| text(&task["name"])).collect())
            }
            Self::Compose { project } => {
                let all = docker(&["ps", "--filter", &of(project), "--format", &label("service")])
                    .await?;
                Ok(all.lines().filter(|name| Task::parse(name).is_ok()).map(String::from).collect())
            }
            Self::Elsewhere => Ok(Vec::new()),
        }
    }

    /// Why its tasks are not as a mesh starts them, if they are not.
    pub(super) async fn is_changed(&self) -> Result<Option<String>, String> {
        let Self::Mesh(port) = *self else { return Ok(None) };
        let status = status(port).await?;
        let is_changed = |task: &&Value| {
            !task["fault"].is_null()
                || !task["version"].is_null()
                || task["paused"] == true
                || task["traffic"] != "production"
                || task["ejected_by"] != json!([])
        };
        let changed = tasks(&status).find(is_changed);
        Ok(changed.map(|task| text(&task["name"])))
    }

    /// Changes it as a command of the mesh does.
    pub(super) async fn ask(&self, request: Request) -> Result<(), Miss> {
        match self {
            Self::Mesh(port) => {
                let port = Some(*port);
                Ok(smol::unblock(move || control::send(port, &request)).await.map(drop)?)
            }
            Self::Compose { project } => Box::pin(change_containers(project, request)).await,
            Self::Elsewhere => Err(Miss::NotHere("nobody here can change it".to_owned())),
        }
    }
}

async fn status(port: u16) -> Result<Value, String> {
    smol::unblock(move || control::status(port)).await
}

fn tasks(status: &Value) -> impl Iterator<Item = &Value> {
    control::list(&status["services"]).flat_map(|service| control::list(&service["tasks"]))
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

/// What a mesh would do, with containers.
async fn change_containers(project: &str, request: Request) -> Result<(), Miss> {
    let (task, words) = match &request {
        Request::Fault { task, fault } => return Ok(replace(project, task, fault).await?),
        Request::Pause { task } => (task, &["pause"][..]),
        Request::Resume { task } => (task, &["unpause"][..]),
        // Docker starts none again that was killed by hand.
        Request::Kill { task } => (task, &["kill", "start"][..]),
        _ => return Err(Miss::NotHere("compose.yaml does not scale or release".to_owned())),
    };
    let container = docker(&list(project, task, "{{.ID}}")).await?;
    for word in words {
        docker(&[word, container.as_str()]).await?;
        Timer::after(GONE).await;
    }
    Ok(())
}

/// Replaces a task's container by one with this `FAULT`, or `none`.
async fn replace(project: &str, task: &str, fault: &str) -> Result<(), String> {
    let folder = docker(&list(project, task, &label("project.working_dir"))).await?;
    let files = docker(&list(project, task, &label("project.config_files"))).await?;
    // Behind it is that of the last fault.
    let file = files.split(',').next().unwrap_or_default();
    let own = std::env::temp_dir().join(format!("mesh-check-{}.json", std::process::id()));
    let shown = own.to_string_lossy();
    let plugin = docker(&["compose", "version"]).await.is_ok();
    let program = if plugin { &["docker", "compose"][..] } else { &["docker-compose"] };
    let mut words = [program, &["--project-name", project, "--file", file]].concat();
    if fault != "none" {
        let service = json!({ "services": { task: { "environment": { "FAULT": fault } } } });
        fs::write(&own, service.to_string()).map_err(|error| format!("{shown}: {error}"))?;
        words.extend(["--file", &shown]);
    }
    words.extend(["up", "--detach", "--no-build", "--no-deps", task]);
    let done = run(Command::new(words[0]).args(&words[1..]).current_dir(folder)).await;
    let _ = fs::remove_file(&own);
    done.map(drop)
}

/// Docker's format of a label of compose's.
fn label(name: &str) -> String {
    format!(r#"{{{{.Label "com.docker.compose.{name}"}}}}"#)
}

/// The containers of a project.
fn of(project: &str) -> String {
    format!("label=com.docker.compose.project={project}")
}

/// The words that list a service's container.
fn list(project: &str, service: &str, format: &str) -> [String; 7] {
    let service = format!("label=com.docker.compose.service={service}");
    ["ps", "--filter", &of(project), "--filter", &service, "--format", format].map(String::from)
}

async fn docker(words: &[impl AsRef<OsStr>]) -> Result<String, String> {
    run(Command::new("docker").args(words)).await
}

/// What a program prints.
async fn run(command: &mut Command) -> Result<String, String> {
    let output = within(PATIENCE, command.stdin(Stdio::null()).kill_on_drop(true).output()).await;
    let output = output.ok_or_else(|| format!("docker: no answer within {PATIENCE:?}"))?;
    let output = output.map_err(|error| format!("docker: {error}"))?;
    let text = |bytes| String::from_utf8_lossy(bytes).trim().to_owned();
    if !output.status.success() {
        let why = text(&output.stderr);
        return Err(format!("docker: {}", why.lines().last().unwrap_or_default()));
    }
    Ok(text(&output.stdout))
}
