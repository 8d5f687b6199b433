//! HTTP from clients to targets, balanced per request.
//!
//! As Service Connect does it in HTTP mode: round robin over the tasks that are up, and
//! up to two more tries, each on the next task, when a request got no answer.

use std::convert::Infallible;
use std::net::TcpListener;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};
use std::time::Duration;

use http_body_util::{BodyExt, Full, Limited};
use hyper::body::{Bytes, Incoming};
use hyper::header::{self, HeaderMap, HeaderName, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode, Uri, Version};
use smol::Async;
use smol_hyper::rt::{FuturesIo, SmolTimer};

use super::target::{Failure, Target};

/// Service Connect's limit for a request in HTTP mode.
const TIMEOUT: Duration = Duration::from_secs(15);
/// One try and Service Connect's two retries.
const TRIES: usize = 3;
/// The longest request body, in bytes: it is kept for the retries.
const MAX_BODY: usize = 1024 * 1024;
/// Rest after a failed accept: there are no files left until a connection ends.
const REST: Duration = Duration::from_millis(50);

/// Headers that belong to one connection (RFC 9110, section 7.6.1).
const HOP_BY_HOP: [HeaderName; 6] = [
    header::CONNECTION,
    HeaderName::from_static("keep-alive"),
    header::TE,
    header::TRAILER,
    header::TRANSFER_ENCODING,
    header::UPGRADE,
];

/// A round-robin proxy.
pub(crate) struct Proxy {
    /// What it stands in front of.
    pub(crate) name: &'static str,
    pub(crate) targets: Vec<Arc<Target>>,
    turn: AtomicUsize,
    closing: AtomicBool,
}

impl Proxy {
    pub(crate) fn new(name: &'static str, targets: Vec<Arc<Target>>) -> Arc<Self> {
        Arc::new(Self { name, targets, turn: AtomicUsize::new(0), closing: AtomicBool::new(false) })
    }

    /// Accepts connections until dropped.
    pub(crate) async fn serve(self: Arc<Self>, listener: Async<TcpListener>) {
        loop {
            let Ok((stream, _)) = listener.accept().await else {
                smol::Timer::after(REST).await;
                continue;
            };
            let _ = stream.get_ref().set_nodelay(true);
            let proxy = self.clone();
            let service = service_fn(move |request| {
                let proxy = proxy.clone();
                async move { Ok::<_, Infallible>(proxy.answer(request).await) }
            });
            let connection = http1::Builder::new()
                .timer(SmolTimer::new())
                .serve_connection(FuturesIo::new(stream), service);
            smol::spawn(async {
                // It fails when the client hangs up or speaks no HTTP: its own business.
                let _ = connection.await;
            })
            .detach();
        }
    }

    /// Says on every answer from now on that it is the last on its connection.
    pub(crate) fn close(&self) {
        self.closing.store(true, Relaxed);
    }

    async fn answer(&self, request: Request<Incoming>) -> Response<Full<Bytes>> {
        let timeout = async {
            smol::Timer::after(TIMEOUT).await;
            plain(StatusCode::GATEWAY_TIMEOUT, format!("{}: no answer within 15 s", self.name))
        };
        let mut answer = smol::future::or(self.forward(request), timeout).await;
        remove_hop_by_hop(answer.headers_mut());
        *answer.version_mut() = Version::HTTP_11;
        if self.closing.load(Relaxed) {
            answer.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
        }
        answer
    }

    async fn forward(&self, request: Request<Incoming>) -> Response<Full<Bytes>> {
        let (mut head, body) = request.into_parts();
        let Ok(body) = Limited::new(body, MAX_BODY).collect().await else {
            return plain(StatusCode::PAYLOAD_TOO_LARGE, "body broken or over 1 MiB".into());
        };
        let body = Full::new(body.to_bytes());
        remove_hop_by_hop(&mut head.headers);
        // The body is here in one piece; hyper says its length itself.
        head.headers.remove(header::CONTENT_LENGTH);
        head.headers.remove(header::EXPECT);
        head.version = Version::HTTP_11;
        head.headers.entry(header::HOST).or_insert_with(|| HeaderValue::from_static(self.name));
        if let Some(path) = head.uri.path_and_query() {
            head.uri = Uri::from(path.clone());
        }

        let mut failed: Vec<&str> = Vec::new();
        for _ in 0..TRIES {
            let Some(target) = self.pick(&failed) else { break };
            match target.send(Request::from_parts(head.clone(), body.clone())).await {
                Ok(answer) => return answer,
                // Whether it was carried out nobody knows: only what may be done twice
                // is sent again.
                Err(Failure::Broken) if !head.method.is_idempotent() => {
                    let text = format!("{}: the connection broke", target.name);
                    return plain(StatusCode::BAD_GATEWAY, text);
                }
                Err(Failure::Connect | Failure::Broken) => failed.push(&target.name),
            }
        }
        let text = match failed.as_slice() {
            [] => format!("no task of {} is up", self.name),
            names => format!("no answer from {}", names.join(", ")),
        };
        plain(StatusCode::SERVICE_UNAVAILABLE, text)
    }

    /// The next task in turn that is up, another than those that failed if there is one.
    fn pick(&self, failed: &[&str]) -> Option<&Arc<Target>> {
        let up: Vec<_> = self.targets.iter().filter(|t| t.is_up()).collect();
        let fresh = up.iter().filter(|t| !failed.contains(&t.name.as_str())).copied();
        let mut choice: Vec<_> = fresh.collect();
        if choice.is_empty() {
            choice = up;
        }
        let turn = self.turn.fetch_add(1, Relaxed);
        choice.get(turn.checked_rem(choice.len())?).copied()
    }
}

fn remove_hop_by_hop(headers: &mut HeaderMap) {
    for name in &HOP_BY_HOP {
        headers.remove(name);
    }
}

fn plain(status: StatusCode, text: String) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from(text)));
    *response.status_mut() = status;
    let text = HeaderValue::from_static("text/plain; charset=utf-8");
    response.headers_mut().insert(header::CONTENT_TYPE, text);
    response
}
