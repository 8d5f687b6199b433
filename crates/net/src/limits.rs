//! Timeouts of connecting and accepting, and buffer sizes: each number once, with its reason.

use std::time::Duration;

/// How many bytes are read at once, and the size of an idle connection's buffer. Nearly every request
/// fits.
pub const READ_SIZE: usize = 4096;
/// The size of the kernel's two buffers for an accepted connection, in bytes: for what its peer
/// has not read, and for what we have not read. Linux takes twice as much, for its own
/// book-keeping. Without a limit a buffer grows to 4 or 6 MiB (tcp(7)): 40 clients held 152 MiB.
/// With this one, 4,096 connections hold 256 MiB at most, half of a task's memory.
pub const SOCKET_BUFFER: usize = 16 * 1024;
/// The pause after a failed accept. Mostly the process is out of file descriptors until a connection
/// ends; retrying at once would take the CPU that the connections need.
pub const ACCEPT_BACKOFF: Duration = Duration::from_millis(50);

/// The timeout of connecting, for all addresses together; within a network it takes a millisecond. On
/// an open connection, a peer whose kernel does not answer for this long is gone.
pub const CONNECT: Duration = Duration::from_millis(500);
/// After this time without an answer the next address is tried as well: the least that RFC 8305,
/// section 8, recommends.
pub const ATTEMPT_DELAY: Duration = Duration::from_millis(100);
/// How often an address is tried, because a first packet may be lost.
pub const ATTEMPTS: u32 = 2;
/// For this time, an address that failed is tried after the others.
pub const ADDRESS_BACKOFF: Duration = Duration::from_secs(30);
/// How long an address is used before it is looked up again, in the background. Service
/// Connect's names are lines in /etc/hosts and never change while a task lives.
pub const ADDRESS_TTL: Duration = Duration::from_secs(10);
/// The least time between look-ups of a name that was not found, or whose addresses all failed.
pub const LOOKUP_INTERVAL: Duration = Duration::from_secs(1);
/// A query without an answer is sent again after this time: a packet may be lost, and a call has 2 s.
pub const QUERY_RETRY: Duration = Duration::from_millis(400);
/// The most concurrent queries for one address family of a host, each on a thread. While a name
/// server is silent, musl blocks each for 5 s, so that five allow one query a second.
pub const MAX_QUERIES: u32 = 5;
/// Once one address family is resolved, the other is waited for at most this long: the resolution
/// delay of RFC 8305, section 3.
pub const RESOLUTION_DELAY: Duration = Duration::from_millis(50);
