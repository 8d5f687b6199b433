//! Whether a coroutine has waited since.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};

use may::coroutine::{self, Coroutine};
use may::go;
use nix::errno::Errno;

/// Counts the worker's turns: a coroutine of its own does, which gets to run only once the
/// one that woke it waits. An idle worker is not woken.
pub(super) struct Turns {
    state: Arc<State>,
    counter: Coroutine,
}

#[derive(Default)]
struct State {
    count: AtomicU64,
    /// The counter is awake: one turn needs it once.
    due: AtomicBool,
}

/// A moment of a coroutine: until it waits, none of its later ones is another.
#[derive(Clone, Copy, Default)]
pub(super) struct Moment(u64);

impl Turns {
    pub(super) fn start() -> Self {
        let state = Arc::<State>::default();
        let counted = state.clone();
        let coroutine = go!(move || {
            loop {
                coroutine::park();
                counted.due.store(false, Relaxed);
                counted.count.fetch_add(1, Relaxed);
            }
        });
        Self { state, counter: coroutine.coroutine().clone() }
    }

    /// Now, to be compared with a later moment.
    pub(super) fn mark(&self) -> Moment {
        if !self.state.due.swap(true, Relaxed) {
            self.counter.unpark();
        }
        Errno::clear();
        Moment(self.state.count.load(Relaxed))
    }

    /// Whether the coroutine has waited since, or has found nothing to read and was about to:
    /// the library then reads again at once if something happened to the socket while it had
    /// given the worker away. That leaves its trace in errno, which no success touches.
    pub(super) fn has_waited(&self, since: Moment) -> bool {
        self.state.count.load(Relaxed) != since.0 || Errno::last_raw() != 0
    }
}
