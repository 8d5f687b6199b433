//! The files the proxies of a mesh read: what AWS's control plane tells them in ECS.
//!
//! | file | what it holds |
//! |---|---|
//! | `name-1/envoy.json` | the configuration of that task's sidecar |
//! | `name-1/admin.sock` | where that sidecar is asked for its statistics |
//! | `name-1/application.json` | where its application listens |
//! | `name-service.json` | which of the service's tasks take requests |
//!
//! Envoy reads the last two again each time they are replaced.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, DirBuilder};
use std::io;
use std::net::SocketAddr;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use application::Service;
use envoy_config::{APPLICATION, Bootstrap, endpoints};
use serde_json::Value;

use super::addresses::own_address;
use crate::task::Task;

/// A folder for one mesh; removed with it.
pub(super) struct Folder {
    path: PathBuf,
    /// The sidecars' port.
    port: u16,
    /// The addresses of each service's tasks that take requests.
    up: Mutex<BTreeMap<Service, BTreeSet<SocketAddr>>>,
}

impl Folder {
    /// Makes it. No task is registered yet.
    pub(super) fn new(port: u16) -> io::Result<Self> {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let name = format!("mesh-{}-{}", std::process::id(), now.as_micros());
        let path = std::env::temp_dir().join(name);
        // Whoever reaches an admin socket can stop its proxy.
        DirBuilder::new().mode(0o700).create(&path)?;
        Ok(Self { path, port, up: Mutex::default() })
    }

    /// The configuration of a proxy.
    pub(super) fn bootstrap(&self, proxy: &str) -> PathBuf {
        self.path.join(proxy).join("envoy.json")
    }

    /// The socket of a proxy.
    pub(super) fn admin(&self, proxy: &str) -> PathBuf {
        self.path.join(proxy).join("admin.sock")
    }

    /// Where a task's application listens.
    pub(super) fn application(&self, task: Task) -> PathBuf {
        self.path.join(task.to_string()).join("application.json")
    }

    /// The tasks of a service.
    pub(super) fn service(&self, service: Service) -> PathBuf {
        self.path.join(service.dns_name).with_extension("json")
    }

    /// Writes the configuration of a proxy.
    pub(super) fn configure(&self, bootstrap: &Bootstrap) -> io::Result<()> {
        replace(&self.bootstrap(&bootstrap.name), &bootstrap.json())
    }

    /// Tells the proxies where a task's application listens, or, by `None`, that the task
    /// takes no more requests.
    pub(super) fn register(&self, task: Task, application: Option<SocketAddr>) -> io::Result<()> {
        let mut up = self.up.lock().unwrap_or_else(PoisonError::into_inner);
        let tasks = up.entry(task.service).or_default();
        let sidecar = SocketAddr::new(own_address(task), self.port);
        if let Some(application) = application {
            let path = self.application(task);
            replace(&path, &endpoints(APPLICATION, [application]))?;
            tasks.insert(sidecar);
        } else {
            // What is on its way still finds the application.
            tasks.remove(&sidecar);
        }
        let service = task.service;
        replace(&self.service(service), &endpoints(service.dns_name, tasks.iter().copied()))
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.path);
    }
}

/// Moves a new file to the place of the old one: only so does Envoy notice.
fn replace(path: &Path, content: &Value) -> io::Result<()> {
    let failed = |error: io::Error| {
        io::Error::new(error.kind(), format!("cannot write {}: {error}", path.display()))
    };
    let new = path.with_extension("new");
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder).map_err(failed)?;
    }
    fs::write(&new, format!("{content:#}\n")).map_err(failed)?;
    fs::rename(&new, path).map_err(failed)
}
