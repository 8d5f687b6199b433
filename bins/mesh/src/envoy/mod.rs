//! Envoy in the proxies' place, as ECS Service Connect has it: a sidecar for each task, and
//! one Envoy more for the load balancer.
//!
//! Every task has a loopback address of its own. There its sidecar takes the mesh's port,
//! and hands what comes in to the application. A greeter's sidecar also takes that port on
//! two virtual addresses, one for each service that greeter calls:
//!
//! | task | address | calls |
//! |---|---|---|
//! | greeter-2 | 127.0.3.2 | greeting-service at 127.255.2.1, name-service at 127.255.2.2 |
//! | greeting-2 | 127.0.1.2 | |
//! | name-2 | 127.0.2.2 | |
//!
//! | module | what it is for |
//! |---|---|
//! | `addresses` | who has which address |
//! | `find` | where Envoy is |
//! | `admin` | asks an Envoy what it has counted |
//! | `folder` | the files the proxies of a mesh read |

mod addresses;
mod admin;
mod find;
mod folder;

use std::collections::BTreeMap;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;

use application::{EDGE, Kind, LEAVES, SERVICES, Service};
use chassis::Port;
use envoy_config::{Bootstrap, Connect, Endpoints, Listener};

use crate::arguments::Options;
use crate::engine::{Engine, ProxyProcess, Register, front_name};
use crate::event::{Answered, Counted};
use crate::program::Program;
use crate::task::Task;
use addresses::{own_address, virtual_address};
use folder::Folder;

/// The proxies of a mesh.
pub(crate) struct Envoy {
    tasks: u8,
    connect: Connect,
    executable: PathBuf,
    folder: Arc<Folder>,
    /// The load balancer's port and the sidecars': the mesh holds them, and Envoy shares them.
    front: SocketAddr,
    port: u16,
    _ports: Vec<Port>,
}

impl Envoy {
    /// Takes the ports, the load balancer's being `front`, and writes the configuration.
    ///
    /// # Errors
    ///
    /// There is no Envoy, a port cannot be had, or a file cannot be written.
    pub(crate) fn new(options: Options, front: Port) -> io::Result<Self> {
        if cfg!(not(target_os = "linux")) {
            let text = "--proxy envoy gives each task a loopback address of its own, as 127.0.1.1, \
                        which only Linux has: use --proxy built-in";
            return Err(io::Error::new(io::ErrorKind::Unsupported, text));
        }
        let executable = find::find(|name| std::env::var_os(name))
            .map_err(|text| io::Error::new(io::ErrorKind::NotFound, text))?;
        let addresses: Vec<_> = Task::all(options.tasks).flat_map(addresses::all_of).collect();
        let mut ports = take_one_for_all(&addresses)?;
        let port = ports[0].address().port();
        let front_address = front.address();
        ports.push(front);
        for port in &ports {
            port.share()?;
        }
        let folder = Arc::new(Folder::new(port)?);
        let Options { tasks, connect, .. } = options;
        let envoy =
            Self { tasks, connect, executable, folder, front: front_address, port, _ports: ports };
        envoy.folder.configure(&envoy.bootstrap_of_load_balancer())?;
        for task in Task::all(options.tasks) {
            envoy.folder.configure(&envoy.bootstrap_of_sidecar(task))?;
        }
        Ok(envoy)
    }

    fn bootstrap_of_load_balancer(&self) -> Bootstrap {
        let greeters = Endpoints::File(self.folder.service(EDGE));
        let listener = Listener::load_balancer(self.front, greeters);
        self.bootstrap(LOAD_BALANCER.to_owned(), vec![listener])
    }

    fn bootstrap_of_sidecar(&self, task: Task) -> Bootstrap {
        let at = SocketAddr::new(own_address(task), self.port);
        let application = Endpoints::File(self.folder.application(task));
        let mut listeners = vec![Listener::inbound(at, application)];
        if task.service.kind == Kind::Edge {
            listeners.extend(LEAVES.iter().map(|&leaf| {
                let tasks = Endpoints::File(self.folder.service(leaf));
                Listener::outbound(leaf, self.upstream(task, leaf), tasks)
            }));
        }
        self.bootstrap(task.to_string(), listeners)
    }

    fn bootstrap(&self, name: String, listeners: Vec<Listener>) -> Bootstrap {
        let admin = Some(self.folder.admin(&name));
        Bootstrap { name, admin, connect: self.connect, listeners }
    }

    /// The process of an Envoy that is configured under this name and listens on the address.
    fn process(&self, name: &str, address: SocketAddr) -> ProxyProcess {
        let (executable, configuration) = (self.executable.clone(), self.folder.bootstrap(name));
        ProxyProcess {
            name: format!("{name}-envoy"),
            program: Program::Envoy { executable, configuration, address },
            admin: self.folder.admin(name),
        }
    }
}

/// Takes a port that is free on all of the addresses.
fn take_one_for_all(addresses: &[IpAddr]) -> io::Result<Vec<Port>> {
    // One that is free on the first of them may be in use on another.
    for _ in 1..PORT_TRIES {
        if let Ok(ports) = Port::take(addresses, 0) {
            return Ok(ports);
        }
    }
    Port::take(addresses, 0)
}

const PORT_TRIES: usize = 16;

/// What the load balancer is called among the proxies.
const LOAD_BALANCER: &str = "load-balancer";

impl Engine for Envoy {
    fn address(&self, task: Task) -> IpAddr {
        own_address(task)
    }

    fn upstream(&self, greeter: Task, leaf: Service) -> SocketAddr {
        SocketAddr::new(virtual_address(greeter, leaf), self.port)
    }

    fn front(&self, service: Service) -> Option<SocketAddr> {
        (service == EDGE).then_some(self.front)
    }

    fn register(&self, task: Task) -> Register {
        let folder = self.folder.clone();
        Box::new(move |application| {
            if let Err(error) = folder.register(task, application) {
                eprintln!("mesh: {task} is not told to Envoy: {error}");
            }
        })
    }

    fn sidecar(&self, task: Task) -> Option<ProxyProcess> {
        let address = SocketAddr::new(own_address(task), self.port);
        Some(self.process(&task.to_string(), address))
    }

    fn load_balancer(&self) -> Option<ProxyProcess> {
        Some(self.process(LOAD_BALANCER, self.front))
    }

    // Envoy's load balancer closes what its greeters close.
    fn close(&self) {}

    async fn answered(&self) -> Vec<Answered> {
        let counted = match self.connect {
            Connect::Http => Counted::Requests,
            Connect::Tcp => Counted::Connections,
        };
        let asked: Vec<_> = Task::all(self.tasks)
            .map(|task| {
                let admin = self.folder.admin(&task.to_string());
                (task, smol::spawn(admin::counter(admin, envoy_config::answered(self.connect))))
            })
            .collect();
        let mut tasks: BTreeMap<Service, BTreeMap<String, u64>> = BTreeMap::new();
        for (task, count) in asked {
            // A sidecar that does not answer has gone, with what it counted.
            if let Ok(count) = count.await {
                tasks.entry(task.service).or_default().insert(task.to_string(), count);
            }
        }
        let answered = |service: &Service| {
            let tasks = tasks.remove(service)?;
            Some(Answered { behind: front_name(*service), counted, tasks })
        };
        SERVICES.iter().filter_map(answered).collect()
    }
}
