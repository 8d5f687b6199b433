//! What a task is called, and its variables.

use std::fmt;

use application::{Kind, SERVICES, Service};
use chassis::settings::{self, Invalid};
use leaf::check_fault;
use serde::{Serialize, Serializer};

use crate::shown;

/// Tasks of one service; more would only share the same CPUs. A blue-green release has as many
/// again.
pub(crate) const MAX_TASKS: u8 = 32;

/// Refuses so many tasks.
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
    /// The tasks of a mesh that has so many of each service.
    pub(crate) fn all(of_each: u8) -> impl Iterator<Item = Self> {
        let tasks = move |&service| (1..=of_each).map(move |number| Self { service, number });
        SERVICES.iter().flat_map(tasks)
    }

    /// One task of each service, with the longest name it can have.
    pub(crate) fn longest() -> impl Iterator<Item = String> {
        SERVICES.iter().map(|&service| Self { service, number: u8::MAX }.to_string())
    }

    /// Finds a task by its name.
    pub(crate) fn parse(name: &str) -> Result<Self, String> {
        let parts = name.rsplit_once('-');
        let task = parts.and_then(|(service, number)| {
            let task = Self { service: Service::find(service)?, number: number.parse().ok()? };
            (task.to_string() == name).then_some(task)
        });
        task.ok_or_else(|| {
            let name = shown::word(name);
            format!("{name} names no task: give a service and a number, as in name-1")
        })
    }
}

/// What a service's callers have before its tasks, in words.
pub(crate) fn front_name(service: Service) -> &'static str {
    match service.kind {
        Kind::Edge => "load balancer",
        Kind::Leaf => service.dns_name,
    }
}

/// The variables that change what a task is: a changed one makes a new task.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Variables {
    /// The word behind the host in its answers.
    pub(crate) version: Option<String>,
    /// How it misbehaves.
    pub(crate) fault: Option<String>,
}

impl Variables {
    /// Whether a task would start with them.
    ///
    /// # Errors
    ///
    /// One of them is wrong: what would be right.
    pub(crate) fn check(&self) -> Result<(), String> {
        let or_none = |invalid: Invalid| format!("{invalid}, or give none");
        if let Some(fault) = &self.fault {
            check_fault(fault).map_err(or_none)?;
        }
        match &self.version {
            None => Ok(()),
            // To a task, that is none; to who typed it, it is a word that is missing.
            Some(word) if word.is_empty() => {
                Err(Invalid::new("VERSION", word, "is no word: give one"))
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
    /// Those of everybody.
    #[default]
    Production,
    /// Only those with the header [`envoy_config::policy::TEST_HEADER`]. Such requests go to
    /// production where no task is up for them.
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
