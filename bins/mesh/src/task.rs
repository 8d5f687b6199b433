//! What a task is called.

use std::fmt;

use application::{SERVICES, Service};

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
}

/// Its name, as in `name-2`.
impl fmt::Display for Task {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str(&self.service.task(self.number.into()))
    }
}
