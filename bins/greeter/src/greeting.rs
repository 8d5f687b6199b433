//! A greeting: what the leaves said, or why one did not.

use std::time::Instant;

use http1::Status;

use crate::upstream::{Failure, Said};

/// What came of asking all of them, in the order of the greeting.
#[derive(Debug)]
pub(crate) struct Greeting {
    pub(crate) said: Vec<Said>,
    /// When they were asked.
    pub(crate) start: Instant,
}

impl Greeting {
    /// The first failure, which is the one that the client is told.
    pub(crate) fn failure(&self) -> Option<&Failure> {
        self.said.iter().find_map(|said| said.line.as_ref().err())
    }

    pub(crate) fn status(&self) -> Status {
        self.failure().map_or(Status::Ok, |failure| failure.status)
    }

    /// The line of text: who greets, and the leaves' lines; or the first failure.
    pub(crate) fn text(&self, host: &str) -> String {
        // Long enough for most.
        let mut text = String::with_capacity(128);
        text.extend(["From ", host, ":"]);
        for Said { line, .. } in &self.said {
            match line {
                Ok(line) => text.extend([" ", line]),
                Err(failure) => return failure.to_string(),
            }
        }
        text
    }
}
