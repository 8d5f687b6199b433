//! What a start needs of the system. may ends the process without a word where one of these is
//! refused to it, so they are asked for first.

use std::fmt;
use std::fs::File;
use std::io;
use std::sync::Mutex;
use std::thread;

use nix::sys::resource::{Resource, getrlimit};

/// MiB of address space, most of it for the allocator's first block: greeter starts with 190.
const ADDRESS_SPACE: u64 = 192;

/// Files besides those that are open already. A leaf opens most, 18.
const FILES: usize = 24;

/// Threads at a time: may's timers and its worker, the deadlines', and the one that starts them.
const THREADS: usize = 4;

/// A limit of the system that forbids a start.
#[derive(Debug)]
pub(crate) enum Missing {
    Memory,
    Files(io::Error),
    Threads(io::Error),
}

impl fmt::Display for Missing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("cannot start without ")?;
        match self {
            Self::Memory => {
                write!(f, "{ADDRESS_SPACE} MiB of address space: raise ulimit -v and ulimit -d")
            }
            Self::Files(error) => write!(f, "{FILES} more files: {error}: raise ulimit -n"),
            Self::Threads(error) => {
                write!(f, "{THREADS} more threads: {error}: raise ulimit -u, or a container's pids")
            }
        }
    }
}

/// Looks at the limits of memory, and takes none: without it nothing else can be asked for.
pub(crate) fn memory() -> Result<(), Missing> {
    let is_enough = |resource: Resource| {
        getrlimit(resource).is_ok_and(|(soft, _)| soft >= ADDRESS_SPACE * 1024 * 1024)
    };
    let all = [Resource::RLIMIT_AS, Resource::RLIMIT_DATA].into_iter().all(is_enough);
    if all { Ok(()) } else { Err(Missing::Memory) }
}

/// Takes files and threads, and gives them back.
pub(crate) fn files_and_threads() -> Result<(), Missing> {
    take_files().map_err(Missing::Files)?;
    take_threads().map_err(Missing::Threads)
}

fn take_files() -> io::Result<()> {
    let first = File::open("/")?;
    let others: io::Result<Vec<_>> = (1..FILES).map(|_| first.try_clone()).collect();
    others.map(drop)
}

fn take_threads() -> io::Result<()> {
    let gate = Mutex::new(());
    thread::scope(|scope| {
        // They are there at the same time, until the last one is.
        let _closed = gate.lock();
        (0..THREADS).try_for_each(|_| {
            let waits = thread::Builder::new().spawn_scoped(scope, || drop(gate.lock()));
            waits.map(drop)
        })
    })
}
