//! The table of services, which everything that lists the services reads: greeter,
//! the mesh, what writes and checks the deployment files; and the justfile, whose `services` and
//! `leaves` are the lines of [`SERVICES`] below, for the shell.
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
    /// What that variable is on AWS.
    pub url: &'static str,
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

    /// The name of one of its tasks, which are counted from 1: `name-2`.
    #[must_use]
    pub fn task(self, number: usize) -> String {
        format!("{}-{number}", self.name)
    }
}

/// [`PORT`] where a text is made from it.
#[macro_export]
macro_rules! port {
    () => {
        3000
    };
}

/// The port of every service, where `PORT` does not say another: the tutorial's.
pub const PORT: u16 = port!();

macro_rules! service {
    ($kind:ident $name:ident $variable:ident) => {
        Service {
            name: stringify!($name),
            kind: Kind::$kind,
            dns_name: concat!(stringify!($name), "-service"),
            variable: stringify!($variable),
            url: concat!("http://", stringify!($name), "-service:", port!()),
        }
    };
}

macro_rules! services {
    ($(leaf $leaf:ident $leaf_variable:ident;)+ edge $edge:ident $edge_variable:ident;) => {
        /// The services that the edge calls, in the order of its greeting.
        pub const LEAVES: &[Service] = &[$(service!(Leaf $leaf $leaf_variable)),+];
        /// The service that clients call.
        pub const EDGE: Service = service!(Edge $edge $edge_variable);
        /// All of them: the leaves, then the edge.
        pub const SERVICES: &[Service] = &[$(service!(Leaf $leaf $leaf_variable)),+, EDGE];
    };
}

services! {
    leaf greeting GREETING_URL;
    leaf name NAME_URL;
    edge greeter GREETER_URL;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_service_is_named_after_its_package_everywhere() {
        for service in SERVICES {
            let Service { name, .. } = service;
            assert_eq!(service.variable, format!("{}_URL", name.to_uppercase()));
            assert_eq!(service.url, format!("http://{name}-service:{PORT}"));
            assert_eq!(Service::find(name), Some(*service));
            let manifest = format!("{}/../../bins/{name}/Cargo.toml", env!("CARGO_MANIFEST_DIR"));
            assert!(std::path::Path::new(&manifest).exists(), "there is no bins/{name}");
        }
        assert_eq!(Service::find("cook"), None);
        assert_eq!(SERVICES.split_last(), Some((&EDGE, LEAVES)));
    }
}
