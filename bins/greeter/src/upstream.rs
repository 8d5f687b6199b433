//! One service to call: its callers, its limits, its failures.

use std::collections::VecDeque;
use std::fmt;
use std::io::{self, ErrorKind};
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use chassis::log::Limited;
use may::go;
use may::sync::spsc;
use ureq::Agent;
use ureq::http::{HeaderName, HeaderValue, Request, Uri};

use crate::LOG;
use crate::deadline::Deadlines;
use crate::resolver::Resolver;
use crate::response::Status;
use crate::transport::{Call, CoConnector, LeaveItToTheConnector};

/// A whole greeting may take this long.
pub(crate) const BUDGET: Duration = Duration::from_secs(2);
/// Calls to one service at a time; more fail with 503.
const MAX_IN_FLIGHT: usize = 1024;
/// The longest line taken for an answer, in bytes.
const MAX_ANSWER: u64 = 4096;
/// A caller that was not needed for this long is let go, and its connection with it.
const MAX_IDLE: Duration = Duration::from_secs(30);

/// Why a call failed, said plainly, and the status that tells a client so.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Failure {
    pub(crate) status: Status,
    /// The service that was called.
    pub(crate) service: &'static str,
    url: String,
    pub(crate) cause: String,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({}): {}", self.service, self.url, self.cause)
    }
}

/// A service behind this one.
pub(crate) struct Upstream {
    name: &'static str,
    url: Uri,
    resolver: Arc<Resolver>,
    deadlines: Deadlines,
    /// The last one back goes first. ureq looks through all the connections of an agent
    /// for each request, so each agent has one.
    callers: Mutex<VecDeque<Caller>>,
    in_flight: AtomicUsize,
    failed: Limited,
}

impl Upstream {
    pub(crate) fn new(name: &'static str, url: Uri, deadlines: Deadlines) -> Self {
        Self {
            name,
            resolver: Resolver::new(&url),
            url,
            deadlines,
            callers: Mutex::default(),
            in_flight: AtomicUsize::new(0),
            failed: Limited::new(),
        }
    }

    /// Asks the service for its line, and does not wait for it.
    pub(crate) fn ask(self: &Arc<Self>, headers: &Headers, deadline: Instant) -> Asked<'_> {
        let others = self.in_flight.fetch_add(1, Relaxed);
        let caller = (others < MAX_IN_FLIGHT).then(|| {
            let caller = self.callers().pop_back();
            let caller = caller.unwrap_or_else(|| Caller::start(self));
            let question = Question { upstream: self.clone(), headers: headers.clone(), deadline };
            // Fails if the caller has crashed, and so does the answer then.
            let _ = caller.questions.send(question);
            caller
        });
        Asked { upstream: self, caller }
    }

    fn failure(&self, status: Status, cause: String) -> Failure {
        let fields: [(&str, &dyn fmt::Display); 3] =
            [("upstream", &self.name), ("url", &self.url), ("cause", &cause)];
        self.failed.event(LOG, "upstream failed", &fields);
        Failure { status, service: self.name, url: self.url.to_string(), cause }
    }

    /// The service's line, without the newline some put at its end.
    fn call(&self, client: &Client, question: &Question) -> Result<String, Failure> {
        let mut result = client.call(&self.url, question);
        if result.is_err() && client.was_stale() {
            result = client.call(&self.url, question);
        }
        result.map_err(|error| {
            let (status, cause) = describe(&error);
            self.failure(status, cause)
        })
    }

    /// Takes a caller back that is done.
    fn put_back(&self, mut caller: Caller) {
        let now = Instant::now();
        caller.used = now;
        let mut callers = self.callers();
        callers.push_back(caller);
        while callers.front().is_some_and(|c| now.duration_since(c.used) > MAX_IDLE) {
            callers.pop_front();
        }
    }

    fn callers(&self) -> std::sync::MutexGuard<'_, VecDeque<Caller>> {
        self.callers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A service that was asked.
pub(crate) struct Asked<'a> {
    upstream: &'a Upstream,
    /// None when too many others are asking.
    caller: Option<Caller>,
}

impl Asked<'_> {
    /// Waits for the service's line.
    pub(crate) fn answer(mut self) -> Result<String, Failure> {
        let Some(caller) = self.caller.take() else {
            return Err(self
                .upstream
                .failure(Status::UNAVAILABLE, "too many calls in flight".into()));
        };
        let Ok(answer) = caller.answers.recv() else {
            return Err(self.upstream.failure(Status::BAD_GATEWAY, "the call crashed".into()));
        };
        self.upstream.put_back(caller);
        answer
    }
}

impl Drop for Asked<'_> {
    fn drop(&mut self) {
        self.upstream.in_flight.fetch_sub(1, Relaxed);
    }
}

/// The headers of a request that are passed on.
pub(crate) type Headers = Arc<Vec<(HeaderName, HeaderValue)>>;

struct Question {
    /// Held for the call only: the caller itself is held by its upstream.
    upstream: Arc<Upstream>,
    headers: Headers,
    deadline: Instant,
}

/// A coroutine that makes one call at a time, until it is dropped. It has a stack of its
/// own, for ureq touches 16 KiB: a connection that waits for its next request would keep
/// them (measured: 331 MB for 10,000 connections that were greeted, and 171 MB so). It is
/// kept for the next call: to start one costs two system calls, to wake one none.
struct Caller {
    questions: spsc::Sender<Question>,
    answers: spsc::Receiver<Result<String, Failure>>,
    used: Instant,
}

impl Caller {
    fn start(upstream: &Upstream) -> Self {
        let (questions, asked) = spsc::channel::<Question>();
        let (given, answers) = spsc::channel();
        let client = Client::new(&upstream.resolver, &upstream.deadlines);
        go!(move || {
            for question in asked {
                let _ = given.send(question.upstream.call(&client, &question));
            }
        });
        Self { questions, answers, used: Instant::now() }
    }
}

/// ureq, with one connection that it keeps.
struct Client {
    agent: Agent,
    call: Arc<Call>,
}

impl Client {
    fn new(resolver: &Arc<Resolver>, deadlines: &Deadlines) -> Self {
        let call = Call::new();
        let config = Agent::config_builder()
            .proxy(None) // never by way of HTTP_PROXY
            .http_status_as_error(false)
            .max_redirects(0)
            .user_agent(concat!("greeter/", env!("CARGO_PKG_VERSION")))
            .accept("") // a leaf takes few headers: send none that say nothing
            .accept_encoding("")
            .max_idle_connections(1)
            .max_idle_connections_per_host(1)
            // Room for the longest answer with its head, and for what is passed on.
            .input_buffer_size(8 * 1024)
            .max_response_header_size(4 * 1024)
            .output_buffer_size(4 * 1024)
            .build();
        let connector = CoConnector {
            call: call.clone(),
            resolver: resolver.clone(),
            deadlines: deadlines.clone(),
        };
        let agent = Agent::with_parts(config, connector, LeaveItToTheConnector);
        Self { agent, call }
    }

    fn call(&self, url: &Uri, question: &Question) -> Result<String, ureq::Error> {
        self.call.begin(question.deadline);
        let mut request = Request::get(url.clone()).body(())?;
        request.headers_mut().extend(question.headers.iter().cloned());
        let mut response = self.agent.run(request)?;
        if response.status() != 200 {
            return Err(bad_answer(format!("answered {}", response.status())));
        }
        let bytes = response.body_mut().with_config().limit(MAX_ANSWER).read_to_vec()?;
        line(bytes).map_err(|what| bad_answer(what.to_owned()))
    }

    /// The last call failed because the connection it had kept was dead, before any byte
    /// of an answer: safe to ask again, on a new one.
    fn was_stale(&self) -> bool {
        !self.call.connected.load(Relaxed) && !self.call.answered.load(Relaxed)
    }
}

/// One line of text, or what is wrong with it.
fn line(bytes: Vec<u8>) -> Result<String, &'static str> {
    let mut line = String::from_utf8(bytes).map_err(|_| "the answer is not UTF-8")?;
    line.truncate(line.trim_end_matches(['\r', '\n']).len());
    if line.is_empty() {
        return Err("the answer is empty");
    }
    if line.contains(char::is_control) {
        return Err("the answer holds control characters");
    }
    Ok(line)
}

fn bad_answer(text: String) -> ureq::Error {
    ureq::Error::Io(io::Error::new(ErrorKind::InvalidData, text))
}

/// The status and the words for a failed call.
fn describe(error: &ureq::Error) -> (Status, String) {
    let gateway = |text: &str| (Status::BAD_GATEWAY, text.to_owned());
    match error {
        ureq::Error::Io(error) => match error.kind() {
            ErrorKind::TimedOut => (Status::GATEWAY_TIMEOUT, "no answer in time".to_owned()),
            ErrorKind::ConnectionRefused => gateway("connection refused"),
            ErrorKind::ConnectionReset | ErrorKind::BrokenPipe => gateway("connection reset"),
            ErrorKind::UnexpectedEof => gateway("connection closed before the end of the answer"),
            _ => (Status::BAD_GATEWAY, error.to_string()),
        },
        ureq::Error::BodyExceedsLimit(_) => gateway("the answer is over 4 KiB"),
        ureq::Error::LargeResponseHeader(..) => gateway("the answer's head is over 4 KiB"),
        error => (Status::BAD_GATEWAY, format!("not an HTTP answer: {error}")),
    }
}
