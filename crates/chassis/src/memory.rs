//! The process's allocator: musl's own takes one lock for all threads.

use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

// Under cargo-fuzz, AddressSanitizer's watches the heap instead.
#[cfg_attr(not(fuzzing), global_allocator)]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

#[allow(unsafe_code)] // of mimalloc's own interface, which its crate does not hand out
unsafe extern "C" {
    safe fn mi_collect(force: bool);
}

/// Fewer than this many of something that comes and goes take little memory: to give that back
/// costs more than it is worth.
const FEW: usize = 16;

/// How many there are of something that takes memory, and gives it back to the system when most
/// of it have gone: the allocator would keep it for those that may come.
#[derive(Debug, Default)]
pub struct Tide {
    /// The most that there were since memory was given back.
    high: AtomicUsize,
}

impl Tide {
    /// There are so many now.
    pub fn rises_to(&self, count: usize) {
        self.high.fetch_max(count, Relaxed);
    }

    /// There are only so many now, and what the others took is freed by this thread. When three
    /// of four have gone, it goes back to the system.
    pub fn falls_to(&self, count: usize) {
        let high = self.high.load(Relaxed);
        if high >= FEW && 4 * count <= high {
            self.high.store(count, Relaxed);
            give_back();
        }
    }
}

/// Gives what this thread has freed back to the system. By itself mimalloc does so only while
/// others allocate, and keeps the last page of each size. Takes some 20 us.
pub fn give_back() {
    mi_collect(true);
}
