//! The table of services, which everything that lists the services reads: greeter,
//! the mesh, what writes and checks the deployment files; and the justfile, whose `services` and
//! `leaves` are the lines of [`SERVICES`] below that begin with the kind, for the shell.
//!
//! `just new-service NAME` adds a leaf.

/// What a service is, and so how it is built: this is also the name of its Cargo profile.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// The edge calls it, and says its line. It calls nobody.
    Leaf,
    /// Clients call it, by way of the load balancer.
    Edge,
}

/// One service.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Service {
    /// As its package and its binary are called.
    pub name: &'static str,
    /// Its role.
    pub kind: Kind,
    /// As Service Connect and Copilot call it: its host name to those who call it.
    pub dns_name: &'static str,
    /// The variable that tells its callers where it is: `http://host[:port][/path]`.
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

    /// What its variable is on AWS.
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

/// The port of every service, where `PORT` does not say another: the tutorial's.
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
