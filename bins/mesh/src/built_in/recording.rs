//! The span of a request, or of an attempt to pass it on, while that lasts.

use std::sync::Arc;
use std::time::{Instant, SystemTime};

use hyper::header::{HeaderMap, HeaderValue};
use hyper::{Request, StatusCode};

use crate::task::Task;
use crate::trace::{Context, Kind, Place, Span, Traces, micros};

const TRACEPARENT: &str = "traceparent";

/// A span that is added to the traces when this is dropped: then nobody waits for an answer.
pub(super) struct Recording {
    traces: Arc<Traces>,
    span: Span,
    since: Instant,
}

impl Recording {
    /// Of a request that has come: in the trace that its headers name, or in a new one.
    pub(super) fn of_request(traces: &Arc<Traces>, place: Place, headers: &HeaderMap) -> Self {
        let sender = headers.get(TRACEPARENT).and_then(|value| value.to_str().ok());
        let sender = sender.and_then(Context::parse);
        let trace = sender.map_or_else(|| fastrand::u128(1..), |sender| sender.trace);
        Self::start(traces.clone(), trace, sender.map(|sender| sender.span), Kind::Server, place)
    }

    /// Of an attempt to pass that request on to a task, which is told its context.
    pub(super) fn attempt<B>(&self, task: Task, request: &mut Request<B>) -> Self {
        let Context { trace, span } = self.span.context;
        let place = Place::Task(task);
        let attempt = Self::start(self.traces.clone(), trace, Some(span), Kind::Client, place);
        if let Ok(value) = HeaderValue::try_from(attempt.span.context.traceparent()) {
            request.headers_mut().insert(TRACEPARENT, value);
        }
        attempt
    }

    /// The answer has come.
    pub(super) fn answered(mut self, status: StatusCode) {
        self.span.status = status.as_u16();
    }

    fn start(
        traces: Arc<Traces>,
        trace: u128,
        parent: Option<u64>,
        kind: Kind,
        place: Place,
    ) -> Self {
        let context = Context { trace, span: fastrand::u64(1..) };
        let start = micros(SystemTime::now());
        let span = Span { context, parent, kind, place, start, duration: 0, status: 0 };
        Self { traces, span, since: Instant::now() }
    }
}

impl Drop for Recording {
    fn drop(&mut self) {
        let micros = u64::try_from(self.since.elapsed().as_micros());
        self.span.duration = micros.unwrap_or(u64::MAX);
        self.traces.add(self.span.clone());
    }
}
