//! The configuration of compose.yaml's proxies.
//!
//! There every task has a network of its own, as in ECS: its sidecar has the service's port,
//! 3000, on all addresses, and its application another one. The virtual addresses are in
//! /etc/hosts, where Service Connect writes them too.

use std::fs;
use std::io;
use std::net::Ipv4Addr;
use std::path::Path;

use application::{EDGE, LEAVES, PORT, Service};
use envoy_config::{Bootstrap, Connect, Endpoints, Listener};

/// The sidecars' port, the applications', and the load balancer's.
const SIDECAR: u16 = PORT;
const APPLICATIONS: u16 = PORT + 1;
const FRONT: u16 = 8080;
/// Tasks of each service.
const TASKS: usize = 2;

/// Writes the configuration of every proxy into a folder.
pub(crate) fn write(folder: &Path) -> io::Result<()> {
    for (path, content) in files() {
        fs::write(folder.join(path), content)?;
    }
    Ok(())
}

/// Name and content of the files: one for a leaf's sidecar, one for a greeter's, and two for
/// the load balancer, which asks the greeters by way of their sidecars, or themselves, as it
/// does where greeter is only a client of Service Connect.
fn files() -> impl Iterator<Item = (String, String)> {
    let front = |name, port| {
        let front = (Ipv4Addr::UNSPECIFIED, FRONT).into();
        proxy(name, vec![Listener::load_balancer(front, tasks(EDGE, port))])
    };
    let leaf = proxy("leaf", vec![inbound()]);
    let outbound = |(last, leaf): (u8, &Service)| {
        let address = Ipv4Addr::new(127, 255, 0, last);
        Listener::outbound(*leaf, (address, SIDECAR).into(), tasks(*leaf, SIDECAR))
    };
    let listeners = [inbound()].into_iter().chain((1..).zip(LEAVES).map(outbound));
    let greeter = proxy("greeter", listeners.collect());
    let fronts = [front("load-balancer", SIDECAR), front("load-balancer-direct", APPLICATIONS)];
    fronts
        .into_iter()
        .chain([leaf, greeter])
        .map(|proxy| (format!("{}.json", proxy.name), format!("{:#}\n", proxy.json())))
}

fn proxy(name: &str, listeners: Vec<Listener>) -> Bootstrap {
    Bootstrap { name: name.to_owned(), admin: None, connect: Connect::Http, listeners }
}

fn inbound() -> Listener {
    let application = Endpoints::Hosts(vec![Ipv4Addr::LOCALHOST.to_string()], APPLICATIONS);
    Listener::inbound((Ipv4Addr::UNSPECIFIED, SIDECAR).into(), application)
}

fn tasks(service: Service, port: u16) -> Endpoints {
    Endpoints::Hosts((1..=TASKS).map(|number| service.task(number)).collect(), port)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_committed_files_are_these() {
        let folder = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../../compose"));
        for (name, content) in files() {
            let committed = fs::read_to_string(folder.join(&name)).unwrap_or_default();
            assert_eq!(committed, content, "{name} is old: cargo run -p deploy");
        }
    }
}
