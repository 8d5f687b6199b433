//! HTTP from clients to targets, balanced per request.
//!
//! As Service Connect does it in HTTP mode, with the numbers of [`envoy_config::policy`].

use std::net::TcpListener;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Duration;

use application::{Kind, Service};
use envoy_config::policy::{self, REQUEST_TIMEOUT};
use http_body_util::{BodyExt, Full};
use hyper::body::{Bytes, Incoming};
use hyper::header::{self, HeaderValue};
use hyper::{Request, Response, StatusCode, Version};
use smol::Async;

use super::balance::Balance;
use super::head::{self, remove_hop_by_hop};
use super::recording::Recording;
use super::target::NoAnswer;
use crate::connection;
use crate::task::{Task, Traffic, front_name};
use crate::trace::{Place, Traces};
use crate::within::within;

/// The longest request body, in bytes: it is kept for the retries.
const MAX_BODY: usize = 1024 * 1024;

/// How long a client may take to send a body; as long as greeter gives it.
const RECEIVE: Duration = Duration::from_secs(10);

/// A proxy in front of a service.
pub(super) struct Proxy {
    service: Service,
    /// Its name in error answers.
    name: &'static str,
    pub(super) balance: Balance,
    closing: AtomicBool,
    /// With `--trace`.
    traces: Option<Arc<Traces>>,
}

impl Proxy {
    pub(super) fn new(service: Service, balance: Balance, traces: Option<Arc<Traces>>) -> Self {
        let name = front_name(service);
        Self { service, name, balance, closing: AtomicBool::new(false), traces }
    }

    /// Accepts connections until dropped.
    pub(super) async fn serve(self: Arc<Self>, listener: Async<TcpListener>) {
        connection::serve(listener, move |request| {
            let proxy = self.clone();
            async move { proxy.answer(request).await }
        })
        .await;
    }

    /// From now on, every answer closes its connection.
    pub(super) fn close(&self) {
        self.closing.store(true, Relaxed);
    }

    async fn answer(&self, request: Request<Incoming>) -> Response<Full<Bytes>> {
        let recording = self.traces.as_ref().map(|traces| {
            let place = match self.service.kind {
                Kind::Edge => Place::front(request.method().as_str(), request.uri().path()),
                Kind::Leaf => Place::Proxy(self.service),
            };
            Recording::of_request(traces, place, request.headers())
        });
        let mut answer = match self.receive(request).await {
            Ok(request) => {
                let forwarded = self.forward(request, recording.as_ref());
                within(REQUEST_TIMEOUT, forwarded).await.unwrap_or_else(|| {
                    let text = format!("{}: no answer within {REQUEST_TIMEOUT:?}", self.name);
                    plain(StatusCode::GATEWAY_TIMEOUT, text)
                })
            }
            Err(refusal) => refusal,
        };
        if let Some(recording) = recording {
            recording.answered(answer.status());
        }
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
        if let Err((status, text)) = head::pass_on(&mut head, self.service.dns_name) {
            return Err(plain(status, text.to_owned()));
        }
        let late = Err((StatusCode::REQUEST_TIMEOUT, "the body took more than 10 s"));
        let body = within(RECEIVE, read(body)).await.unwrap_or(late);
        let body = body.map_err(|(status, text)| plain(status, text.to_owned()))?;
        Ok(Request::from_parts(head, Full::new(body)))
    }

    async fn forward(
        &self,
        request: Request<Full<Bytes>>,
        recording: Option<&Recording>,
    ) -> Response<Full<Bytes>> {
        let is_test = request.headers().contains_key(policy::TEST_HEADER);
        let traffic = if is_test { Traffic::Test } else { Traffic::Production };
        let mut failed: Vec<Task> = Vec::new();
        let mut refusal = None;
        for _ in 0..self.balance.tries() {
            let Some((target, address)) = self.balance.pick(traffic, &failed) else { break };
            let mut request = request.clone();
            let attempt = recording.map(|received| received.attempt(target.task, &mut request));
            let sent = target.send(address, request).await;
            if let (Some(attempt), Ok(answer)) = (attempt, &sent) {
                attempt.answered(answer.status());
            }
            match sent {
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

fn plain(status: StatusCode, text: String) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from(text)));
    *response.status_mut() = status;
    let text = HeaderValue::from_static("text/plain; charset=utf-8");
    response.headers_mut().insert(header::CONTENT_TYPE, text);
    response
}
