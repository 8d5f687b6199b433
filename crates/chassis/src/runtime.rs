//! The coroutine runtime, set up for a quarter of a CPU.

use std::sync::Once;

/// Bytes of a coroutine's stack, of which only touched pages take memory. The deepest, a
/// greeting that fails and is logged, was measured at 12 KiB (opt-level 1); an overflow
/// ends the process.
const STACK: usize = 128 * 1024;

/// Stacks made at the start and kept for the next coroutine; past them each is mapped and
/// unmapped again. A coroutine here lives as long as a connection, so few serve. What many
/// cost: a leaf with 8 instead of 64 answers 0.5 ms sooner and is 480 KiB smaller.
const POOLED_STACKS: usize = 4;

/// Configures may, once a process; the first coroutine starts it.
pub fn init() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        may::config()
            // More workers than CPUs only take turns, and one needs no locks between coroutines.
            .set_workers(1)
            .set_pool_capacity(POOLED_STACKS)
            .set_stack_size(STACK / size_of::<usize>())
            .set_worker_pin(false); // the quarter is not of one core
    });
}
