//! The coroutine runtime, set up for a quarter of a CPU.

use std::sync::Once;

/// Bytes of a coroutine's stack, of which only touched pages take memory. The deepest, a
/// greeting that fails and is logged, was measured at 22 KiB (opt-level 1); an overflow
/// ends the process.
const STACK: usize = 128 * 1024;

/// Configures may, once a process; the first coroutine starts it.
///
/// `pooled_stacks` are made at the start and kept for the next coroutine; past them each is
/// mapped and unmapped again. What few cost: 39 us a greeting instead of 28, at 0.25 CPU.
/// What many cost: a leaf with 8 instead of 64 answers 0.5 ms sooner and is 480 KiB smaller.
pub fn init(pooled_stacks: usize) {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        may::config()
            // More workers than CPUs only take turns, and one needs no locks between coroutines.
            .set_workers(1)
            .set_pool_capacity(pooled_stacks)
            .set_stack_size(STACK / size_of::<usize>())
            .set_worker_pin(false); // the quarter is not of one core
    });
}
