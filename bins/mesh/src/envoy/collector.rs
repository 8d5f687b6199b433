//! Takes the spans of the Envoys, in Zipkin's JSON (<https://zipkin.io/zipkin-api>).

use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::time::Duration;

use application::{SERVICES, Service};
use envoy_config::{APPLICATION, test_name};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::{Bytes, Incoming};
use hyper::{Request, Response, StatusCode};
use serde::Deserialize;
use smol::Async;

use super::addresses::task_at;
use super::folder::LOAD_BALANCER;
use crate::connection;
use crate::task::Task;
use crate::trace::{Context, Kind, Place, Span, Traces};
use crate::within::within;

/// The longest list of spans, in bytes. An Envoy sends a hundred at most, of some 700 bytes each.
const MAX_BODY: usize = 1024 * 1024;
/// How long an Envoy may take to send them.
const RECEIVE: Duration = Duration::from_secs(5);

/// Takes spans until dropped.
pub(super) async fn collect(listener: Async<TcpListener>, traces: Arc<Traces>) {
    connection::serve(listener, move |request| take(request, traces.clone())).await;
}

async fn take(request: Request<Incoming>, traces: Arc<Traces>) -> Response<Full<Bytes>> {
    let body = within(RECEIVE, Limited::new(request.into_body(), MAX_BODY).collect()).await;
    let status = match body {
        None => StatusCode::REQUEST_TIMEOUT,
        // Broken, or more likely too long.
        Some(Err(_)) => StatusCode::PAYLOAD_TOO_LARGE,
        Some(Ok(body)) => match serde_json::from_slice::<Vec<Reported>>(&body.to_bytes()) {
            Ok(spans) => {
                spans.iter().filter_map(Reported::span).for_each(|span| traces.add(span));
                StatusCode::ACCEPTED
            }
            Err(_) => StatusCode::BAD_REQUEST,
        },
    };
    let mut response = Response::new(Full::default());
    *response.status_mut() = status;
    response
}

/// A span as Envoy writes it.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Reported {
    trace_id: String,
    id: String,
    parent_id: Option<String>,
    kind: Kind,
    timestamp: u64,
    duration: u64,
    tags: Tags,
}

#[derive(Deserialize)]
struct Tags {
    /// The Envoy, where the request was received.
    node_id: Option<String>,
    #[serde(rename = "upstream_cluster.name")]
    cluster: Option<String>,
    /// Whom an attempt was for.
    upstream_address: Option<SocketAddr>,
    #[serde(rename = "http.status_code")]
    status: Option<String>,
    #[serde(rename = "http.method")]
    method: Option<String>,
    #[serde(rename = "http.url")]
    url: Option<String>,
}

impl Reported {
    /// `None` if it is none of this mesh.
    fn span(&self) -> Option<Span> {
        let hex = |id: &String| u64::from_str_radix(id, 16).ok();
        let context =
            Context { trace: u128::from_str_radix(&self.trace_id, 16).ok()?, span: hex(&self.id)? };
        Some(Span {
            context,
            parent: self.parent_id.as_ref().and_then(hex),
            kind: self.kind,
            place: self.place()?,
            start: self.timestamp,
            duration: self.duration,
            status: self.tags.status.as_ref().and_then(|code| code.parse().ok()).unwrap_or(0),
        })
    }

    fn place(&self) -> Option<Place> {
        let Tags { node_id, cluster, upstream_address, method, url, .. } = &self.tags;
        let cluster = cluster.as_deref().unwrap_or_default();
        let is_to_application = cluster == APPLICATION;
        if self.kind == Kind::Client {
            return if is_to_application {
                // Its address may be any: a program of the user's has no task's.
                Some(Place::Application)
            } else {
                task_at(upstream_address.as_ref()?.ip()).map(Place::Sidecar)
            };
        }
        let node = node_id.as_deref()?;
        if node == LOAD_BALANCER {
            // http://host/path
            let path = url.as_deref().and_then(|url| url.splitn(4, '/').nth(3)).unwrap_or_default();
            return Some(Place::front(method.as_deref().unwrap_or_default(), &format!("/{path}")));
        }
        let task = Task::parse(node).ok()?;
        if is_to_application {
            return Some(Place::Sidecar(task));
        }
        let is_called = |service: &&Service| {
            [service.dns_name, &test_name(service.dns_name)].contains(&cluster)
        };
        SERVICES.iter().find(is_called).map(|&service| Place::Call(task, service))
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read as _, Write as _};
    use std::net::TcpStream;

    use super::*;
    use crate::loopback;
    use crate::trace::Which;

    #[test]
    fn what_is_no_list_of_spans_is_refused_and_the_rest_is_taken() {
        let port = loopback::port(0).unwrap();
        let (address, traces) = (port.address(), Arc::<Traces>::default());
        let listener = Async::new(port.listen().unwrap()).unwrap();
        smol::spawn(collect(listener, traces.clone())).detach();
        let status = |request: &[u8]| {
            let mut stream = TcpStream::connect(address).unwrap();
            stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
            // The answer may come before all of it is sent.
            let _ = stream.write_all(request);
            let mut answer = [0; 12];
            stream.read_exact(&mut answer).unwrap();
            String::from_utf8(answer.to_vec()).unwrap()
        };
        let send = |body: &str| {
            let length = body.len();
            status(
                format!("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: {length}\r\n\r\n{body}")
                    .as_bytes(),
            )
        };
        for not_json in ["", "spans", "{}", "[1]", "[{}]", r#"[{"id":"#, "\0"] {
            assert_eq!(send(not_json), "HTTP/1.1 400", "{not_json}");
        }
        assert_eq!(send(&"[".repeat(100_000)), "HTTP/1.1 400");
        assert_eq!(send(&format!("[{}]", " ".repeat(MAX_BODY))), "HTTP/1.1 413");
        assert_eq!(status(b"GET / HTTP/9.9\r\n\r\n"), "HTTP/1.1 400");

        let span = |kind: &str, id: &str, tags: &str| {
            format!(
                r#"{{"traceId":"a","id":"{id}","parentId":"b","kind":"{kind}","timestamp":1,
                "duration":2,"more":[{{}}],"tags":{{"http.status_code":"200",{tags}}}}}"#
            )
        };
        // Of nobody here, and with an id that is none.
        let spans = [
            span("SERVER", "c", r#""node_id":"cook-1""#),
            span("SERVER", "c", r#""node_id":"name-1","upstream_cluster.name":"cook""#),
            span("CLIENT", "c", r#""upstream_address":"127.1.9.1:80""#),
            span("CLIENT", "x", r#""upstream_address":"127.1.1.1:80""#),
            span("CLIENT", "d", r#""upstream_address":"127.1.2.3:80""#),
            span("SERVER", "b", "\"node_id\":\"load-balancer\",\"http.method\":\"\\u001b\""),
        ];
        let body = format!("[{}]", spans.join(","));
        let (one, two) = body.split_at(99);
        let chunks = [one, two, ""].map(|part| format!("{:x}\r\n{part}\r\n", part.len())).concat();
        let head = "POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n";
        assert_eq!(status(format!("{head}{chunks}").as_bytes()), "HTTP/1.1 202");
        let which = Which { failed: false, slowest: None };
        let found = loop {
            let found = traces.kept(which, false).unwrap();
            if found != "no request has come yet" {
                break found;
            }
            std::thread::yield_now();
        };
        let names: Vec<_> =
            found.lines().map(|line| line.split("  ").find(|w| !w.is_empty())).collect();
        assert_eq!(names, [Some(r"\u{1b} /"), Some("name-3's sidecar")], "{found}");
    }
}
