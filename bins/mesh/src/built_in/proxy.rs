//! HTTP from clients to targets, balanced per request.
//!
//! As Service Connect does it in HTTP mode, with the numbers of [`envoy_config::policy`].

use std::convert::Infallible;
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Duration;

use envoy_config::policy::{self, REQUEST_TIMEOUT};
use http_body_util::{BodyExt, Full};
use hyper::body::{Bytes, Incoming};
use hyper::header::{self, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode, Version};
use smol::Async;
use smol_hyper::rt::{FuturesIo, SmolTimer};

use super::balance::Balance;
use super::head::{self, remove_hop_by_hop};
use super::target::NoAnswer;
use crate::task::{Task, Traffic};
use crate::within::within;

/// The longest request body, in bytes: it is kept for the retries.
const MAX_BODY: usize = 1024 * 1024;
/// Pause after a failed accept: mostly the process is out of file descriptors.
const REST: Duration = Duration::from_millis(50);

/// How long a client may take to send a body; as long as greeter gives it.
const RECEIVE: Duration = Duration::from_secs(10);
/// How long a client may take to read what is written; as long as greeter gives it.
#[cfg(target_os = "linux")]
const SEND: Duration = Duration::from_secs(10);

/// A proxy in front of a service.
pub(super) struct Proxy {
    /// Its name in error answers.
    name: &'static str,
    /// The Host of requests without one.
    host: &'static str,
    pub(super) balance: Balance,
    closing: AtomicBool,
}

impl Proxy {
    pub(super) fn new(name: &'static str, host: &'static str, balance: Balance) -> Self {
        Self { name, host, balance, closing: AtomicBool::new(false) }
    }

    /// Accepts connections until dropped.
    pub(super) async fn serve(self: Arc<Self>, listener: Async<TcpListener>) {
        loop {
            let Ok((stream, _)) = listener.accept().await else {
                smol::Timer::after(REST).await;
                continue;
            };
            // Yields, because the accept queue may never be empty.
            smol::future::yield_now().await;
            let _ = stream.get_ref().set_nodelay(true);
            drop_if_deaf(stream.get_ref());
            let proxy = self.clone();
            let service = service_fn(move |request| {
                let proxy = proxy.clone();
                async move { Ok::<_, Infallible>(proxy.answer(request).await) }
            });
            let connection = http1::Builder::new()
                .timer(SmolTimer::new())
                .serve_connection(FuturesIo::new(stream), service);
            smol::spawn(async {
                // Fails if the client disconnects or does not speak HTTP.
                let _ = connection.await;
            })
            .detach();
        }
    }

    /// From now on, every answer closes its connection.
    pub(super) fn close(&self) {
        self.closing.store(true, Relaxed);
    }

    async fn answer(&self, request: Request<Incoming>) -> Response<Full<Bytes>> {
        let mut answer = match self.receive(request).await {
            Ok(request) => {
                within(REQUEST_TIMEOUT, self.forward(request)).await.unwrap_or_else(|| {
                    let text = format!("{}: no answer within {REQUEST_TIMEOUT:?}", self.name);
                    plain(StatusCode::GATEWAY_TIMEOUT, text)
                })
            }
            Err(refusal) => refusal,
        };
        remove_hop_by_hop(answer.headers_mut());
        *answer.version_mut() = Version::HTTP_11;
        if self.closing.load(Relaxed) {
            answer.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
        }
        answer
    }

    /// The complete request to pass on, or the error answer for the client.
    async fn receive(
        &self,
        request: Request<Incoming>,
    ) -> Result<Request<Full<Bytes>>, Response<Full<Bytes>>> {
        let (mut head, body) = request.into_parts();
        if let Err((status, text)) = head::pass_on(&mut head, self.host) {
            return Err(plain(status, text.to_owned()));
        }
        let late = Err((StatusCode::REQUEST_TIMEOUT, "the body took more than 10 s"));
        let body = within(RECEIVE, read(body)).await.unwrap_or(late);
        let body = body.map_err(|(status, text)| plain(status, text.to_owned()))?;
        Ok(Request::from_parts(head, Full::new(body)))
    }

    async fn forward(&self, request: Request<Full<Bytes>>) -> Response<Full<Bytes>> {
        let is_test = request.headers().contains_key(policy::TEST_HEADER);
        let traffic = if is_test { Traffic::Test } else { Traffic::Production };
        let mut failed: Vec<Task> = Vec::new();
        let mut refusal = None;
        for _ in 0..self.balance.tries() {
            let Some((target, address)) = self.balance.pick(traffic, &failed) else { break };
            match target.send(address, request.clone()).await {
                Ok(answer) if answer.status().is_server_error() => {
                    self.balance.failed(&target, address);
                    if answer.status() != policy::RETRIED_STATUS {
                        return answer;
                    }
                    refusal = Some(answer);
                }
                Ok(answer) => {
                    target.succeeded(address);
                    return answer;
                }
                Err(NoAnswer) => self.balance.failed(&target, address),
            }
            failed.push(target.task);
        }
        refusal.unwrap_or_else(|| {
            let text = if failed.is_empty() {
                format!("no task of {} is up", self.name)
            } else {
                let names: Vec<_> = failed.iter().map(Task::to_string).collect();
                format!("no answer from {}", names.join(", "))
            };
            plain(StatusCode::SERVICE_UNAVAILABLE, text)
        })
    }
}

/// Reads a whole body. One that is too long is read too, and discarded: closing its connection with
/// unread input would reset it, and the client could lose the answer.
async fn read(mut body: Incoming) -> Result<Bytes, (StatusCode, &'static str)> {
    let (mut kept, mut length) = (Vec::new(), 0);
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|_| (StatusCode::BAD_REQUEST, "the body is broken"))?;
        let data = frame.into_data().unwrap_or_default();
        length += data.len();
        if length <= MAX_BODY {
            kept.extend_from_slice(&data);
        }
    }
    if length <= MAX_BODY {
        Ok(kept.into())
    } else {
        Err((StatusCode::PAYLOAD_TOO_LARGE, "body over 1 MiB"))
    }
}

/// Lets the kernel reset the connection of a client that does not read its answers: hyper would wait
/// forever.
fn drop_if_deaf(stream: &TcpStream) {
    #[cfg(target_os = "linux")]
    {
        use nix::sys::socket::{setsockopt, sockopt::TcpUserTimeout};
        let limit = u32::try_from(SEND.as_millis()).unwrap_or(u32::MAX);
        // Fails only for sockets that are not TCP.
        let _ = setsockopt(stream, TcpUserTimeout, &limit);
    }
}

fn plain(status: StatusCode, text: String) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from(text)));
    *response.status_mut() = status;
    let text = HeaderValue::from_static("text/plain; charset=utf-8");
    response.headers_mut().insert(header::CONTENT_TYPE, text);
    response
}
