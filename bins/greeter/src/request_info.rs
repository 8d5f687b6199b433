//! The parts of a request's head that greeter keeps.

use http1::Head;

use crate::form::{Accepted, Form};
use crate::limits;

/// The headers that are passed on to the services: the trace context (W3C Trace Context and Baggage,
/// Envoy's and the load balancer's request ids), and Service Connect's header for test traffic of a
/// blue-green deployment. No more, because a leaf accepts 16 headers and two Envoys add theirs.
const FORWARDED: [&str; 6] = [
    "traceparent",
    "tracestate",
    "baggage",
    "x-request-id",
    "x-amzn-trace-id",
    "x-amzn-ecs-blue-green-test",
];

/// What is kept of a request.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct RequestInfo {
    pub(crate) target: Target,
    /// The form of answer that the client prefers.
    pub(crate) form: Form,
    /// The lines of the headers that are passed on, each with its CR LF.
    pub(crate) forwarded: Vec<u8>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Target {
    Health,
    /// Any other path.
    Greeting,
}

impl From<&Head<'_>> for RequestInfo {
    fn from(head: &Head) -> Self {
        let mut accepted = Accepted::nothing();
        let mut forwarded = Forwarded::default();
        for (name, value) in head.headers() {
            if !accepted.read(name, value) {
                forwarded.read(name, value);
            }
        }
        Self {
            target: if head.path == "/health" { Target::Health } else { Target::Greeting },
            form: accepted.form(),
            forwarded: forwarded.lines,
        }
    }
}

#[derive(Default)]
struct Forwarded {
    lines: Vec<u8>,
    /// Which headers are in it: one of each, or a client could use up a leaf's 16 headers.
    taken: [bool; FORWARDED.len()],
}

impl Forwarded {
    fn read(&mut self, name: &str, value: &[u8]) {
        let Some(which) = FORWARDED.iter().position(|p| p.eq_ignore_ascii_case(name)) else {
            return;
        };
        let line = [FORWARDED[which].as_bytes(), b": ", value, b"\r\n"];
        let length: usize = line.iter().map(|part| part.len()).sum();
        if !self.taken[which] && self.lines.len() + length <= limits::FORWARDED {
            self.taken[which] = true;
            for part in line {
                self.lines.extend_from_slice(part);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use http1::{Next, Requests};
    use proptest::collection::vec;
    use proptest::prelude::*;
    use proptest::sample::select;

    use super::*;

    /// What is kept of a GET with these header lines.
    fn info(target: &str, lines: &str) -> RequestInfo {
        let head = format!("GET {target} HTTP/1.1\nHost: x\n{lines}\n\n").replace('\n', "\r\n");
        let mut requests = Requests::default();
        let (used, _) = requests.advance(head.as_bytes()).unwrap();
        match requests.advance(&head.as_bytes()[used..]) {
            Ok((_, Next::Request(request))) => request.info,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn health_is_one_path() {
        for (target, expected) in [
            ("/health", Target::Health),
            ("/health?deep=1", Target::Health),
            ("http://greeter.test/health", Target::Health),
            ("http://greeter.test?deep=/health", Target::Greeting),
            ("/health/", Target::Greeting),
            ("/healthy", Target::Greeting),
            ("/a/health", Target::Greeting),
            ("http://greeter.test", Target::Greeting),
        ] {
            assert_eq!(info(target, "A: b").target, expected, "{target}");
        }
    }

    #[test]
    fn only_the_trace_is_forwarded() {
        let long = "x".repeat(limits::FORWARDED);
        let found = info(
            "/",
            &format!(
                "Cookie: secret\nTraceParent: 00-a-b-01\nX-Request-Id: 7\nBaggage: {long}\n\
                 X-Request-Id: 8\nX-Forwarded-For: 1.2.3.4\nAccept: application/json"
            ),
        );
        assert_eq!(found.forwarded, b"traceparent: 00-a-b-01\r\nx-request-id: 7\r\n");
        assert_eq!(found.form, Form::Json);
    }

    proptest! {
        /// What goes on to the services cannot break their requests.
        #[test]
        fn forwarded_headers_were_sent_and_are_bounded(
            headers in vec((
                select(&FORWARDED[..]),
                prop_oneof!["[!-~\t]{0,9}", (0..1500_usize).prop_map(|n| "x".repeat(n))],
            ), 0..12),
        ) {
            let lines: Vec<_> =
                headers.iter().map(|(n, v)| format!("{}: {v}", n.to_uppercase())).collect();
            let forwarded = info("/", &[&lines[..], &["A: b".to_owned()]].concat().join("\n")).forwarded;
            prop_assert!(forwarded.len() <= limits::FORWARDED);
            let forwarded = String::from_utf8(forwarded).unwrap();
            prop_assert!(forwarded.is_empty() || forwarded.ends_with("\r\n"));
            let forwarded: Vec<_> =
                forwarded.split_terminator("\r\n").map(|line| line.split_once(": ").unwrap()).collect();
            for (name, value) in &forwarded {
                prop_assert!(headers.iter().any(|(n, v)| n == name && v.trim() == *value));
                prop_assert_eq!(forwarded.iter().filter(|(n, _)| n == name).count(), 1);
            }
        }
    }
}
