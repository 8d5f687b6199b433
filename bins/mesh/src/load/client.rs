//! Asks on one connection.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use http_body_util::{BodyExt, Empty, Limited};
use hyper::body::Bytes;
use hyper::client::conn::http1::SendRequest;
use hyper::{Request, StatusCode, Uri, header};
use parking_lot::Mutex;
use smol::Timer;

use super::failure::Failure;
use super::pace::Pace;
use super::report::Report;
use crate::connection;
use crate::shown;
use crate::within::within;

/// The longest that is waited for an answer.
pub(super) const TIMEOUT: Duration = Duration::from_secs(10);
/// The longest answer that is read, in bytes.
const MAX_ANSWER: usize = 64 * 1024;
/// Rest after a failure: nobody may be there, which is known at once, again and again.
const REST: Duration = Duration::from_millis(10);

/// Who is asked for what.
#[derive(Clone)]
pub(crate) struct Site {
    /// `host:port`, for the Host header and to connect.
    authority: String,
    path: String,
}

impl Site {
    /// # Errors
    ///
    /// It is no URL of plain HTTP.
    pub(crate) fn parse(url: &str) -> Result<Self, String> {
        let parts = |url: Uri| {
            let (Some("http"), Some(host)) = (url.scheme_str(), url.host()) else { return None };
            // A name and a password before the host would not be sent.
            let port: u16 = match url.authority()?.as_str().strip_prefix(host)? {
                "" | ":" => 80,
                port => port.strip_prefix(':')?.parse().ok()?,
            };
            let path = url.path_and_query().map_or("/", |path| path.as_str()).to_owned();
            (!host.is_empty()).then(|| Self { authority: format!("{host}:{port}"), path })
        };
        let found = url.parse().ok().and_then(parts);
        found.ok_or_else(|| {
            format!("cannot ask {}: give http://host[:port][/path]", shown::word(url))
        })
    }

    pub(super) fn at(address: SocketAddr) -> Self {
        Self { authority: address.to_string(), path: "/".to_owned() }
    }
}

type Connection = SendRequest<Empty<Bytes>>;

/// One connection, opened again when it ends.
pub(super) struct Client {
    site: Arc<Site>,
    connection: Option<Connection>,
    awaited: Awaited,
}

/// What a client waits for.
#[derive(Clone, Copy)]
enum Awaited {
    Addresses,
    Connection,
    Answer,
}

impl Client {
    pub(super) fn new(site: Arc<Site>) -> Self {
        Self { site, connection: None, awaited: Awaited::Addresses }
    }

    /// Opens its connection, before there is anything to ask.
    ///
    /// # Errors
    ///
    /// Nobody can be reached there: why, and what may be done about it.
    pub(super) async fn reach(&mut self) -> Result<(), String> {
        let reached = within(TIMEOUT, self.connect()).await;
        let failure = match reached.unwrap_or_else(|| Err(self.late())) {
            Ok(connection) => {
                self.connection = Some(connection);
                return Ok(());
            }
            Err(failure) => failure,
        };
        let remedy = match failure {
            Failure::UnknownHost | Failure::LookUpLate(_) => {
                "give one that is known here, or an address"
            }
            Failure::OutOfFiles => "raise the limit, as with ulimit -n 4096",
            _ => "start what is to listen there, or give another port",
        };
        Err(format!("cannot ask {}: {failure}: {remedy}", self.site.authority))
    }

    /// Asks whenever a request is due.
    pub(super) async fn run(mut self, number: usize, pace: Arc<Pace>, report: Arc<Mutex<Report>>) {
        while let Some(due) = pace.next().await {
            report.lock().sent(number, due);
            let outcome = within(TIMEOUT, self.ask()).await.unwrap_or_else(|| Err(self.late()));
            let failed = outcome.is_err();
            report.lock().came(number, outcome);
            if failed {
                self.connection = None;
                Timer::after(REST).await;
            }
        }
    }

    /// One request: the body of the answer.
    async fn ask(&mut self) -> Result<String, Failure> {
        let kept = self.connection.take().filter(|kept| !kept.is_closed());
        let mut connection = match kept {
            Some(kept) => kept,
            None => self.connect().await?,
        };
        self.awaited = Awaited::Answer;
        let request = Request::get(&self.site.path)
            .header(header::HOST, &self.site.authority)
            .body(Empty::new())
            .map_err(|_| Failure::Closed)?;
        let asked = connection.send_request(request).await;
        let answer = asked.map_err(|error| Failure::of_asking(&error))?;
        let status = answer.status();
        let body = Limited::new(answer.into_body(), MAX_ANSWER).collect().await;
        let body = body.map_err(|error| Failure::of_reading(&*error, MAX_ANSWER))?.to_bytes();
        // Ready for the next, unless this was the last: then `is_closed` says so.
        let _ = connection.ready().await;
        self.connection = Some(connection);
        if status != StatusCode::OK {
            return Err(Failure::Status(status.as_u16()));
        }
        String::from_utf8(body.into()).map_err(|_| Failure::NoGreeting)
    }

    async fn connect(&mut self) -> Result<Connection, Failure> {
        self.awaited = Awaited::Addresses;
        let addresses = smol::net::resolve(&self.site.authority).await;
        self.awaited = Awaited::Connection;
        let mut last = Failure::UnknownHost;
        for address in addresses.map_err(|error| Failure::of_looking_up(&error))? {
            match connection::open(address).await {
                Ok(connection) => return Ok(connection),
                Err(error) => last = Failure::of_connecting(&error),
            }
        }
        Err(last)
    }

    /// What was waited for, and did not come.
    fn late(&self) -> Failure {
        match self.awaited {
            Awaited::Addresses => Failure::LookUpLate(TIMEOUT),
            Awaited::Connection => Failure::ConnectLate(TIMEOUT),
            Awaited::Answer => Failure::Late(TIMEOUT),
        }
    }
}
