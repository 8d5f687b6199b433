//! How long connecting and accepting take, and what a connection holds: each number once, with
//! its reason.

use std::time::Duration;

/// How many bytes are read at once, and the room for input that a connection keeps. Nearly every
/// request fits.
pub const READ: usize = 4096;
/// The size of the kernel's two buffers for an accepted connection, in bytes: for what its peer
/// has not read, and for what we have not read. Linux takes twice as much, for its own
/// book-keeping. Without a limit a buffer grows to 4 or 6 MiB (tcp(7)): 40 clients held 152 MiB.
/// With this one, 4,096 connections hold 256 MiB at most, half of a task's memory.
pub const UNREAD: usize = 16 * 1024;
/// How long accepting rests after a failure. Mostly there are no files left until a connection
/// ends; trying again at once would take the CPU that the connections need to end.
pub const REST: Duration = Duration::from_millis(50);

/// The most that connecting may take, for all addresses together; within a network it takes a
/// millisecond. Later, a peer whose kernel does not answer for this long is gone.
pub const CONNECT: Duration = Duration::from_millis(500);
/// After this time without an answer the next address is tried as well: the least that RFC 8305,
/// section 8, recommends.
pub const NEXT_ADDRESS: Duration = Duration::from_millis(100);
/// How often an address is tried, because a first packet may be lost.
pub const ATTEMPTS: u32 = 2;
/// For this time, an address that gave no connection is tried after the others.
pub const AVOIDED: Duration = Duration::from_secs(30);
/// How long an address is used before it is looked up again, in the background. Service
/// Connect's names are lines in /etc/hosts and never change while a task lives.
pub const FRESH: Duration = Duration::from_secs(10);
/// A name that was not found, or whose addresses took no connection, is looked up again after this
/// time at the earliest, however many calls fail.
pub const LOOK_AGAIN: Duration = Duration::from_secs(1);
/// After this time without an answer a question for addresses is put again: a packet may be lost,
/// and a call has 2 s.
pub const ASK_AGAIN: Duration = Duration::from_millis(400);
/// The questions for one family of a host's addresses that wait for an answer at a time, each on a
/// thread. While a name server is silent, musl holds each for 5 s: with five there is one in every
/// second.
pub const ASKING: u32 = 5;
/// Once one family of addresses is found, the other one is waited for no longer than this: the
/// resolution delay of RFC 8305, section 3.
pub const OTHER_FAMILY: Duration = Duration::from_millis(50);
