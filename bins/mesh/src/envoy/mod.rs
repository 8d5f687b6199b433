//! Envoy in the proxies' place, as ECS Service Connect has it: a sidecar for each task, and
//! one Envoy more for the load balancer.
//!
//! Every task has loopback addresses of its own. There its sidecar takes the mesh's port, and
//! hands what comes in to the application. The others know one of them: another one for each
//! process that the task has had, so that it is new to them. A greeter's sidecar also takes that
//! port on two virtual addresses, one for each service that greeter calls:
//!
//! | task | addresses | calls |
//! |---|---|---|
//! | greeter-2 | 127.0.3.2 to 127.3.3.2 | greeting-service at 127.255.2.1, name-service at 127.255.2.2 |
//! | greeting-2 | 127.0.1.2 to 127.3.1.2 | |
//! | name-2 | 127.0.2.2 to 127.3.2.2 | |
//!
//! | module | what it is for |
//! |---|---|
//! | `addresses` | the loopback addresses |
//! | `admin` | reads an Envoy's statistics |
//! | `collector` | takes the Envoys' spans |
//! | `folder` | the files the proxies of a mesh read |

mod addresses;
mod admin;
mod collector;
mod folder;

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;

use application::{EDGE, Kind, Service};
use chassis::{Port, port};
use envoy_config::{Bootstrap, Connect, Endpoints, Listener};
use parking_lot::Mutex;
use smol::Async;

use crate::event::Counted;
use crate::loopback;
use crate::output::complain;
use crate::program::Program;
use crate::registration::{Register, Registration};
use crate::task::{Task, Traffic};
use crate::trace::Traces;
use addresses::{own_address, virtual_address};
use folder::{Folder, LOAD_BALANCER, Member};

pub(crate) use admin::version;
pub(crate) use folder::remove_what_is_left;

/// A process that passes requests on.
pub(crate) struct ProxyProcess {
    pub(crate) name: String,
    pub(crate) program: Program,
    pub(crate) register: Register,
    /// The Unix socket of its administration interface.
    pub(crate) admin: PathBuf,
}

/// The proxies of a mesh.
pub(crate) struct Envoy {
    connect: Connect,
    executable: PathBuf,
    folder: Arc<Folder>,
    /// The load balancer's address, and the sidecars' port.
    front: SocketAddr,
    port: u16,
    /// Both, on every address that a task has: the mesh holds them, and Envoy shares them.
    ports: Mutex<Vec<Port>>,
    /// Where they send their spans, and what takes those, with `--trace`.
    collector: Option<(SocketAddr, smol::Task<()>)>,
}

impl Envoy {
    /// Takes the ports for so many tasks of each service, the load balancer's being `front`, and
    /// writes the configuration. Their spans go to the traces, if there are any.
    ///
    /// # Errors
    ///
    /// There is no Envoy, a port cannot be had, or a file cannot be written.
    pub(crate) fn new(
        tasks: u8,
        connect: Connect,
        front: Port,
        traces: Option<Arc<Traces>>,
    ) -> io::Result<Self> {
        if cfg!(not(target_os = "linux")) {
            let text = "--proxy envoy gives each task a loopback address of its own, as 127.0.1.1, \
                        which only Linux has: use --proxy built-in";
            return Err(io::Error::new(io::ErrorKind::Unsupported, text));
        }
        let executable = envoy_config::find(|name| std::env::var_os(name))
            .map_err(|text| io::Error::new(io::ErrorKind::NotFound, text))?;
        let addresses: Vec<_> = Task::all(tasks).flat_map(addresses::all_of).collect();
        let mut ports = bind_one_for_all(&addresses)?;
        let port = ports[0].address().port();
        let front_address = front.address();
        ports.push(front);
        port::share(&ports)?;
        let (folder, ports) = (Arc::new(Folder::new(port)?), Mutex::new(ports));
        let collector = traces.map(start_collector).transpose()?;
        let front = front_address;
        let envoy = Self { connect, executable, folder, front, port, ports, collector };
        envoy.folder.configure(&envoy.bootstrap_of_load_balancer())?;
        Ok(envoy)
    }

    /// Takes a task's ports, and writes the configuration of its sidecar.
    ///
    /// # Errors
    ///
    /// A port cannot be had, or a file cannot be written.
    pub(crate) fn add(&self, task: Task, traffic: Traffic) -> io::Result<()> {
        let mut ports = self.ports.lock();
        for ip in addresses::all_of(task) {
            // The first tasks' are taken from the start.
            if !ports.iter().any(|port| port.address().ip() == ip) {
                let taken = Port::bind(&[ip], self.port)?;
                port::share(&taken)?;
                ports.extend(taken);
            }
        }
        self.folder.configure(&self.bootstrap_of_sidecar(task))?;
        self.folder.change(task, |member| member.traffic = traffic)
    }

    /// Which requests a task gets from now on.
    pub(crate) fn assign(&self, task: Task, traffic: Traffic) {
        change(&self.folder, task, |member| member.traffic = traffic);
    }

    /// Gives back what `add` took, when the task and its sidecar have ended.
    pub(crate) fn remove(&self, task: Task) {
        let its: Vec<_> = addresses::all_of(task).collect();
        self.ports.lock().retain(|port| !its.contains(&port.address().ip()));
        if let Err(error) = self.folder.remove(task) {
            complain(format!("the end of {task} is not told to Envoy: {error}"));
        }
    }

    /// Where a task is to listen.
    pub(crate) fn address(task: Task) -> IpAddr {
        own_address(task)
    }

    /// Where a greeter's sidecar takes its requests for a leaf.
    pub(crate) fn upstream(&self, greeter: Task, leaf: Service) -> SocketAddr {
        SocketAddr::new(virtual_address(greeter, leaf), self.port)
    }

    /// Where the load balancer takes requests.
    pub(crate) fn front(&self) -> SocketAddr {
        self.front
    }

    /// What a task's supervisor calls.
    pub(crate) fn register(&self, task: Task) -> Register {
        let folder = self.folder.clone();
        Box::new(move |registration| {
            change(&folder, task, |member| match registration {
                Registration::Up(address) => member.application = Some(address),
                Registration::Down(address) => {
                    member.application = member.application.filter(|current| *current != address);
                }
            });
        })
    }

    /// A task's sidecar.
    pub(crate) fn sidecar(&self, task: Task) -> ProxyProcess {
        let folder = self.folder.clone();
        let register = Box::new(move |registration| {
            let is_up = matches!(registration, Registration::Up(_));
            change(&folder, task, |member| member.sidecar_is_up = is_up);
        });
        let address = SocketAddr::new(own_address(task), self.port);
        self.process(&task.to_string(), address, register)
    }

    /// The load balancer.
    pub(crate) fn load_balancer(&self) -> ProxyProcess {
        // It is asked at its own port, whatever becomes of it.
        self.process(LOAD_BALANCER, self.front, Box::new(|_| {}))
    }

    /// What the sidecars count.
    pub(crate) fn counted(&self) -> Counted {
        match self.connect {
            Connect::Http => Counted::Requests,
            Connect::Tcp => Counted::Connections,
        }
    }

    /// How often a task has answered; `None` if its sidecar is gone.
    pub(crate) async fn answered(&self, task: Task) -> Option<u64> {
        let admin = self.folder.admin(&task.to_string());
        // A sidecar that does not answer is gone, with what it counted.
        admin::counter(admin, envoy_config::answered(self.connect)).await.ok()
    }

    /// The load balancer, or those of the greeters' sidecars, that send a task no requests.
    pub(crate) async fn ejected_by(&self, task: Task, greeters: &[Task]) -> Vec<String> {
        let callers = match task.service.kind {
            Kind::Edge => vec![LOAD_BALANCER.to_owned()],
            Kind::Leaf => greeters.iter().map(Task::to_string).collect(),
        };
        let endpoint = self.folder.address(task);
        let mut out = Vec::new();
        for caller in callers {
            if let Ok(true) = admin::is_out(self.folder.admin(&caller), endpoint).await {
                out.push(caller);
            }
        }
        out
    }

    fn bootstrap_of_load_balancer(&self) -> Bootstrap {
        let listener = Listener::load_balancer(self.front, self.tasks(EDGE, Traffic::Production));
        let listener = listener.with_test(self.tasks(EDGE, Traffic::Test));
        self.bootstrap(LOAD_BALANCER.to_owned(), vec![listener])
    }

    fn bootstrap_of_sidecar(&self, task: Task) -> Bootstrap {
        let at = addresses::inbound(task).map(|ip| SocketAddr::new(ip, self.port));
        let application = Endpoints::File(self.folder.application(task));
        let mut listeners = vec![Listener::inbound(at.collect(), application)];
        listeners.extend(task.service.calls().iter().map(|&leaf| {
            let tasks = self.tasks(leaf, Traffic::Production);
            let listener = Listener::outbound(leaf, self.upstream(task, leaf), tasks);
            match self.connect {
                Connect::Http => listener.with_test(self.tasks(leaf, Traffic::Test)),
                Connect::Tcp => listener,
            }
        }));
        self.bootstrap(task.to_string(), listeners)
    }

    fn tasks(&self, service: Service, traffic: Traffic) -> Endpoints {
        Endpoints::File(self.folder.service(service, traffic))
    }

    fn bootstrap(&self, name: String, listeners: Vec<Listener>) -> Bootstrap {
        let admin = Some(self.folder.admin(&name));
        let collector = self.collector.as_ref().map(|(address, _)| *address);
        Bootstrap { name, admin, connect: self.connect, listeners, collector }
    }

    /// The process of an Envoy that is configured under this name and listens on the address.
    fn process(&self, name: &str, address: SocketAddr, register: Register) -> ProxyProcess {
        let (executable, configuration) = (self.executable.clone(), self.folder.bootstrap(name));
        ProxyProcess {
            name: format!("{name}-envoy"),
            program: Program::Envoy { executable, configuration, address },
            register,
            admin: self.folder.admin(name),
        }
    }
}

fn start_collector(traces: Arc<Traces>) -> io::Result<(SocketAddr, smol::Task<()>)> {
    let port = loopback::port(0)?;
    let address = port.address();
    let listener = Async::new(port.listen()?)?;
    Ok((address, smol::spawn(collector::collect(listener, traces))))
}

/// Takes a port that is free on all of the addresses.
fn bind_one_for_all(addresses: &[IpAddr]) -> io::Result<Vec<Port>> {
    // One that is free on the first of them may be in use on another.
    for _ in 1..PORT_TRIES {
        if let Ok(ports) = Port::bind(addresses, 0) {
            return Ok(ports);
        }
    }
    Port::bind(addresses, 0)
}

const PORT_TRIES: usize = 16;

/// Changes what the proxies know of a task. Who calls this has no use for an error.
fn change(folder: &Folder, task: Task, change: impl FnOnce(&mut Member)) {
    if let Err(error) = folder.change(task, change) {
        complain(format!("{task} is not told to Envoy: {error}"));
    }
}
