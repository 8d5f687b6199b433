//! A greeting, from the answers of the leaves, or the failure of one.

use std::time::Instant;

use http::StatusCode;

use crate::upstream::{Failure, Outcome};

/// The outcomes of all calls, in the order of the greeting.
#[derive(Debug)]
pub(crate) struct Greeting {
    pub(crate) outcomes: Vec<Outcome>,
    /// When the calls started.
    pub(crate) start: Instant,
}

impl Greeting {
    /// The first failure, which the client gets as the cause.
    pub(crate) fn failure(&self) -> Option<&Failure> {
        self.outcomes.iter().find_map(|outcome| outcome.line.as_ref().err())
    }

    pub(crate) fn status(&self) -> StatusCode {
        self.failure().map_or(StatusCode::OK, |failure| failure.status)
    }

    /// The line of text: this task's host and the leaves' lines; or the first failure.
    pub(crate) fn text(&self, host: &str) -> String {
        // Long enough for most.
        let mut text = String::with_capacity(128);
        text.extend(["From ", host, ":"]);
        for Outcome { line, .. } in &self.outcomes {
            match line {
                Ok(line) => text.extend([" ", line]),
                Err(failure) => return failure.to_string(),
            }
        }
        text
    }
}
