//! The process's allocator: musl's own takes one lock for all threads.

// Under cargo-fuzz, AddressSanitizer's watches the heap instead.
#[cfg_attr(not(fuzzing), global_allocator)]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

#[allow(unsafe_code)] // of mimalloc's own interface, which its crate does not hand out
unsafe extern "C" {
    safe fn mi_collect(force: bool);
}

/// Gives what this thread has freed back to the system. By itself mimalloc does so only while
/// others allocate, and keeps the last page of each size. Takes some 20 us.
pub fn give_back() {
    mi_collect(true);
}
