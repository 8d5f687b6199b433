//! A task's name and variables.

use std::fmt;

use application::{Kind, SERVICES, Service};
use chassis::settings::{self, Invalid};
use leaf::check_fault;
use serde::{Serialize, Serializer};

use crate::escape;

/// Tasks of one service; more would only share the same CPUs. A blue-green release has as many
/// again.
pub(crate) const MAX_TASKS: u8 = 32;

/// The error for an impossible number of tasks.
pub(crate) fn not_possible(tasks: impl fmt::Display) -> String {
    format!("{tasks} tasks are not possible: give 1 to {MAX_TASKS}")
}

/// One of a service's tasks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Task {
    pub(crate) service: Service,
    /// From 1.
    pub(crate) number: u8,
}

impl Task {
    /// The tasks of a mesh with this many of each service.
    pub(crate) fn all(of_each: u8) -> impl Iterator<Item = Self> {
        let tasks = move |&service| (1..=of_each).map(move |number| Self { service, number });
        SERVICES.iter().flat_map(tasks)
    }

    /// One task of each service, with the longest name it can have.
    pub(crate) fn longest() -> impl Iterator<Item = String> {
        SERVICES.iter().map(|&service| Self { service, number: u8::MAX }.to_string())
    }

    /// Parses a task's name.
    pub(crate) fn parse(name: &str) -> Result<Self, String> {
        let parts = name.rsplit_once('-');
        let task = parts.and_then(|(service, number)| {
            let task = Self { service: Service::find(service)?, number: number.parse().ok()? };
            (task.to_string() == name).then_some(task)
        });
        task.ok_or_else(|| {
            let name = escape::word(name);
            format!("{name} is not a task: give a service and a number, as in name-1")
        })
    }
}

/// Finds a service by its name.
///
/// # Errors
///
/// There is none: the message has those that there are.
pub(crate) fn find_service(name: &str) -> Result<Service, String> {
    Service::find(name).ok_or_else(|| {
        let names: Vec<_> = SERVICES.iter().map(|service| service.name).collect();
        let name = escape::word(name);
        format!("there is no service {name}: give one of {}", names.join(", "))
    })
}

/// The name of the proxy in front of a service's tasks.
pub(crate) fn front_name(service: Service) -> &'static str {
    match service.kind {
        Kind::Edge => "load balancer",
        Kind::Leaf => service.dns_name,
    }
}

/// The variables of a task; changing one replaces the task.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Variables {
    /// The version after the host name in its answers.
    pub(crate) version: Option<String>,
    /// The faults that it injects.
    pub(crate) fault: Option<String>,
}

impl Variables {
    /// Checks that a task would start with them.
    ///
    /// # Errors
    ///
    /// One of them is invalid: the message has the remedy.
    pub(crate) fn check(&self) -> Result<(), String> {
        let or_none = |invalid: Invalid| format!("{invalid}, or give none");
        if let Some(fault) = &self.fault {
            check_fault(fault).map_err(or_none)?;
        }
        match &self.version {
            None => Ok(()),
            // A task would take it for none, but on a command line it is a missing argument.
            Some(word) if word.is_empty() => {
                Err(Invalid::new("VERSION", word, "is not a version: give one"))
            }
            Some(word) => {
                settings::host(&|variable| (variable == "VERSION").then(|| word.into())).map(drop)
            }
        }
        .map_err(or_none)
    }
}

/// Which requests a task gets.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Traffic {
    /// All requests.
    #[default]
    Production,
    /// Only requests with the header [`envoy_config::policy::TEST_HEADER`]. If no such task is up,
    /// these requests go to production.
    Test,
}

/// Its name, as in `name-2`.
impl fmt::Display for Task {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str(&self.service.task(self.number.into()))
    }
}

impl Serialize for Task {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}
