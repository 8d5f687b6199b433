//! One stretch of a request: what one proxy saw.

use std::collections::BTreeMap;
use std::fmt;

use application::Service;
use serde::ser::SerializeMap as _;
use serde::{Deserialize, Serialize, Serializer};

use crate::escape;
use crate::task::{Task, front_name};

/// A request that a proxy received, or one attempt to pass it on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Span {
    /// Its own.
    pub(crate) context: Context,
    /// The span of whoever sent the request, in the same trace.
    pub(crate) parent: Option<u64>,
    pub(crate) kind: Kind,
    pub(crate) place: Place,
    /// In microseconds since 1970.
    pub(crate) start: u64,
    /// In microseconds.
    pub(crate) duration: u64,
    /// 0 if there was no answer.
    pub(crate) status: u16,
}

/// What `traceparent` says of a span (W3C Trace Context). Each span's is its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Context {
    pub(crate) trace: u128,
    pub(crate) span: u64,
}

/// As in OpenTelemetry and Zipkin.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub(crate) enum Kind {
    /// The request as it was received.
    Server,
    /// An attempt to pass it on.
    Client,
}

/// Where a span was.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// In the load balancer: the method and the path. Such a span is the root of its trace.
    Front(String),
    /// In a task's sidecar, or on the way there.
    Sidecar(Task),
    /// In a task's sidecar, on the way from there to a service.
    Call(Task, Service),
    /// In the mesh's own proxy for a service.
    Proxy(Service),
    /// In a task itself.
    Task(Task),
    /// In the task whose sidecar has the span above.
    Application,
}

/// The longest request that is shown whole, in characters.
const MAX_REQUEST: usize = 24;

impl Place {
    /// In the load balancer.
    pub(crate) fn front(method: &str, path: &str) -> Self {
        let request: String = format!("{method} {path}").chars().take(MAX_REQUEST + 1).collect();
        Self::Front(match request.char_indices().nth(MAX_REQUEST) {
            Some((end, _)) => format!("{}...", &request[..end]),
            None => request,
        })
    }

    /// The service that is called there.
    pub(crate) fn service(&self) -> Option<Service> {
        match self {
            Self::Call(_, service) | Self::Proxy(service) => Some(*service),
            Self::Front(_) | Self::Sidecar(_) | Self::Task(_) | Self::Application => None,
        }
    }
}

impl Span {
    pub(crate) fn is_root(&self) -> bool {
        matches!(self.place, Place::Front(_))
    }

    pub(crate) fn has_failed(&self) -> bool {
        self.status == 0 || self.status >= 500
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        match self {
            Self::Front(request) => f.write_str(&escape::line(request)),
            Self::Sidecar(task) => write!(f, "{task}'s sidecar"),
            Self::Call(task, service) => write!(f, "{task}'s sidecar > {}", service.name),
            Self::Proxy(service) => f.write_str(front_name(*service)),
            Self::Task(task) => task.fmt(f),
            Self::Application => f.write_str("a task"),
        }
    }
}

/// As Zipkin has it (<https://zipkin.io/zipkin-api>), so that its tools and others read it.
impl Serialize for Span {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let name = self.place.to_string();
        let mut span = serializer.serialize_map(None)?;
        span.serialize_entry("traceId", &format_args!("{:032x}", self.context.trace))?;
        span.serialize_entry("id", &format_args!("{:016x}", self.context.span))?;
        if let Some(parent) = self.parent {
            span.serialize_entry("parentId", &format_args!("{parent:016x}"))?;
        }
        span.serialize_entry("kind", &self.kind)?;
        span.serialize_entry("name", &name)?;
        span.serialize_entry("localEndpoint", &BTreeMap::from([("serviceName", &name)]))?;
        span.serialize_entry("timestamp", &self.start)?;
        span.serialize_entry("duration", &self.duration)?;
        let status = BTreeMap::from([("http.status_code", self.status.to_string())]);
        span.serialize_entry("tags", &status)?;
        span.end()
    }
}

impl Context {
    /// Parses a `traceparent`.
    pub(crate) fn parse(traceparent: &str) -> Option<Self> {
        let mut parts = traceparent.split('-');
        let (version, trace, span) = (parts.next()?, parts.next()?, parts.next()?);
        let well_formed = [(version, 2), (trace, 32), (span, 16), (parts.next()?, 2)];
        let hex = |(part, length): (&str, usize)| {
            part.len() == length && part.bytes().all(|byte| byte.is_ascii_hexdigit())
        };
        let found = Self {
            trace: u128::from_str_radix(trace, 16).ok()?,
            span: u64::from_str_radix(span, 16).ok()?,
        };
        well_formed.into_iter().all(hex).then_some(found)
    }

    /// As a `traceparent`, of a span that is recorded.
    pub(crate) fn traceparent(self) -> String {
        format!("00-{:032x}-{:016x}-01", self.trace, self.span)
    }
}
