//! greeter's limits and timeouts: each number once, with its reason. Those of HTTP/1.1 are in
//! `http1::limits`, those of sockets in `net::limits`.

use std::time::Duration;

/// The default of `MAX_CONNECTIONS`, concurrent client connections. With the kernel's buffers and a
/// coroutine's stack for each, they fit into 512 MiB (docs/http.md).
pub const DEFAULT_CONNECTIONS: usize = 4096;
/// The most that `MAX_CONNECTIONS` may be. A coroutine's stack takes two of the 65,530 memory maps
/// that Linux allows a process (`vm.max_map_count`), and beyond them the process would abort.
pub const MAX_CONNECTIONS: usize = 20_000;
/// Concurrent connections over that limit that are answered 503; more are just closed, because an
/// answer takes a coroutine too.
pub const MAX_REJECTIONS: usize = 64;
/// Concurrent container health checks that are served over the limit: ECS stops a task whose checks
/// fail, but a task at its limit is healthy. There is one check every 5 s.
pub const MAX_HEALTH_CHECKS: usize = 4;
/// After a drain, when no new connection can come, the process ends after this long without a request
/// in flight.
pub const LAST_QUIET: Duration = Duration::from_millis(50);

/// How long a closing connection is still read: see `connection`.
pub const LINGER: Duration = Duration::from_secs(1);
/// And for how many bytes: more than a client sends before it reads why it was refused.
pub const LINGER_BYTES: usize = 1024 * 1024;

/// The budget of a whole greeting.
pub const BUDGET: Duration = Duration::from_secs(2);
/// A connection to a service is used this long at most, so that new tasks of the service get
/// calls even where balancing is per connection (Service Connect in TCP mode).
pub const MAX_AGE: Duration = Duration::from_secs(30);
/// An idle connection to a service is closed after this long: each costs a leaf 68 KiB, and counts
/// towards its connection limit.
pub const POOL_IDLE_TIMEOUT: Duration = Duration::from_secs(3);
/// Concurrent calls to one service; more fail with 503.
pub const MAX_CALLS: usize = 1024;
/// The most bytes of headers passed on; a header that would exceed them is dropped. A trace has about
/// 100, but `tracestate` and `baggage` may be long.
pub const FORWARDED: usize = 2048;

/// A body up to this long is copied behind its head, because one piece is cheaper to send than
/// two. A longer one is not: unread, it would cost memory.
pub const SHORT_BODY: usize = 1024;

/// How long a connection waits for its client.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// For a further request.
    pub idle: Duration,
    /// For the first byte, for the rest of a head, and for a body, each.
    pub receive: Duration,
    /// For an answer to be read.
    pub send: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            // Longer than the 60 s of a load balancer that asks greeter itself, as the stack's
            // does: it must be the one to close, or it answers its clients 502. Where a sidecar
            // comes in between (Copilot), that one closes after 300 s, so greeter does first,
            // and the sidecar asks again.
            idle: Duration::from_secs(75),
            // More than a slow client needs for a head, and less than would let a thousand of
            // them hold a thousand connections for long.
            receive: Duration::from_secs(10),
            send: Duration::from_secs(10),
        }
    }
}
