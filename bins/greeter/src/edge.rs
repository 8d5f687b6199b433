//! Which request gets which answer.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Instant, SystemTime};

use chassis::Shutdown;
use chassis::log::Limited;
use chassis::shutdown::Traffic;
use ureq::http::Uri;

use crate::connection::Limits;
use crate::deadline::Deadlines;
use crate::negotiate::Form;
use crate::request::{Method, Request, Target};
use crate::response::{Answer, Content, Date, Status};
use crate::settings::Settings;
use crate::upstream::{Failure, Upstream};
use crate::{json, page};

/// What all connections share.
pub(crate) struct Edge {
    host: String,
    greeting: Arc<Upstream>,
    name: Arc<Upstream>,
    pub(crate) limits: Limits,
    pub(crate) shutdown: Shutdown,
    /// What clients are refused for: they could fill the log with it.
    pub(crate) refused: Limited,
    requests: AtomicU64,
    in_flight: AtomicUsize,
    date: Mutex<Date>,
}

impl Edge {
    pub(crate) fn new(settings: &Settings, deadlines: &Deadlines, shutdown: Shutdown) -> Self {
        let upstream = |name, url: &Uri| Upstream::new(name, url.clone(), deadlines.clone());
        Self {
            host: settings.host.clone(),
            greeting: upstream("greeting", &settings.greeting),
            name: upstream("name", &settings.name),
            limits: settings.limits,
            shutdown,
            refused: Limited::new(),
            requests: AtomicU64::new(0),
            in_flight: AtomicUsize::new(0),
            date: Mutex::default(),
        }
    }

    /// Answers a request whose body has been read.
    pub(crate) fn answer(&self, request: Request) -> Answer {
        match (request.method, request.target, request.form) {
            (Method::Options, ..) => Answer::plain(Status::NO_CONTENT, ""),
            (Method::Other, ..) => Answer::plain(
                Status::METHOD_NOT_ALLOWED,
                "method not allowed: GET, HEAD or OPTIONS",
            ),
            (_, Target::Health, _) if self.shutdown.begun() => {
                Answer::plain(Status::UNAVAILABLE, "draining")
            }
            (_, Target::Health, _) => Answer::plain(Status::OK, "ok"),
            (_, Target::Greeting, Form::Page { gzip }) => page::answer(gzip),
            (_, Target::Greeting, Form::Text) => {
                let (status, line) = match self.greet(&request) {
                    Ok(Lines { greeting, name, .. }) => {
                        (Status::OK, format!("From {}: {greeting} {name}", self.host))
                    }
                    Err(failure) => (failure.status, failure.to_string()),
                };
                Answer { status, content: Content::TEXT, body: line.into_bytes().into() }
            }
            (_, Target::Greeting, Form::Json) => {
                let (status, object) = match self.greet(&request) {
                    Ok(lines) => (Status::OK, json::greeting(&self.host, &lines)),
                    Err(failure) => (failure.status, json::failure(&failure)),
                };
                Answer { status, content: Content::JSON, body: object.into_bytes().into() }
            }
        }
    }

    /// Asks both services at the same time.
    fn greet(&self, request: &Request) -> Result<Lines, Failure> {
        let start = Instant::now();
        let greeting = self.greeting.ask(&request.passed_on, start);
        let name = self.name.ask(&request.passed_on, start);
        let (greeting, name) = (greeting.answer(), name.answer());
        Ok(Lines { greeting: greeting?, name: name?, start })
    }

    /// Counts a request, until the guard is dropped as one in flight.
    pub(crate) fn receive(&self, request: &Request) -> InFlight<'_> {
        if request.target != Target::Health {
            self.requests.fetch_add(1, Relaxed);
        }
        self.in_flight.fetch_add(1, Relaxed);
        InFlight(self)
    }

    pub(crate) fn traffic(&self) -> Traffic {
        Traffic { requests: self.requests.load(Relaxed), in_flight: self.in_flight.load(Relaxed) }
    }

    /// Calls `write` with the `Date` header's value.
    pub(crate) fn with_date<T>(&self, write: impl FnOnce(&str) -> T) -> T {
        let mut date = self.date.lock().unwrap_or_else(PoisonError::into_inner);
        write(date.at(SystemTime::now()))
    }
}

/// What the two services said, each a line.
pub(crate) struct Lines {
    pub(crate) greeting: String,
    pub(crate) name: String,
    /// When they were asked.
    pub(crate) start: Instant,
}

/// A request received and not yet answered.
pub(crate) struct InFlight<'a>(&'a Edge);

impl Drop for InFlight<'_> {
    fn drop(&mut self) {
        self.0.in_flight.fetch_sub(1, Relaxed);
    }
}
