//! The files the proxies of a mesh read: what AWS's control plane tells them in ECS.
//!
//! | file | what it holds |
//! |---|---|
//! | `name-1/envoy.json` | the configuration of that task's sidecar |
//! | `name-1/admin.sock` | where that sidecar is asked for its statistics |
//! | `name-1/application.json` | where its application listens |
//! | `name-service.json` | which of the service's tasks take requests |
//! | `name-service-test.json` | which of them take its test traffic |
//!
//! Envoy reads the last three again each time they are replaced.

use std::collections::BTreeMap;
use std::fs::{self, DirBuilder, File};
use std::io;
use std::net::SocketAddr;
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use application::{SERVICES, Service};
use envoy_config::{APPLICATION, Bootstrap, endpoints, test_name};
use parking_lot::Mutex;
use serde_json::Value;

use super::addresses::{TURNS, address_in_turn};
use crate::folders::Place;
use crate::task::{Task, Traffic};

/// What the load balancer is called among the proxies.
pub(super) const LOAD_BALANCER: &str = "load-balancer";

/// What the names of such folders begin with.
const PREFIX: &str = "mesh-envoys-";
/// How many names are tried: another mesh may have one.
const NAMES: u32 = 16;

/// A folder for one mesh; removed with it.
pub(super) struct Folder {
    path: PathBuf,
    /// The folder itself, locked for as long as the mesh lives, however it ends.
    _held: File,
    /// The sidecars' port.
    port: u16,
    members: Mutex<BTreeMap<Task, Member>>,
}

/// What is known of a task.
#[derive(Default)]
pub(super) struct Member {
    /// Where its application takes requests.
    pub(super) application: Option<SocketAddr>,
    pub(super) sidecar_is_up: bool,
    pub(super) traffic: Traffic,
    /// Which of its addresses it has: each of its processes has another than the last.
    turn: u8,
}

impl Folder {
    /// Makes it. There is no task yet.
    pub(super) fn new(port: u16) -> io::Result<Self> {
        let (path, held) = make()?;
        let folder = Self { path, _held: held, port, members: Mutex::default() };
        for &service in SERVICES {
            folder.list(service, &BTreeMap::new())?;
        }
        Ok(folder)
    }

    /// The configuration of a proxy.
    pub(super) fn bootstrap(&self, proxy: &str) -> PathBuf {
        self.path.join(proxy).join("envoy.json")
    }

    /// The socket of a proxy.
    pub(super) fn admin(&self, proxy: &str) -> PathBuf {
        admin(&self.path, proxy)
    }

    /// Where a task's application listens.
    pub(super) fn application(&self, task: Task) -> PathBuf {
        self.path.join(task.to_string()).join("application.json")
    }

    /// The tasks of a service, or those of its test traffic.
    pub(super) fn service(&self, service: Service, traffic: Traffic) -> PathBuf {
        self.path.join(cluster(service, traffic)).with_extension("json")
    }

    /// Writes the configuration of a proxy.
    pub(super) fn configure(&self, bootstrap: &Bootstrap) -> io::Result<()> {
        replace(&self.bootstrap(&bootstrap.name), &bootstrap.json())
    }

    /// Tells the proxies of a change to a task.
    pub(super) fn change(&self, task: Task, change: impl FnOnce(&mut Member)) -> io::Result<()> {
        let mut members = self.members.lock();
        let member = members.entry(task).or_default();
        let before = member.application;
        change(member);
        if member.application.is_some() && member.application != before {
            member.turn = (member.turn + 1) % TURNS;
        }
        // Without one, what is on its way still finds the last.
        if let Some(application) = member.application.filter(|_| member.application != before) {
            replace(&self.application(task), &endpoints(APPLICATION, [application]))?;
        }
        self.list(task.service, &members)
    }

    /// Forgets a task that has ended.
    pub(super) fn remove(&self, task: Task) -> io::Result<()> {
        let mut members = self.members.lock();
        // Its turn stays: the next one of that name has another address too.
        if let Some(member) = members.get_mut(&task) {
            *member = Member { turn: member.turn, ..Member::default() };
        }
        self.list(task.service, &members)
    }

    /// Where the other proxies find a task, or found it last.
    pub(super) fn address(&self, task: Task) -> SocketAddr {
        let turn = self.members.lock().get(&task).map_or(0, |member| member.turn);
        address_in_turn(task, turn, self.port)
    }

    /// Lists the tasks that take requests: those with an application and a sidecar. While none
    /// takes test traffic, production does.
    fn list(&self, service: Service, members: &BTreeMap<Task, Member>) -> io::Result<()> {
        let up = |traffic| -> Vec<_> {
            let up = members.iter().filter(|(task, member)| {
                task.service == service
                    && member.traffic == traffic
                    && member.application.is_some()
                    && member.sidecar_is_up
            });
            up.map(|(task, member)| address_in_turn(*task, member.turn, self.port)).collect()
        };
        let production = up(Traffic::Production);
        let test = Some(up(Traffic::Test)).filter(|tasks| !tasks.is_empty());
        let test = test.unwrap_or_else(|| production.clone());
        for (traffic, tasks) in [(Traffic::Production, production), (Traffic::Test, test)] {
            let list = endpoints(&cluster(service, traffic), tasks);
            replace(&self.service(service, traffic), &list)?;
        }
        Ok(())
    }
}

/// What Envoy calls the tasks of a service that get such requests.
fn cluster(service: Service, traffic: Traffic) -> String {
    match traffic {
        Traffic::Production => service.dns_name.to_owned(),
        Traffic::Test => test_name(service.dns_name),
    }
}

/// Makes a folder that is this mesh's alone, and holds it.
fn make() -> io::Result<(PathBuf, File)> {
    let place = Place::temporary();
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().subsec_nanos();
    for name in now..=now + NAMES {
        let path = place.folder.join(format!("{PREFIX}{name:08x}"));
        let longest = Task::longest().chain([LOAD_BALANCER.to_owned()]);
        for proxy in longest {
            place.has_room_for(&admin(&path, &proxy))?;
        }
        // Whoever reaches an admin socket can stop its proxy.
        let made = DirBuilder::new().mode(0o700).create(&path).and_then(|()| hold(&path));
        match made {
            Ok(Some(held)) => return Ok((path, held)),
            Ok(None) => {}
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(place.refused(&path, error)),
        }
    }
    Err(place.refused(&place.folder, "it is full of what other meshes have left"))
}

/// Holds a folder, if nobody else does and it is still there.
fn hold(path: &Path) -> io::Result<Option<File>> {
    let folder = File::open(path)?;
    let is_held = folder.try_lock().is_ok();
    let is_there = fs::symlink_metadata(path).is_ok_and(|there| {
        folder.metadata().is_ok_and(|held| (held.dev(), held.ino()) == (there.dev(), there.ino()))
    });
    Ok((is_held && is_there).then_some(folder))
}

/// Removes the folders of meshes that were killed: nobody holds them.
pub(crate) fn remove_what_is_left() {
    let user = nix::unistd::geteuid().as_raw();
    // Where it cannot be read, or written to, nothing is removed.
    for entry in fs::read_dir(Place::temporary().folder).into_iter().flatten().flatten() {
        let is_ours = entry.file_name().to_str().is_some_and(|name| name.starts_with(PREFIX))
            && entry.metadata().is_ok_and(|found| found.is_dir() && found.uid() == user);
        if is_ours && let Ok(Some(_held)) = hold(&entry.path()) {
            let _ = fs::remove_dir_all(entry.path());
        }
    }
}

/// The socket of a proxy, in such a folder.
fn admin(folder: &Path, proxy: &str) -> PathBuf {
    folder.join(proxy).join("admin.sock")
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
