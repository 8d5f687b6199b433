//! compose.yaml, and the configuration of its Envoys.
//!
//! Every task has its own network, as in ECS: its sidecar listens on the service's port on all addresses,
//! and its application on the next one. The virtual addresses are in /etc/hosts, as with Service Connect.
//!
//! The edge is only a client of Service Connect, so the load balancer bypasses its sidecars. A
//! configuration that does not is there for comparison (`.ci/composed`): it is what Copilot does without
//! the patch in `copilot/greeter-service/overrides`.

use std::fmt::Write as _;
use std::net::Ipv4Addr;

use application::{EDGE, LEAVES, PORT, SERVICES, Service};
use envoy_config::{Bootstrap, Connect, Endpoints, Listener};

/// The sidecars' port, the applications', and the load balancer's.
const SIDECAR: u16 = PORT;
const APPLICATIONS: u16 = PORT + 1;
const FRONT: u16 = 8080;
/// Tasks of each service.
const TASKS: usize = 2;
/// The folder of the Envoys' configuration.
const FOLDER: &str = "compose/generated";

/// The log options of an Envoy.
const QUIET: &str = "--log-level, warning, --component-log-level, \"main:error\"";

/// Where the images come from.
enum Images<'a> {
    /// They are built here, and the Envoys read their configuration in the repository.
    Built,
    /// They are pulled, and the file is all that is needed.
    Published { registry: &'a str, tag: &'a str },
}

/// The compose.yaml of a release, which only pulls.
pub(crate) fn published(registry: &str, tag: &str) -> String {
    compose(&Images::Published { registry, tag })
}

/// Path and content of the files.
pub(crate) fn files() -> Vec<(String, String)> {
    let mut files = vec![("compose.yaml".to_owned(), compose(&Images::Built))];
    files.extend(
        proxies().into_iter().map(|proxy| {
            (format!("{FOLDER}/{}.json", proxy.name), format!("{:#}\n", proxy.json()))
        }),
    );
    files
}

/// One for the sidecar of any leaf, one for the edge's, and two for the load balancer, which
/// asks the edge's applications, or their sidecars.
fn proxies() -> [Bootstrap; 4] {
    let balancer = |name, port| {
        let front = (Ipv4Addr::UNSPECIFIED, FRONT).into();
        proxy(name, vec![Listener::load_balancer(front, tasks(EDGE, port))])
    };
    let outbound = leaf_addresses().map(|(leaf, address)| {
        Listener::outbound(leaf, (address, SIDECAR).into(), tasks(leaf, SIDECAR))
    });
    [
        balancer("load-balancer", APPLICATIONS),
        balancer("load-balancer-to-sidecars", SIDECAR),
        proxy("leaf", vec![inbound()]),
        proxy(EDGE.name, [inbound()].into_iter().chain(outbound).collect()),
    ]
}

fn proxy(name: &str, listeners: Vec<Listener>) -> Bootstrap {
    Bootstrap {
        name: name.to_owned(),
        admin: None,
        connect: Connect::Http,
        listeners,
        collector: None,
    }
}

fn inbound() -> Listener {
    let application = Endpoints::Hosts(vec![Ipv4Addr::LOCALHOST.to_string()], APPLICATIONS);
    Listener::inbound(vec![(Ipv4Addr::UNSPECIFIED, SIDECAR).into()], application)
}

fn tasks(service: Service, port: u16) -> Endpoints {
    Endpoints::Hosts((1..=TASKS).map(|number| service.task(number)).collect(), port)
}

/// Where the edge's sidecar listens for the calls to each leaf.
fn leaf_addresses() -> impl Iterator<Item = (Service, Ipv4Addr)> {
    LEAVES.iter().zip(1..).map(|(leaf, last)| (*leaf, Ipv4Addr::new(127, 255, 0, last)))
}

fn compose(from: &Images) -> String {
    let images = SERVICES.iter().map(|service| image(service, from)).collect::<String>();
    let hosts = leaf_addresses().map(|(leaf, address)| format!("\"{}:{address}\"", leaf.dns_name));
    let numbers = || 1..=TASKS;
    let leaf_tasks = LEAVES.iter().flat_map(|leaf| numbers().map(|number| leaf.task(number)));
    let edge_tasks = numbers().map(|number| EDGE.task(number));
    let built = matches!(from, Images::Built);
    let where_built = |text: &'static str| if built { text } else { "" };
    let head = match from {
        Images::Built => "\
# Written by `cargo run -p deploy`: change crates/deploy/src/compose.yaml instead.
#
# The whole application in containers, as it is on AWS: `just up`, or docker compose up.
# With images that are published, it builds nothing:
# REGISTRY=ghcr.io/OWNER/REPOSITORY TAG=1.0.0 PULL_POLICY=always docker compose up"
            .to_owned(),
        Images::Published { tag, .. } => format!(
            "\
# greeter {tag}, the whole application in containers: docker compose --file THIS-FILE up"
        ),
    };
    let mut text = include_str!("compose.yaml")
        .replace("{head}", &head)
        .replace("{where}", where_built(" What the Envoys do is in {folder}/."))
        .replace(
            "{policy}",
            where_built(
                "  # Never Docker Hub's image of this name, whoever owns it there.
  pull_policy: ${PULL_POLICY:-build}
",
            ),
        )
        .replace("{path}", where_built("--config-path, /etc/envoy.json, "))
        .replace(
            "{to sidecars}",
            where_built(
                " LOAD_BALANCER=load-balancer-to-sidecars shows what it would cost if one did.",
            ),
        )
        .replace("{leaf configuration}", &configuration(from, "leaf", "  "))
        .replace("{edge configuration}", &configuration(from, EDGE.name, "  "))
        .replace("{balancer configuration}", &configuration(from, "load-balancer", "    "))
        .replace("{images}", &images)
        .replace("{hosts}", &list(hosts))
        .replace("{leaf tasks}", &list(leaf_tasks))
        .replace("{edge tasks}", &list(edge_tasks))
        .replace("{front}", &FRONT.to_string())
        .replace("{folder}", FOLDER)
        .replace("{application port}", &APPLICATIONS.to_string())
        .replace("{edge}", EDGE.name);
    for service in [EDGE].iter().chain(LEAVES) {
        for number in numbers() {
            text += &task(service, number);
        }
    }
    text
}

fn list(items: impl Iterator<Item = String>) -> String {
    items.collect::<Vec<_>>().join(", ")
}

fn image(service: &Service, from: &Images) -> String {
    let name = service.name;
    let image = match from {
        Images::Built => format!(
            "${{REGISTRY:-greeter}}/{name}:${{TAG:-latest}}
  build: {{ context: ., args: {{ SERVICE: {name} }} }}"
        ),
        Images::Published { registry, tag } => format!("{registry}/{name}:{tag}"),
    };
    format!("x-{name}: &{name}\n  <<: *application\n  image: {image}\n\n")
}

/// How an Envoy gets its configuration: in a file (`z` is for `SELinux`), or in its command.
fn configuration(from: &Images, name: &str, indent: &str) -> String {
    if let Images::Built = from {
        let file = if name == "load-balancer" { "${LOAD_BALANCER:-load-balancer}" } else { name };
        return format!(
            "command: [{QUIET}]\n{indent}volumes: [\"./{FOLDER}/{file}.json:/etc/envoy.json:ro,z\"]"
        );
    }
    let proxy = proxies().into_iter().find(|proxy| proxy.name == name);
    let json = proxy.expect("one of proxies()").json().to_string();
    // Escapes Compose's variables and YAML's quotes.
    let json = json.replace('$', "$$").replace('\'', "''");
    format!("command: [{QUIET}, --config-yaml, '{json}']")
}

/// A task: its application and its sidecar, which owns their network.
fn task(service: &Service, number: usize) -> String {
    let (name, task) = (service.name, service.task(number));
    let sidecar = if *service == EDGE { name } else { "leaf" };
    let mut environment = format!("HOSTNAME: {task}, PORT: {APPLICATIONS}");
    for leaf in service.calls() {
        // Writing to a String cannot fail.
        let _ = write!(environment, ", {}: \"{}\"", leaf.variable, leaf.url());
    }
    format!(
        "
  {task}:
    <<: *{name}
    network_mode: service:{task}-envoy
    environment: {{ {environment} }}
  {task}-envoy:
    <<: *{sidecar}-envoy
    networks: {{ default: {{ aliases: [{task}] }} }}
"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_published_file_needs_nothing_else() {
        let text = published("ghcr.io/owner/repository", "1.2.3");
        for word in ["build", "./", "volumes", "{folder}", "${"] {
            assert!(!text.contains(word), "it has {word}");
        }
        for service in SERVICES {
            let image = format!("  image: ghcr.io/owner/repository/{}:1.2.3\n", service.name);
            assert!(text.contains(&image), "it has no {image}");
        }
        assert_eq!(text.matches("--config-yaml").count(), 3);
    }

    #[test]
    fn the_committed_files_are_these() {
        for (path, content) in files() {
            let committed = std::fs::read_to_string(crate::files::repository().join(&path));
            let committed = committed.unwrap_or_default();
            assert!(committed == content, "{path} is not as it is written: cargo run -p deploy");
        }
    }
}
