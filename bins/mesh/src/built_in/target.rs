//! A task as a proxy sees it: an address, and connections kept open.

use std::io;
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Bytes;
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper::{Request, Response};
use smol::Async;
use smol_hyper::rt::FuturesIo;

const CONNECT: Duration = Duration::from_secs(1);
/// The longest answer that is passed on, in bytes.
const MAX_ANSWER: usize = 1024 * 1024;

type Connection = SendRequest<Full<Bytes>>;

/// One task, up or down.
pub(crate) struct Target {
    pub(crate) name: String,
    /// Requests it answered.
    pub(crate) answered: AtomicU64,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// Where it takes requests; `None` while it is down or draining.
    address: Option<SocketAddr>,
    /// Connections without a request on them.
    idle: Vec<Connection>,
}

/// Why there is no answer.
pub(crate) enum Failure {
    /// No connection, so the request has not left.
    Connect,
    /// The connection broke before the answer was there.
    Broken,
}

impl Target {
    pub(crate) fn new(name: String) -> Self {
        Self { name, answered: AtomicU64::new(0), state: Mutex::default() }
    }

    pub(crate) fn is_up(&self) -> bool {
        self.state().address.is_some()
    }

    /// The task listens.
    pub(crate) fn up(&self, address: SocketAddr) {
        *self.state() = State { address: Some(address), idle: Vec::new() };
    }

    /// The task drains or is gone: no new requests. Those on their way are not touched.
    pub(crate) fn down(&self) {
        *self.state() = State::default();
    }

    /// Sends a request and waits for the whole answer.
    pub(crate) async fn send(
        &self,
        request: Request<Full<Bytes>>,
    ) -> Result<Response<Full<Bytes>>, Failure> {
        let (address, idle) = {
            let mut state = self.state();
            (state.address.ok_or(Failure::Connect)?, state.idle.pop())
        };
        let mut connection = match idle.filter(|c| !c.is_closed()) {
            Some(connection) => connection,
            None => connect(address).await.map_err(|_| Failure::Connect)?,
        };
        let exchanged = exchange(&mut connection, request).await;
        let mut state = self.state();
        let Ok(answer) = exchanged else {
            // Its other connections are likely dead too.
            state.idle.clear();
            return Err(Failure::Broken);
        };
        self.answered.fetch_add(1, Relaxed);
        // The task may have been started anew meanwhile.
        if state.address == Some(address) && connection.is_ready() {
            state.idle.push(connection);
        }
        Ok(answer)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn connect(address: SocketAddr) -> io::Result<Connection> {
    let timeout = async {
        smol::Timer::after(CONNECT).await;
        Err(io::ErrorKind::TimedOut.into())
    };
    let stream = smol::future::or(Async::<TcpStream>::connect(address), timeout).await?;
    stream.get_ref().set_nodelay(true)?;
    let (sender, connection) = handshake(FuturesIo::new(stream)).await.map_err(io::Error::other)?;
    // Ends when the sender is dropped or the task hangs up.
    smol::spawn(connection).detach();
    Ok(sender)
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
