//! Routing: which request gets which answer.

use std::sync::Arc;
use std::time::Instant;

use chassis::Shutdown;
use http::StatusCode;
use http1::{Answer, Method, Request};
use net::Deadlines;

use crate::answer::{Content, answer, plain};
use crate::form::Form;
use crate::greeting::Greeting;
use crate::request_info::{RequestInfo, Target};
use crate::settings::{Leaf, Settings};
use crate::upstream::{self, Call, Outcome, Upstream};
use crate::{json, page};

/// The leaves, and this task's host name.
pub(crate) struct Edge {
    host: String,
    /// In the order of the greeting.
    upstreams: Vec<Arc<Upstream>>,
    shutdown: Shutdown,
}

impl Edge {
    pub(crate) fn new(settings: &Settings, deadlines: &Deadlines, shutdown: Shutdown) -> Self {
        let upstream = |leaf: &Leaf| Upstream::new(leaf.name, leaf.url.clone(), deadlines.clone());
        Self {
            host: settings.host.clone(),
            upstreams: settings.leaves.iter().map(upstream).collect(),
            shutdown,
        }
    }

    /// Answers a request whose body has been read.
    pub(crate) fn answer(&self, request: Request<RequestInfo>) -> Answer {
        let info = request.info;
        match (request.method, info.target, info.form) {
            (Method::Options, ..) => plain(StatusCode::NO_CONTENT, ""),
            (Method::Other, ..) => {
                plain(StatusCode::METHOD_NOT_ALLOWED, "method not allowed: GET, HEAD or OPTIONS")
            }
            (_, Target::Health, _) if self.shutdown.begun() => {
                plain(StatusCode::SERVICE_UNAVAILABLE, "draining")
            }
            (_, Target::Health, _) => plain(StatusCode::OK, "ok"),
            (_, Target::Greeting, Form::Page { gzip }) => page::answer(gzip),
            (_, Target::Greeting, Form::Text) => {
                let greeting = self.greet(&info.forwarded, upstream::in_turn);
                answer(greeting.status(), Content::TEXT, greeting.text(&self.host).into_bytes())
            }
            (_, Target::Greeting, Form::Json) => {
                let greeting = self.greet(&info.forwarded, upstream::side_by_side);
                let object = json::greeting(&self.host, &greeting);
                answer(greeting.status(), Content::JSON, object.into_bytes())
            }
        }
    }

    /// Asks all leaves at the same time, passes these header lines on, and has `wait` wait.
    fn greet(&self, forwarded: &[u8], wait: fn(Vec<Call>) -> Vec<Outcome>) -> Greeting {
        let start = Instant::now();
        let asked = self.upstreams.iter().map(|upstream| upstream.ask(forwarded, start));
        // All are asked before the first is waited for.
        Greeting { outcomes: wait(asked.collect()), start }
    }
}
