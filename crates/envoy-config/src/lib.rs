//! Envoy's configuration: every Envoy of the mesh, on this machine and in compose.yaml. Its numbers are in
//! [`policy`]. [`find()`] finds Envoy on this machine.

mod find;
pub mod policy;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use application::{EDGE, Service};
use serde_json::{Value, json};

pub use find::{find, is_program, on_path};

/// Whether Service Connect balances requests (`appProtocol` `http`) or connections (none).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Connect {
    /// Requests.
    Http,
    /// Whole connections.
    Tcp,
}

/// The configuration that one Envoy starts with, which Envoy calls bootstrap.
pub struct Bootstrap {
    /// The name of this Envoy, also in its statistics.
    pub name: String,
    /// The Unix socket of its administration interface: only its owner may connect, because it can
    /// also stop Envoy.
    pub admin: Option<PathBuf>,
    /// Whether its sidecars balance requests or connections.
    pub connect: Connect,
    /// Its listeners.
    pub listeners: Vec<Listener>,
    /// Where it sends its spans, in Zipkin's JSON. `None`: it makes none.
    pub collector: Option<SocketAddr>,
}

/// A listener: traffic to its addresses goes to the endpoints.
pub struct Listener {
    role: Role,
    /// At least one.
    addresses: Vec<SocketAddr>,
    /// The name of the endpoints' cluster; also in the statistics' names.
    service: &'static str,
    endpoints: Endpoints,
    /// The endpoints for test traffic, if it is separate.
    test: Option<Endpoints>,
}

/// The name of the task's application in its sidecar.
pub const APPLICATION: &str = "application";

/// The counter of what a sidecar's application has answered: requests without health checks, or, in
/// TCP mode, connections.
#[must_use]
pub fn answered(connect: Connect) -> &'static str {
    match connect {
        // "other": not the health checks, for which `http` makes a virtual cluster.
        Connect::Http => "vhost.application.vcluster.other.upstream_rq_completed",
        Connect::Tcp => "cluster.application.upstream_cx_total",
    }
}

impl Listener {
    /// The load balancer's, with the greeters behind it.
    #[must_use]
    pub fn load_balancer(address: SocketAddr, greeters: Endpoints) -> Self {
        let service = EDGE.dns_name;
        let addresses = vec![address];
        Self { role: Role::LoadBalancer, addresses, service, endpoints: greeters, test: None }
    }

    /// A sidecar's, with its task's application behind it, at one address at least.
    #[must_use]
    pub fn inbound(addresses: Vec<SocketAddr>, application: Endpoints) -> Self {
        Self {
            role: Role::Inbound,
            addresses,
            service: APPLICATION,
            endpoints: application,
            test: None,
        }
    }

    /// A greeter's sidecar's, with a leaf's tasks behind it.
    #[must_use]
    pub fn outbound(leaf: Service, address: SocketAddr, tasks: Endpoints) -> Self {
        Self {
            role: Role::Outbound,
            addresses: vec![address],
            service: leaf.dns_name,
            endpoints: tasks,
            test: None,
        }
    }

    /// Sends the requests with [`policy::TEST_HEADER`] to other endpoints. Not for sidecars in TCP mode.
    #[must_use]
    pub fn with_test(self, endpoints: Endpoints) -> Self {
        Self { test: Some(endpoints), ..self }
    }
}

/// The cluster of a service's tasks that get its test traffic.
#[must_use]
pub fn test_name(service: &str) -> String {
    format!("{service}-test")
}

/// A listener's clients and endpoints.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Role {
    /// Clients, and the tasks of a service.
    LoadBalancer,
    /// Anybody, and the application in the sidecar's own task.
    Inbound,
    /// The application in the sidecar's own task, and the tasks of a service.
    Outbound,
}

/// Where a cluster finds its endpoints.
pub enum Endpoints {
    /// In a file (see [`endpoints`]), read again when another is moved to its place.
    File(PathBuf),
    /// Names in the DNS, or addresses.
    Hosts(Vec<String>, u16),
}

/// App Mesh lifts Envoy's circuit breakers: with their default of three concurrent retries, greetings
/// would fail whenever more than three are on a task that dies.
const UNLIMITED: u32 = u32::MAX / 2;

impl Bootstrap {
    /// The contents of a file for `envoy --config-path`.
    #[must_use]
    pub fn json(&self) -> Value {
        let mut bootstrap = json!({
            "node": {"id": self.name, "cluster": "mesh"},
            "static_resources": {
                "listeners": self.listeners.iter().map(|l| self.listener(l)).collect::<Value>(),
                "clusters": self.listeners.iter().flat_map(|l| self.clusters(l)).collect::<Value>(),
            },
        });
        if let Some(path) = &self.admin {
            bootstrap["admin"] = json!({"address": {"pipe": {"path": path, "mode": 0o600}}});
        }
        if let Some(collector) = self.collector
            && let Some(clusters) = bootstrap["static_resources"]["clusters"].as_array_mut()
        {
            clusters.push(json!({
                "name": COLLECTOR,
                "load_assignment": assignment(COLLECTOR, std::iter::once(address(collector))),
            }));
            bootstrap["layered_runtime"] = json!({"layers": [{"name": "spans", "static_layer": {
                "tracing.zipkin.flush_interval_ms": SPANS_WITHIN.subsec_millis(),
                "tracing.zipkin.min_flush_spans": SPANS_AT_ONCE,
            }}]});
        }
        bootstrap
    }

    /// Whether it parses HTTP, or forwards bytes.
    fn is_http(&self, role: Role) -> bool {
        self.connect == Connect::Http || role == Role::LoadBalancer
    }

    fn listener(&self, listener: &Listener) -> Value {
        let role = listener.role;
        let filter = if self.is_http(role) {
            let kind = "filters.network.http_connection_manager.v3.HttpConnectionManager";
            let mut settings = http(listener);
            if self.collector.is_some() {
                settings["tracing"] = tracing();
                // Else it would take its spans for not sampled, and tell the others so.
                settings["generate_request_id"] = true.into();
            }
            filter("envoy.filters.network.http_connection_manager", kind, settings)
        } else {
            let settings = json!({
                "stat_prefix": listener.service,
                "cluster": listener.service,
                "idle_timeout": seconds(policy::IDLE_TCP),
            });
            filter(
                "envoy.filters.network.tcp_proxy",
                "filters.network.tcp_proxy.v3.TcpProxy",
                settings,
            )
        };
        let mut addresses = listener.addresses.iter().map(|&at| address(at));
        let mut listener = json!({
            "name": listener.service,
            "address": addresses.next(),
            "filter_chains": [{"filters": [filter]}],
        });
        if self.collector.is_some() {
            let out = role == Role::Outbound;
            listener["traffic_direction"] = if out { "OUTBOUND" } else { "INBOUND" }.into();
        }
        let others: Vec<_> = addresses.map(|address| json!({"address": address})).collect();
        if !others.is_empty() {
            listener["additional_addresses"] = others.into();
        }
        listener
    }

    /// What a listener sends to: a service's tasks, and those of its test traffic.
    fn clusters(&self, listener: &Listener) -> impl Iterator<Item = Value> {
        let test = listener.test.as_ref();
        let test =
            test.map(|tasks| self.cluster(&test_name(listener.service), listener.role, tasks));
        let tasks = self.cluster(listener.service, listener.role, &listener.endpoints);
        std::iter::once(tasks).chain(test)
    }

    fn cluster(&self, name: &str, role: Role, endpoints: &Endpoints) -> Value {
        let mut cluster = json!({
            "name": name,
            "connect_timeout": seconds(policy::CONNECT_TIMEOUT),
            "lb_policy": "ROUND_ROBIN",
            // Otherwise an ejection less than a second after another change would wait.
            "common_lb_config": {"update_merge_window": "0s"},
            "circuit_breakers": {"thresholds": [{
                "max_connections": UNLIMITED,
                "max_pending_requests": UNLIMITED,
                "max_requests": UNLIMITED,
                "max_retries": UNLIMITED,
            }]},
        });
        match endpoints {
            Endpoints::File(path) => {
                let source =
                    json!({"path_config_source": {"path": path}, "resource_api_version": "V3"});
                cluster["type"] = "EDS".into();
                cluster["eds_cluster_config"] = json!({"eds_config": source});
            }
            Endpoints::Hosts(hosts, port) => {
                let places = hosts.iter().map(|host| place(host, *port));
                cluster["type"] = "STRICT_DNS".into();
                cluster["dns_lookup_family"] = "V4_ONLY".into();
                cluster["load_assignment"] = assignment(name, places);
            }
        }
        if self.is_http(role) {
            let idle = idle_http(role);
            let kind = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions";
            cluster["typed_extension_protocol_options"] = json!({kind: {
                "@type": format!("type.googleapis.com/{kind}"),
                "common_http_protocol_options": {"idle_timeout": idle},
                "explicit_http_config": {"http_protocol_options": {}},
            }});
        }
        match role {
            Role::LoadBalancer => {
                cluster["health_checks"] = json!([{
                    "interval": seconds(policy::HEALTH_INTERVAL),
                    "no_traffic_interval": seconds(policy::HEALTH_INTERVAL),
                    "timeout": seconds(policy::HEALTH_TIMEOUT),
                    "healthy_threshold": policy::HEALTH_THRESHOLD,
                    "unhealthy_threshold": policy::HEALTH_THRESHOLD,
                    "http_health_check": {"path": "/health"},
                }]);
                // It tries unhealthy tasks only when none is healthy.
                cluster["common_lb_config"]["healthy_panic_threshold"] = json!({"value": 1});
                // A deregistered task gets no more requests, though it is healthy.
                cluster["ignore_health_on_host_removal"] = true.into();
            }
            Role::Outbound => {
                cluster["outlier_detection"] = json!({
                    "consecutive_5xx": policy::EJECT_AFTER,
                    "interval": seconds(policy::EJECT_INTERVAL),
                    "base_ejection_time": seconds(policy::EJECT_AT_LEAST),
                    "max_ejection_time": seconds(policy::EJECT_AT_MOST),
                    // One of two tasks is over Envoy's limit of 10 %.
                    "always_eject_one_host": true,
                });
            }
            Role::Inbound => {}
        }
        cluster
    }
}

/// The contents of an endpoints file: a service's tasks, or a task's application.
pub fn endpoints(service: &str, tasks: impl IntoIterator<Item = SocketAddr>) -> Value {
    let mut assignment = assignment(service, tasks.into_iter().map(address));
    assignment["@type"] =
        "type.googleapis.com/envoy.config.endpoint.v3.ClusterLoadAssignment".into();
    json!({"resources": [assignment]})
}

fn assignment(service: &str, places: impl Iterator<Item = Value>) -> Value {
    let endpoints: Value = places.map(|place| json!({"endpoint": {"address": place}})).collect();
    json!({"cluster_name": service, "endpoints": [{"lb_endpoints": endpoints}]})
}

/// The settings of an HTTP listener.
fn http(listener: &Listener) -> Value {
    let role = listener.role;
    let mut route =
        json!({"cluster": listener.service, "timeout": seconds(policy::REQUEST_TIMEOUT)});
    let mut filters = Vec::new();
    let mut forwarding = json!({});
    let mut settings = json!({
        "stat_prefix": listener.service,
        "common_http_protocol_options": {"idle_timeout": idle_http(role)},
        // `Upgrade` is ignored (RFC 9110, section 7.8), as in greeter. Envoy would answer 403, and
        // Apache's HttpClient sends it with every request.
        "http_protocol_options": {"ignore_http_11_upgrade": [{"safe_regex": {"regex": ".*"}}]},
    });
    match role {
        Role::LoadBalancer => {
            // It limits idle time, not the whole request.
            route["timeout"] = "0s".into();
            settings["stream_idle_timeout"] = seconds(policy::IDLE_LOAD_BALANCER).into();
            settings["http_protocol_options"]["accept_http_10"] = true.into();
            settings["http_protocol_options"]["default_host_for_http_10"] = "localhost".into();
            forwarding["suppress_envoy_headers"] = true.into();
            // HTTP/2 is for its HTTPS listeners.
            settings["codec_type"] = "HTTP1".into();
            // X-Forwarded-For, -Proto and -Port; no X-Request-Id, no Server of its own.
            settings["use_remote_address"] = true.into();
            settings["append_x_forwarded_port"] = true.into();
            settings["generate_request_id"] = false.into();
            settings["server_header_transformation"] = "PASS_THROUGH".into();
            let lua = json!({"default_source_code": {"inline_string": TRACE_ID}});
            filters.push(filter("envoy.filters.http.lua", "filters.http.lua.v3.Lua", lua));
        }
        Role::Outbound => {
            let others = "envoy.retry_host_predicates.previous_hosts";
            let kind = "retry.host.previous_hosts.v3.PreviousHostsPredicate";
            route["retry_policy"] = json!({
                // A reset: the task is gone with its proxy, so nothing can answer 503.
                "retry_on": "connect-failure,reset,retriable-status-codes",
                "retriable_status_codes": [policy::RETRIED_STATUS],
                "num_retries": policy::RETRIES,
                "retry_host_predicate": [filter(others, kind, json!({}))],
                "host_selection_retry_max_attempts": 5,
            });
        }
        Role::Inbound => {}
    }
    filters.push(filter("envoy.filters.http.router", "filters.http.router.v3.Router", forwarding));
    settings["http_filters"] = filters.into();
    let mut routes = vec![json!({"match": {"prefix": "/"}, "route": route})];
    if listener.test.is_some() {
        let mut test = routes[0].clone();
        test["match"]["headers"] = json!([{"name": policy::TEST_HEADER, "present_match": true}]);
        test["route"]["cluster"] = test_name(listener.service).into();
        routes.insert(0, test);
    }
    let mut host = json!({"name": listener.service, "domains": ["*"], "routes": routes});
    if role == Role::Inbound {
        // Counted separately: see `answered`.
        let path = json!({"name": ":path", "string_match": {"exact": "/health"}});
        host["virtual_clusters"] = json!([{"name": "health", "headers": [path]}]);
    }
    settings["route_config"] = json!({"virtual_hosts": [host]});
    if role == Role::LoadBalancer {
        settings["route_config"]["request_headers_to_remove"] = json!(["x-envoy-external-address"]);
    }
    settings
}

/// What the collector of the spans is called.
const COLLECTOR: &str = "collector";
/// An Envoy sends its spans after this time at the latest, and when it has so many.
pub const SPANS_WITHIN: Duration = Duration::from_millis(200);
const SPANS_AT_ONCE: u32 = 100;

/// The settings of a listener that makes spans: one for each request, and one for each attempt, or
/// two attempts would share one.
fn tracing() -> Value {
    json!({"spawn_upstream_span": true, "provider": {
        "name": "envoy.tracers.zipkin",
        "typed_config": {
            "@type": "type.googleapis.com/envoy.config.trace.v3.ZipkinConfig",
            "collector_cluster": COLLECTOR,
            "collector_endpoint": "/api/v2/spans",
            "collector_endpoint_version": "HTTP_JSON",
            "trace_id_128bit": true,
            "shared_span_context": false,
            // greeter passes `traceparent` on, and no header of B3.
            "trace_context_option": "USE_B3_WITH_W3C_PROPAGATION",
        },
    }})
}

/// X-Amzn-Trace-Id as the load balancer adds it: the time and a random number, in hexadecimal.
const TRACE_ID: &str = r#"math.randomseed(os.time() + tonumber(tostring({}):match("0x(%x+)"), 16))
function envoy_on_request(request)
  if not request:headers():get("x-amzn-trace-id") then
    local random = {}
    for i = 1, 24 do random[i] = string.format("%x", math.random(0, 15)) end
    local root = string.format("Root=1-%08x-%s", os.time(), table.concat(random))
    request:headers():add("x-amzn-trace-id", root)
  end
end
"#;

fn idle_http(role: Role) -> String {
    let balancer = role == Role::LoadBalancer;
    seconds(if balancer { policy::IDLE_LOAD_BALANCER } else { policy::IDLE_HTTP })
}

/// A duration in Envoy's format. All are whole seconds.
fn seconds(time: Duration) -> String {
    format!("{}s", time.as_secs())
}

/// An extension of Envoy, by its name and the type of its settings.
fn filter(name: &str, kind: &str, mut settings: Value) -> Value {
    settings["@type"] = format!("type.googleapis.com/envoy.extensions.{kind}").into();
    json!({"name": name, "typed_config": settings})
}

fn address(address: SocketAddr) -> Value {
    place(&address.ip().to_string(), address.port())
}

fn place(host: &str, port: u16) -> Value {
    json!({"socket_address": {"address": host, "port_value": port}})
}
