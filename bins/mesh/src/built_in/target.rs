//! A task, as a proxy sees it: an address and pooled connections.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use envoy_config::policy;
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Bytes;
use hyper::client::conn::http1::SendRequest;
use hyper::{Request, Response};
use parking_lot::Mutex;

use crate::connection;
use crate::task::{Task, Traffic};
use crate::within::within;

/// The longest answer that is passed on, in bytes.
const MAX_ANSWER: usize = 1024 * 1024;

/// A connection is not used again after this long without a request: before greeter closes it,
/// which could cross the next one.
const IDLE: Duration = policy::IDLE_LOAD_BALANCER;

type Connection = SendRequest<Full<Bytes>>;

/// One task, up or down.
pub(super) struct Target {
    pub(super) task: Task,
    /// Requests it answered.
    pub(super) answered: AtomicU64,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// Which requests it gets.
    traffic: Traffic,
    /// Its address; `None` while it is down or draining.
    address: Option<SocketAddr>,
    /// Idle connections, and since when.
    idle: Vec<(Instant, Connection)>,
    /// Failures in a row.
    failures: u32,
    /// How often it was ejected, and until when.
    ejections: u32,
    ejected_until: Option<Instant>,
}

/// The connection failed, or broke before the answer was complete.
pub(super) struct NoAnswer;

impl Target {
    pub(super) fn new(task: Task) -> Self {
        Self { task, answered: AtomicU64::new(0), state: Mutex::default() }
    }

    /// Which requests it gets from now on.
    pub(super) fn assign(&self, traffic: Traffic) {
        self.state.lock().traffic = traffic;
    }

    pub(super) fn traffic(&self) -> Traffic {
        self.state.lock().traffic
    }

    /// Its address, while it takes requests.
    pub(super) fn address(&self) -> Option<SocketAddr> {
        self.state.lock().address
    }

    /// A new process listens. The failures of the last one do not count any more.
    pub(super) fn up(&self, address: SocketAddr) {
        let mut state = self.state.lock();
        *state = State { traffic: state.traffic, address: Some(address), ..State::default() };
    }

    /// The process there drains or has ended: it gets no new requests. Requests in flight continue.
    pub(super) fn down(&self, address: SocketAddr) {
        let mut state = self.state.lock();
        if state.address == Some(address) {
            *state = State { traffic: state.traffic, ..State::default() };
        }
    }

    /// The process at this address answered without a failure.
    pub(super) fn succeeded(&self, address: SocketAddr) {
        let mut state = self.state.lock();
        if state.address == Some(address) {
            state.failures = 0;
        }
    }

    /// The process at this address failed; returns whether it is to be ejected. Failures of an old
    /// process that drains do not count against the new one.
    pub(super) fn failed(&self, address: SocketAddr) -> bool {
        let mut state = self.state.lock();
        if state.address != Some(address) {
            return false;
        }
        state.failures += 1;
        let too_often = state.failures == policy::EJECT_AFTER;
        if too_often {
            state.failures = 0;
        }
        too_often
    }

    /// Ejects it, each time for longer.
    pub(super) fn eject(&self, now: Instant) {
        let mut state = self.state.lock();
        state.ejections += 1;
        let time = policy::EJECT_AT_LEAST.saturating_mul(state.ejections);
        state.ejected_until = Some(now + time.min(policy::EJECT_AT_MOST));
    }

    pub(super) fn is_ejected(&self, now: Instant) -> bool {
        self.state.lock().ejected_until.is_some_and(|end| now < end)
    }

    /// Sends a request to the address where it takes, or took, requests, and waits for the whole
    /// answer.
    pub(super) async fn send(
        &self,
        address: SocketAddr,
        request: Request<Full<Bytes>>,
    ) -> Result<Response<Full<Bytes>>, NoAnswer> {
        let mut connection = match self.take_idle(address) {
            Some(connection) => connection,
            None => connect(address).await?,
        };
        let exchanged = exchange(&mut connection, request).await;
        let mut state = self.state.lock();
        let Ok(answer) = exchanged else {
            // Its other connections are probably dead too.
            state.idle.clear();
            return Err(NoAnswer);
        };
        self.answered.fetch_add(1, Relaxed);
        // The task may have been restarted meanwhile.
        if state.address == Some(address) && connection.is_ready() {
            state.idle.push((Instant::now(), connection));
        }
        Ok(answer)
    }

    fn take_idle(&self, address: SocketAddr) -> Option<Connection> {
        let mut state = self.state.lock();
        if state.address != Some(address) {
            return None;
        }
        let (since, connection) = state.idle.pop()?;
        if since.elapsed() > IDLE {
            // The others have waited even longer.
            state.idle.clear();
            return None;
        }
        Some(connection).filter(|connection| !connection.is_closed())
    }
}

async fn connect(address: SocketAddr) -> Result<Connection, NoAnswer> {
    let opened = within(policy::CONNECT_TIMEOUT, connection::open(address)).await;
    opened.and_then(Result::ok).ok_or(NoAnswer)
}

async fn exchange(
    connection: &mut Connection,
    request: Request<Full<Bytes>>,
) -> Result<Response<Full<Bytes>>, Box<dyn std::error::Error + Send + Sync>> {
    let (head, body) = connection.send_request(request).await?.into_parts();
    let body = Limited::new(body, MAX_ANSWER).collect().await?.to_bytes();
    // Ready for the next request, unless the answer was the last on this connection.
    let _ = connection.ready().await;
    Ok(Response::from_parts(head, Full::new(body)))
}
