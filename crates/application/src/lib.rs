//! The table of services. Greeter, the mesh, and the crates that write and check the deployment files
//! read it; so does the justfile, by the kind at the start of each line of [`SERVICES`].
//!
//! `just new-service NAME` adds a leaf.

/// The role of a service, and the name of its Cargo profile.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// The edge calls it, and puts its line into the greeting. It calls nobody.
    Leaf,
    /// Clients call it, by way of the load balancer.
    Edge,
}

/// One service.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Service {
    /// The name of its package and its binary.
    pub name: &'static str,
    /// Its role.
    pub kind: Kind,
    /// Its name in Service Connect and Copilot, and its host name for callers.
    pub dns_name: &'static str,
    /// The variable with its URL for callers: `http://host[:port][/path]`.
    pub variable: &'static str,
}

impl Service {
    /// Finds a service by its name.
    #[must_use]
    pub fn find(name: &str) -> Option<Self> {
        SERVICES.iter().copied().find(|service| service.name == name)
    }

    /// The services that it calls.
    #[must_use]
    pub const fn calls(self) -> &'static [Self] {
        match self.kind {
            Kind::Edge => LEAVES,
            Kind::Leaf => &[],
        }
    }

    /// The value of its variable on AWS.
    #[must_use]
    pub fn url(self) -> String {
        format!("http://{}:{PORT}", self.dns_name)
    }

    /// The name of one of its tasks, which are counted from 1: `name-2`.
    #[must_use]
    pub fn task(self, number: usize) -> String {
        format!("{}-{number}", self.name)
    }
}

/// The default port of every service: the tutorial's.
pub const PORT: u16 = 3000;

/// All of them: the leaves, in the order of the greeting, then the edge.
pub const SERVICES: &[Service] = &[
    leaf("greeting", "greeting-service", "GREETING_URL"),
    leaf("name", "name-service", "NAME_URL"),
    edge("greeter", "greeter-service", "GREETER_URL"),
];

/// The service that clients call.
pub const EDGE: Service = *SERVICES.last().unwrap();
/// The services that the edge calls.
pub const LEAVES: &[Service] = SERVICES.split_last().unwrap().1;

const fn leaf(name: &'static str, dns_name: &'static str, variable: &'static str) -> Service {
    Service { kind: Kind::Leaf, name, dns_name, variable }
}

const fn edge(name: &'static str, dns_name: &'static str, variable: &'static str) -> Service {
    Service { kind: Kind::Edge, name, dns_name, variable }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_service_is_named_after_its_package_everywhere() {
        for service in SERVICES {
            let Service { name, .. } = service;
            assert_eq!(service.variable, format!("{}_URL", name.to_uppercase()));
            assert_eq!(service.dns_name, format!("{name}-service"));
            assert_eq!(Service::find(name), Some(*service));
            let manifest = format!("{}/../../bins/{name}/Cargo.toml", env!("CARGO_MANIFEST_DIR"));
            assert!(std::path::Path::new(&manifest).exists(), "there is no bins/{name}");
        }
        assert_eq!(Service::find("cook"), None);
        assert_eq!(EDGE.kind, Kind::Edge);
        assert!(LEAVES.iter().all(|leaf| leaf.kind == Kind::Leaf));
    }
}
