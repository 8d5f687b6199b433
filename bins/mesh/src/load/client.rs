//! Sends requests on one connection.

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use http_body_util::{BodyExt, Empty, Limited};
use hyper::body::Bytes;
use hyper::client::conn::http1::SendRequest;
use hyper::http::request::Builder;
use hyper::{Request, Response, StatusCode, Uri, header};
use parking_lot::Mutex;
use smol::Timer;

use super::failure::Failure;
use super::pace::Pace;
use super::report::Report;
use crate::connection;
use crate::escape;
use crate::within::within;

/// How long a request may take.
pub(super) const TIMEOUT: Duration = Duration::from_secs(10);
/// The longest answer that is read, in bytes.
const MAX_ANSWER: usize = 64 * 1024;
/// Pause after a failure, because a refused connection fails at once, again and again.
const REST: Duration = Duration::from_millis(10);

/// Where requests go.
#[derive(Clone)]
pub(crate) struct Target {
    /// `host:port`, for the Host header and to connect.
    authority: String,
    pub(crate) path: String,
}

impl Target {
    /// # Errors
    ///
    /// It is not a URL of plain HTTP.
    pub(crate) fn parse(url: &str) -> Result<Self, String> {
        let parts = |url: Uri| {
            let (Some("http"), Some(host)) = (url.scheme_str(), url.host()) else { return None };
            // A user name and password before the host would not be sent.
            let port: u16 = match url.authority()?.as_str().strip_prefix(host)? {
                "" | ":" => 80,
                port => port.strip_prefix(':')?.parse().ok()?,
            };
            let path = url.path_and_query().map_or("/", |path| path.as_str()).to_owned();
            (!host.is_empty()).then(|| Self { authority: format!("{host}:{port}"), path })
        };
        let found = url.parse().ok().and_then(parts);
        found.ok_or_else(|| {
            format!("cannot use {}: give http://host[:port][/path]", escape::word(url))
        })
    }

    /// Its port, if it is on this machine.
    pub(crate) fn port_of_this_machine(&self) -> Option<u16> {
        let (host, port) = self.authority.rsplit_once(':')?;
        if ["127.0.0.1", "localhost"].contains(&host) { port.parse().ok() } else { None }
    }

    pub(crate) fn at(address: SocketAddr) -> Self {
        Self { authority: address.to_string(), path: "/".to_owned() }
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        write!(f, "http://{}{}", self.authority, self.path)
    }
}

type Connection = SendRequest<Empty<Bytes>>;

/// One connection, reopened when it ends.
pub(crate) struct Client {
    target: Arc<Target>,
    /// How many connections it has opened.
    pub(crate) opened: u32,
    connection: Option<Connection>,
    stage: Stage,
}

/// What a request waits for.
#[derive(Clone, Copy)]
enum Stage {
    Addresses,
    Connection,
    Answer,
}

impl Client {
    pub(crate) fn new(target: Arc<Target>) -> Self {
        Self { target, opened: 0, connection: None, stage: Stage::Addresses }
    }

    /// Opens its connection before the first request.
    ///
    /// # Errors
    ///
    /// It cannot connect: the message has the reason and a remedy.
    pub(crate) async fn open(&mut self) -> Result<(), String> {
        let opened = within(TIMEOUT, self.connect()).await;
        let failure = match opened.unwrap_or_else(|| Err(self.timeout())) {
            Ok(connection) => {
                self.connection = Some(connection);
                return Ok(());
            }
            Err(failure) => failure,
        };
        let remedy = match failure {
            Failure::UnknownHost | Failure::LookUpTimeout(_) => {
                "give a host name that resolves here, or an address"
            }
            Failure::OutOfFiles => "raise the limit, as with ulimit -n 4096",
            _ => "start the server there, or give another port",
        };
        Err(format!("cannot reach {}: {failure}: {remedy}", self.target.authority))
    }

    /// Sends a request whenever one is due.
    pub(super) async fn run(mut self, number: usize, pace: Arc<Pace>, report: Arc<Mutex<Report>>) {
        while let Some(due) = pace.next().await {
            report.lock().sent(number, due);
            let outcome = self.greeting().await;
            let failed = outcome.is_err();
            report.lock().finished(number, outcome);
            if failed {
                self.connection = None;
                Timer::after(REST).await;
            }
        }
    }

    /// Asks for a greeting.
    pub(crate) async fn greeting(&mut self) -> Result<String, Failure> {
        let answer = self.exchange(Request::get(&self.target.path)).await?;
        if answer.status() != StatusCode::OK {
            return Err(Failure::Status(answer.status().as_u16()));
        }
        String::from_utf8(answer.into_body().into()).map_err(|_| Failure::NoGreeting)
    }

    /// Sends one request, and returns the answer.
    pub(crate) async fn exchange(&mut self, request: Builder) -> Result<Response<Bytes>, Failure> {
        within(TIMEOUT, Box::pin(self.send(request))).await.unwrap_or_else(|| Err(self.timeout()))
    }

    async fn send(&mut self, request: Builder) -> Result<Response<Bytes>, Failure> {
        let kept = self.connection.take().filter(|kept| !kept.is_closed());
        let mut connection = match kept {
            Some(kept) => kept,
            None => self.connect().await?,
        };
        self.stage = Stage::Answer;
        let request = request
            .header(header::HOST, &self.target.authority)
            .body(Empty::new())
            .map_err(|_| Failure::Closed)?;
        let sent = connection.send_request(request).await;
        let (head, body) = sent.map_err(|error| Failure::of_request(&error))?.into_parts();
        let body = Limited::new(body, MAX_ANSWER).collect().await;
        let body = body.map_err(|error| Failure::of_body(&*error, MAX_ANSWER))?.to_bytes();
        // Ready for the next request; if the server closes the connection, `is_closed` tells.
        let _ = connection.ready().await;
        self.connection = Some(connection);
        Ok(Response::from_parts(head, body))
    }

    async fn connect(&mut self) -> Result<Connection, Failure> {
        self.stage = Stage::Addresses;
        let addresses = smol::net::resolve(&self.target.authority).await;
        self.stage = Stage::Connection;
        let mut last = Failure::UnknownHost;
        for address in addresses.map_err(|error| Failure::of_lookup(&error))? {
            match connection::open(address).await {
                Ok(connection) => {
                    self.opened += 1;
                    return Ok(connection);
                }
                Err(error) => last = Failure::of_connection(&error),
            }
        }
        Err(last)
    }

    /// The failure of the stage that took too long.
    fn timeout(&self) -> Failure {
        match self.stage {
            Stage::Addresses => Failure::LookUpTimeout(TIMEOUT),
            Stage::Connection => Failure::ConnectTimeout(TIMEOUT),
            Stage::Answer => Failure::Timeout(TIMEOUT),
        }
    }
}
