//! What a start needs of the system. may ends the process without a word where one of these is
//! refused to it, so they are asked for first.

use std::fmt;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::sync::Mutex;
use std::thread;

use nix::sys::resource::{Resource, getrlimit};

/// MiB of address space, most of it for the allocator's first block: greeter starts with 190.
const ADDRESS_SPACE: u64 = 192;

/// Files besides those that are open already. A leaf opens most, 18.
const FILES: usize = 24;

/// Threads at a time: may's timers and its worker, the deadlines', and the one that starts them.
const THREADS: usize = 4;

/// A limit of so many files, or threads, leaves room for a start. To take four threads for nothing
/// costs 0.2 ms and 100 KiB, so it is done under a lower limit only.
const MANY: u64 = 1000;

/// The limit of threads of a container, or of a service of systemd: cgroups' file of that name.
const PIDS_MAX: &str = "/sys/fs/cgroup/pids.max";

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
    let enough = ADDRESS_SPACE * 1024 * 1024;
    let is_little = |resource| limit(resource) < enough;
    if is_little(Resource::RLIMIT_AS) || is_little(Resource::RLIMIT_DATA) {
        return Err(Missing::Memory);
    }
    Ok(())
}

/// Takes files and threads where they may be few, and gives them back.
pub(crate) fn files_and_threads() -> Result<(), Missing> {
    if limit(Resource::RLIMIT_NOFILE) < MANY {
        take_files().map_err(Missing::Files)?;
    }
    if limit(Resource::RLIMIT_NPROC) < MANY || has_few_pids() {
        take_threads().map_err(Missing::Threads)?;
    }
    Ok(())
}

fn limit(resource: Resource) -> u64 {
    getrlimit(resource).map_or(u64::MAX, |(soft, _)| soft)
}

/// Whether [`PIDS_MAX`] is a number below [`MANY`]: no more than three digits, and a newline.
/// Without a limit it is the word "max".
fn has_few_pids() -> bool {
    let mut text = [0; 8];
    let read = File::open(PIDS_MAX).and_then(|file| file.read_at(&mut text, 0));
    read.is_ok_and(|length| length <= 4) && text[0].is_ascii_digit()
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
