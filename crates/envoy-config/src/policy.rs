//! How Service Connect and the Application Load Balancer treat a request: timeouts, retries, ejection.
//! Envoy is configured from these numbers, and the mesh's own proxies follow them.
//!
//! The values are those that AWS documents
//! (<https://docs.aws.amazon.com/AmazonECS/latest/developerguide/service-connect-concepts-deploy.html>);
//! where it is silent, those of App Mesh, which Service Connect grew out of
//! (<https://docs.aws.amazon.com/app-mesh/latest/userguide/envoy-defaults.html>).

use std::time::Duration;

/// The longest a request may take in HTTP mode.
pub const REQUEST_TIMEOUT: Duration = Duration::from_secs(15);
/// The longest that connecting to a task may take.
pub const CONNECT_TIMEOUT: Duration = Duration::from_secs(1);
/// A connection in HTTP mode ends after this long without a request.
pub const IDLE_HTTP: Duration = Duration::from_mins(5);
/// A connection in TCP mode ends after this long without a byte.
pub const IDLE_TCP: Duration = Duration::from_hours(1);

/// Retries, each on another task if there is one: if connecting fails, if the connection breaks before
/// the answer, and if the answer is [`RETRIED_STATUS`]. The load balancer does not retry.
pub const RETRIES: u32 = 2;
/// The status that is retried: a task's sidecar sends it when its application is gone.
pub const RETRIED_STATUS: u16 = 503;

/// A task is ejected (it gets no requests) after this many failures in a row: no answer, or a status
/// of 500 and above. The load balancer ejects none: it has its health check.
pub const EJECT_AFTER: u32 = 5;
/// The first ejection of a task lasts this long, the second twice as long, and so on.
pub const EJECT_AT_LEAST: Duration = Duration::from_secs(30);
/// No ejection is longer.
pub const EJECT_AT_MOST: Duration = Duration::from_mins(5);
/// How often Envoy checks whether an ejection is over.
pub(crate) const EJECT_INTERVAL: Duration = Duration::from_secs(30);

/// The load balancer's connections end after this long without a byte.
pub const IDLE_LOAD_BALANCER: Duration = Duration::from_mins(1);
/// The load balancer's health check, as Copilot's manifest sets it.
pub(crate) const HEALTH_INTERVAL: Duration = Duration::from_secs(5);
/// The longest a health check may take.
pub(crate) const HEALTH_TIMEOUT: Duration = Duration::from_secs(2);
/// This many health checks in a row make a task healthy, or unhealthy.
pub(crate) const HEALTH_THRESHOLD: u32 = 2;

/// The header of Service Connect's test traffic: requests with it, whatever its value, go to the new
/// tasks of a blue-green release, and no others do
/// (<https://docs.aws.amazon.com/AmazonECS/latest/developerguide/service-connect-blue-green.html>).
pub const TEST_HEADER: &str = "x-amzn-ecs-blue-green-test";
