//! How the kernel schedules a leaf: without preempting its caller.
//!
//! A thread that wakes may preempt the one that woke it: a leaf its caller, after each request. With
//! the policy `SCHED_BATCH` it waits until a CPU is free, finds several requests, and answers all
//! (docs/figures.md: 25,400 greetings a second before, 37,100 with it).

/// Sets the policy for this thread and those that it starts. It needs no privilege; where the kernel
/// refuses, or has no such policy, everything else works.
#[cfg(target_os = "linux")]
#[allow(unsafe_code)] // nix has not this call, and musl's own function only fails
pub(crate) fn wait_for_a_turn() {
    use nix::libc::{SCHED_BATCH, SYS_sched_setscheduler, syscall};
    let (this_thread, priority) = (0, 0_i32);
    // SAFETY: the kernel reads a `sched_param`, which is one int, and keeps nothing.
    unsafe { syscall(SYS_sched_setscheduler, this_thread, SCHED_BATCH, &raw const priority) };
}

#[cfg(not(target_os = "linux"))]
pub(crate) fn wait_for_a_turn() {}
