//! The system resources that a start needs. may aborts without a message if one of them is missing,
//! so they are checked first.

use std::fmt;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::sync::Mutex;
use std::thread;

use nix::sys::resource::{Resource, getrlimit};

/// MiB of address space, most of it for the allocator's first block: greeter starts with 190.
const ADDRESS_SPACE: u64 = 192;

/// File descriptors besides those that are open already. A leaf opens the most, 18.
const FILES: usize = 24;

/// Concurrent threads: may's timers and its worker, the deadlines', and the one that starts them.
const THREADS: usize = 4;

/// A limit of this many files or threads is certainly enough. Starting four threads as a test costs
/// 0.2 ms and 100 KiB, so it is done only under a lower limit.
const MANY: u64 = 1000;

/// The limit of threads of a container, or of a service of systemd: cgroups' file of that name.
const PIDS_MAX: &str = "/sys/fs/cgroup/pids.max";

/// A system limit that prevents a start.
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

/// Checks the limits of memory, without allocating.
pub(crate) fn memory() -> Result<(), Missing> {
    let enough = ADDRESS_SPACE * 1024 * 1024;
    let is_little = |resource| limit(resource) < enough;
    if is_little(Resource::RLIMIT_AS) || is_little(Resource::RLIMIT_DATA) {
        return Err(Missing::Memory);
    }
    Ok(())
}

/// Opens files and starts threads if the limits are low, and releases them.
pub(crate) fn files_and_threads() -> Result<(), Missing> {
    if limit(Resource::RLIMIT_NOFILE) < MANY {
        take_files().map_err(Missing::Files)?;
    }
    // macOS limits processes, and not threads.
    let threads = cfg_select! { target_os = "linux" => limit(Resource::RLIMIT_NPROC), _ => MANY };
    if threads < MANY || has_few_pids() {
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
    let barrier = Mutex::new(());
    thread::scope(|scope| {
        // Holds all threads until the last one has started.
        let _closed = barrier.lock();
        (0..THREADS).try_for_each(|_| {
            let waits = thread::Builder::new().spawn_scoped(scope, || drop(barrier.lock()));
            waits.map(drop)
        })
    })
}
