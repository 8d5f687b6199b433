//! Asks on one connection.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use http_body_util::{BodyExt, Empty, Limited};
use hyper::body::Bytes;
use hyper::client::conn::http1::SendRequest;
use hyper::{Request, StatusCode, Uri, header};
use smol::Timer;

use super::pace::Pace;
use super::report::{Failure, Report};
use crate::connection;
use crate::lock::lock;
use crate::within::within;

/// The longest that is waited for an answer.
const TIMEOUT: Duration = Duration::from_secs(10);
/// The longest answer that is read, in bytes.
const MAX_ANSWER: usize = 64 * 1024;
/// Rest after a failure: nobody may be there, which is known at once, again and again.
const REST: Duration = Duration::from_millis(10);

/// Who is asked for what.
pub(super) struct Site {
    /// `host:port`, for the Host header and to connect.
    authority: String,
    path: String,
}

impl Site {
    /// # Errors
    ///
    /// It is no URL of plain HTTP.
    pub(super) fn of(url: &Uri) -> Result<Self, String> {
        let (Some("http"), Some(host)) = (url.scheme_str(), url.host()) else {
            return Err(format!("cannot ask {url}: give http://host[:port][/path]"));
        };
        let authority = format!("{host}:{}", url.port_u16().unwrap_or(80));
        let path = url.path_and_query().map_or("/", |path| path.as_str());
        Ok(Self { authority, path: path.to_owned() })
    }

    pub(super) fn at(address: SocketAddr) -> Self {
        Self { authority: address.to_string(), path: "/".to_owned() }
    }
}

/// One connection, opened again when it ends.
pub(super) struct Client {
    site: Arc<Site>,
    connection: Option<SendRequest<Empty<Bytes>>>,
}

impl Client {
    pub(super) fn new(site: Arc<Site>) -> Self {
        Self { site, connection: None }
    }

    /// Asks whenever a request is due.
    pub(super) async fn run(mut self, pace: Arc<Pace>, report: Arc<Mutex<Report>>) {
        while let Some(due) = pace.next().await {
            let outcome = within(TIMEOUT, self.ask()).await.unwrap_or(Err(Failure::Late(TIMEOUT)));
            let failed = outcome.is_err();
            lock(&report).count(outcome, due.elapsed());
            if failed {
                self.connection = None;
                Timer::after(REST).await;
            }
        }
    }

    /// One request: the body of the answer.
    async fn ask(&mut self) -> Result<String, Failure> {
        let kept = self.connection.take().filter(|kept| !kept.is_closed());
        let connection = self.connection.insert(match kept {
            Some(kept) => kept,
            None => connect(&self.site.authority).await.map_err(|_| Failure::Connect)?,
        });
        let request = Request::get(&self.site.path)
            .header(header::HOST, &self.site.authority)
            .body(Empty::new())
            .map_err(|_| Failure::Broken)?;
        let answer = connection.send_request(request).await.map_err(|_| Failure::Broken)?;
        let status = answer.status();
        let body = Limited::new(answer.into_body(), MAX_ANSWER).collect().await;
        let body = body.map_err(|_| Failure::Broken)?.to_bytes();
        // Ready for the next, unless this was the last: then `is_closed` says so.
        let _ = connection.ready().await;
        if status != StatusCode::OK {
            return Err(Failure::Status(status.as_u16()));
        }
        String::from_utf8(body.into()).map_err(|_| Failure::NoGreeting)
    }
}

async fn connect(authority: &str) -> std::io::Result<SendRequest<Empty<Bytes>>> {
    let mut last = std::io::ErrorKind::NotFound.into();
    for address in smol::net::resolve(authority).await? {
        match connection::open(address).await {
            Ok(connection) => return Ok(connection),
            Err(error) => last = error,
        }
    }
    Err(last)
}
