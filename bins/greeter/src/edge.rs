//! Which request gets which answer.

use std::sync::Arc;
use std::time::Instant;

use chassis::Shutdown;
use http::Uri;
use http1::{Answer, Method, Request, Status};
use net::Deadlines;

use crate::answer::{Content, answer, plain};
use crate::form::Form;
use crate::line::Lines;
use crate::settings::Settings;
use crate::upstream::{Failure, Upstream};
use crate::wanted::{Target, Wanted};
use crate::{json, page};

/// The services, and who it is that greets.
pub(crate) struct Edge {
    host: String,
    greeting: Arc<Upstream>,
    name: Arc<Upstream>,
    shutdown: Shutdown,
}

impl Edge {
    pub(crate) fn new(settings: &Settings, deadlines: &Deadlines, shutdown: Shutdown) -> Self {
        let upstream = |name, url: &Uri| Upstream::new(name, url.clone(), deadlines.clone());
        Self {
            host: settings.host.clone(),
            greeting: upstream("greeting", &settings.greeting),
            name: upstream("name", &settings.name),
            shutdown,
        }
    }

    /// Answers a request whose body has been read.
    pub(crate) fn answer(&self, request: Request<Wanted>) -> Answer {
        let wanted = request.kept;
        match (request.method, wanted.target, wanted.form) {
            (Method::Options, ..) => plain(Status::NoContent, ""),
            (Method::Other, ..) => {
                plain(Status::MethodNotAllowed, "method not allowed: GET, HEAD or OPTIONS")
            }
            (_, Target::Health, _) if self.shutdown.begun() => {
                plain(Status::ServiceUnavailable, "draining")
            }
            (_, Target::Health, _) => plain(Status::Ok, "ok"),
            (_, Target::Greeting, Form::Page { gzip }) => page::answer(gzip),
            (_, Target::Greeting, Form::Text) => {
                let (status, line) = match self.greet(&wanted.passed_on) {
                    Ok(Lines { greeting, name, .. }) => {
                        (Status::Ok, format!("From {}: {greeting} {name}", self.host))
                    }
                    Err(failure) => (failure.status, failure.to_string()),
                };
                answer(status, Content::TEXT, line.into_bytes())
            }
            (_, Target::Greeting, Form::Json) => {
                let (status, object) = match self.greet(&wanted.passed_on) {
                    Ok(lines) => (Status::Ok, json::greeting(&self.host, &lines)),
                    Err(failure) => (failure.status, json::failure(&failure)),
                };
                answer(status, Content::JSON, object.into_bytes())
            }
        }
    }

    /// Asks both services at the same time, and passes these header lines on.
    fn greet(&self, passed_on: &[u8]) -> Result<Lines, Failure> {
        let start = Instant::now();
        let greeting = self.greeting.ask(passed_on, start);
        let name = self.name.ask(passed_on, start);
        let (greeting, name) = (greeting.answer(), name.answer());
        Ok(Lines { greeting: greeting?, name: name?, start })
    }
}
