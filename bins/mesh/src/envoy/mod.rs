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
//! | `find` | where Envoy is |
//! | `folder` | the files the proxies of a mesh read |

mod find;
mod folder;

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;

use application::{EDGE, LEAVES, SERVICES, Service};
use chassis::Port;
use envoy_config::{Endpoints, Listener, Proxy};

use crate::arguments::Options;
use crate::mesh::{Engine, Register, sidecar};
use crate::program::Program;
use folder::Folder;

/// The proxies of a mesh.
pub(crate) struct Envoy {
    options: Options,
    executable: PathBuf,
    folder: Arc<Folder>,
    /// The load balancer's port and the sidecars': the mesh holds them, and Envoy shares them.
    front: SocketAddr,
    port: u16,
    _ports: Vec<Port>,
}

/// Other programs' ports are free again after a while; this is how often another is tried.
const PORT_TRIES: usize = 16;

impl Envoy {
    /// Takes the ports and writes the configuration.
    ///
    /// # Errors
    ///
    /// There is no Envoy, a port cannot be had, or a file cannot be written.
    pub(crate) fn new(options: Options, front: Port) -> io::Result<Self> {
        let executable = find::find(|name| std::env::var_os(name))
            .map_err(|text| io::Error::new(io::ErrorKind::NotFound, text))?;
        let addresses: Vec<_> = (1..=options.tasks).flat_map(addresses).collect();
        let mut ports = (1..PORT_TRIES)
            .find_map(|_| Port::take(&addresses, 0).ok())
            .map_or_else(|| Port::take(&addresses, 0), Ok)?;
        let port = ports[0].address().port();
        let front_address = front.address();
        ports.push(front);
        for port in &ports {
            port.share()?;
        }
        let folder = Arc::new(Folder::new(port)?);
        let envoy = Self { options, executable, folder, front: front_address, port, _ports: ports };
        envoy.folder.configure(&envoy.load_balancer())?;
        for (service, number) in options.each_task() {
            envoy.folder.configure(&envoy.sidecar(service, number))?;
        }
        Ok(envoy)
    }

    fn load_balancer(&self) -> Proxy {
        let greeters = Endpoints::File(self.folder.service(EDGE));
        let listener = Listener::load_balancer(self.front, greeters);
        self.proxy(LOAD_BALANCER.to_owned(), vec![listener])
    }

    fn sidecar(&self, service: Service, number: usize) -> Proxy {
        let at = SocketAddr::new(address(service, number), self.port);
        let application = Endpoints::File(self.folder.application(service, number));
        let mut listeners = vec![Listener::inbound(at, application)];
        if service == EDGE {
            listeners.extend(LEAVES.iter().map(|&leaf| {
                let tasks = Endpoints::File(self.folder.service(leaf));
                Listener::outbound(leaf, self.upstream(number, leaf), tasks)
            }));
        }
        self.proxy(service.task(number), listeners)
    }

    fn proxy(&self, name: String, listeners: Vec<Listener>) -> Proxy {
        let admin = Some(self.folder.admin(&name));
        Proxy { name, admin, connect: self.options.connect, listeners }
    }

    fn program(&self, name: &str, address: SocketAddr) -> (String, Program) {
        let (executable, configuration) = (self.executable.clone(), self.folder.bootstrap(name));
        (sidecar(name), Program::Envoy { executable, configuration, address })
    }
}

/// What the load balancer is called among the proxies.
const LOAD_BALANCER: &str = "load-balancer";

/// A task's own address.
fn address(service: Service, number: usize) -> IpAddr {
    Ipv4Addr::new(127, 0, place(service, SERVICES), octet(number)).into()
}

/// Where a greeter finds a leaf; Service Connect writes such addresses to /etc/hosts.
fn virtual_address(greeter: usize, leaf: Service) -> IpAddr {
    Ipv4Addr::new(127, 255, octet(greeter), place(leaf, LEAVES)).into()
}

/// All addresses of the tasks with this number.
fn addresses(number: usize) -> impl Iterator<Item = IpAddr> {
    let own = SERVICES.iter().map(move |service| address(*service, number));
    own.chain(LEAVES.iter().map(move |leaf| virtual_address(number, *leaf)))
}

/// A service's place among others, from 1.
fn place(service: Service, among: &[Service]) -> u8 {
    octet(1 + among.iter().take_while(|other| **other != service).count())
}

fn octet(number: usize) -> u8 {
    u8::try_from(number).expect("there are at most 32 tasks of a service, and few services")
}

impl Engine for Envoy {
    fn address(&self, service: Service, number: usize) -> IpAddr {
        address(service, number)
    }

    fn upstream(&self, greeter: usize, leaf: Service) -> SocketAddr {
        SocketAddr::new(virtual_address(greeter, leaf), self.port)
    }

    fn front(&self, service: Service) -> Option<SocketAddr> {
        (service == EDGE).then_some(self.front)
    }

    fn register(&self, service: Service, number: usize) -> Register {
        let folder = self.folder.clone();
        Box::new(move |application| {
            if let Err(error) = folder.register(service, number, application) {
                eprintln!("mesh: {} is not told to Envoy: {error}", service.task(number));
            }
        })
    }

    // The sidecars before the load balancer, which else would find its targets unhealthy.
    fn programs(&self) -> Vec<Vec<(String, Program)>> {
        let sidecars = self.options.each_task().map(|(service, number)| {
            let address = SocketAddr::new(address(service, number), self.port);
            self.program(&service.task(number), address)
        });
        vec![sidecars.collect(), vec![self.program(LOAD_BALANCER, self.front)]]
    }

    fn hint(&self) -> Option<String> {
        let admin = self.folder.admin("name-1");
        Some(format!("statistics: curl --unix-socket {} http://name-1/stats", admin.display()))
    }

    fn close(&self) {}

    fn answered(&self) -> Vec<String> {
        Vec::new()
    }
}
