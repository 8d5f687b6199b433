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

/// The high-water mark of a count, such as that of connections. When the count has fallen far below
/// it, memory goes back to the system; the allocator would keep it.
#[derive(Debug, Default)]
pub struct HighWaterMark {
    /// The highest count since memory was last given back.
    high: AtomicUsize,
}

impl HighWaterMark {
    /// The count has risen to this.
    pub fn raise_to(&self, count: usize) {
        self.high.fetch_max(count, Relaxed);
    }

    /// The count has fallen to this, and this thread has freed the memory. At a quarter of the
    /// high-water mark, memory goes back to the system.
    pub fn lower_to(&self, count: usize) {
        let high = self.high.load(Relaxed);
        if high >= FEW && 4 * count <= high {
            self.high.store(count, Relaxed);
            give_back();
        }
    }
}

/// Returns memory that this thread has freed to the system. By itself mimalloc does so only during
/// later allocations, and keeps the last page of each size class. Takes some 20 us.
pub fn give_back() {
    mi_collect(true);
}
