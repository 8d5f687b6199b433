//! How much greeter takes of anything, and how long it waits: each number once, with its
//! reason. What HTTP/1.1 is limited to is in `http1::limits`, and what sockets are in `net::limits`.

use std::time::Duration;

/// Client connections at a time, where `MAX_CONNECTIONS` says nothing else: with what the
/// kernel and a coroutine's stack hold for each, they fit into 512 MiB (docs/http.md).
pub const CONNECTIONS: usize = 4096;
/// The most that `MAX_CONNECTIONS` may say. A coroutine's stack takes two of the 65,530 memory
/// maps that Linux gives a process (`vm.max_map_count`), and without one more the process
/// would end.
pub const MOST_CONNECTIONS: usize = 20_000;
/// Connections over that limit that are answered 503 at a time; more are just closed, for an
/// answer takes a coroutine too.
pub const TURNED_AWAY: usize = 64;
/// Container health checks over the limit that are served at a time: ECS ends a task whose
/// checks fail, and one that is full is well. A check takes a connection, every 5 s.
pub const CHECKS: usize = 4;
/// After a drain, once no connection can come any more, the process ends when nothing has been
/// in flight for so long.
pub const LAST_QUIET: Duration = Duration::from_millis(50);

/// How long a closing connection is still read from: see `connection`.
pub const LINGER: Duration = Duration::from_secs(1);
/// And for how many bytes: more than a client sends before it reads why it was refused.
pub const LINGER_BYTES: usize = 1024 * 1024;

/// A whole greeting may take this long, whatever has to be done for it.
pub const BUDGET: Duration = Duration::from_secs(2);
/// A connection to a service is used this long at most, so that new tasks of the service get
/// calls even where balancing is per connection (Service Connect in TCP mode).
pub const MAX_AGE: Duration = Duration::from_secs(30);
/// A connection to a service is closed when nobody has used it for this long: a leaf keeps 68 KiB
/// for each, and takes no more than so many, whoever has them.
pub const UNUSED: Duration = Duration::from_secs(3);
/// Calls to one service at a time; more fail with 503.
pub const CALLS: usize = 1024;
/// The most bytes of headers passed on; a header that would exceed them stays behind. A trace
/// has about 100, but `tracestate` and `baggage` may be long.
pub const PASSED_ON: usize = 2048;

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
