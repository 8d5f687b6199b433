//! How long connecting and accepting take, and what a connection holds: each number once, with
//! its reason.

use std::time::Duration;

/// Bytes that are read at once, and the room for input that a connection keeps. Nearly every
/// request fits.
pub const READ: usize = 4096;
/// The most that the kernel holds for an accepted connection of what its peer does not read,
/// and as much of what is not read here, in bytes; Linux takes twice as many, with its own
/// book-keeping. Without a limit it is 4 to 6 MiB (tcp(7)): 40 clients held 152 MiB. So 4,096
/// hold 256 MiB, of a task's 512.
pub const UNREAD: usize = 16 * 1024;
/// How long accepting rests when it fails: there are no files left until some connection
/// ends, and trying again at once would take the CPU that ending needs.
pub const REST: Duration = Duration::from_millis(50);

/// Connecting may take this long, all addresses together; within a network it takes a
/// millisecond. A peer whose kernel does not answer for as long later on is gone.
pub const CONNECT: Duration = Duration::from_millis(500);
/// After so long without an answer the next address is tried as well: the least that
/// RFC 8305, section 8, recommends.
pub const NEXT_ADDRESS: Duration = Duration::from_millis(100);
/// How often an address is tried: a first packet may be lost.
pub const ATTEMPTS: u32 = 2;
/// An address that gave no connection is tried last for so long.
pub const AVOIDED: Duration = Duration::from_secs(30);
/// How long an address is used before it is looked up again, in the background. Service
/// Connect's names are lines in /etc/hosts and never change while a task lives.
pub const FRESH: Duration = Duration::from_secs(10);
