//! A greeting: what the leaves said.

use std::time::Instant;

/// What one leaf said.
#[derive(Debug)]
pub(crate) struct Said {
    /// The leaf.
    pub(crate) service: &'static str,
    pub(crate) line: String,
}

/// What all of them said, in the order of the greeting.
#[derive(Debug)]
pub(crate) struct Greeting {
    pub(crate) said: Vec<Said>,
    /// When they were asked.
    pub(crate) start: Instant,
}

impl Greeting {
    /// The line of text: who greets, and the leaves' lines.
    pub(crate) fn text(&self, host: &str) -> String {
        // Long enough for most.
        let mut text = String::with_capacity(128);
        text.extend(["From ", host, ":"]);
        for Said { line, .. } in &self.said {
            text.push(' ');
            text.push_str(line);
        }
        text
    }
}
