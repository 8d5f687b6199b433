//! The process's memory, and its allocator: musl's own takes one lock for all threads.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

// Under cargo-fuzz, AddressSanitizer's watches the heap instead.
#[cfg_attr(not(fuzzing), global_allocator)]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

#[allow(unsafe_code)] // of mimalloc's own interface, which its crate does not hand out
unsafe extern "C" {
    safe fn mi_collect(force: bool);
}

/// The high-water mark of a count, such as that of connections. When the count has fallen far below
/// it, memory goes back to the system; the allocator would keep it.
#[derive(Debug)]
pub struct HighWaterMark {
    /// The highest count since memory was last given back.
    high: AtomicUsize,
    few: usize,
}

impl HighWaterMark {
    /// `few`: a high-water mark below it is not worth what giving back costs.
    #[must_use]
    pub const fn new(few: usize) -> Self {
        Self { high: AtomicUsize::new(0), few }
    }

    /// The count has risen to this.
    pub fn raise_to(&self, count: usize) {
        self.high.fetch_max(count, Relaxed);
    }

    /// The count has fallen to this, and this thread has freed the memory. At a quarter of the
    /// high-water mark, memory goes back to the system.
    pub fn lower_to(&self, count: usize) {
        let high = self.high.load(Relaxed);
        if high >= self.few && 4 * count <= high {
            self.high.store(count, Relaxed);
            give_back();
        }
    }
}

/// Returns memory that this thread has freed to the system. By itself mimalloc does so only during
/// later allocations, and keeps the last page of each size class. Takes some 20 us.
fn give_back() {
    mi_collect(true);
}

/// How much memory the process has.
#[derive(Debug)]
pub struct Resident(Option<File>);

impl Resident {
    /// It has a file open.
    #[must_use]
    pub fn open() -> Self {
        Self(File::open("/proc/self/statm").ok())
    }

    /// In KiB, 0 where there is no /proc: field 2 of statm (proc(5)), in pages of 4 KiB. It allocates
    /// nothing: a thread that does has 24 KiB of its own.
    #[must_use]
    pub fn kib(&self) -> usize {
        let mut text = [0; 128];
        let count = self.0.as_ref().and_then(|file| file.read_at(&mut text, 0).ok());
        let text = std::str::from_utf8(&text[..count.unwrap_or(0)]).unwrap_or_default();
        let pages = text.split(' ').nth(1).and_then(|pages| pages.parse().ok());
        pages.map_or(0, |pages: usize| 4 * pages)
    }
}
