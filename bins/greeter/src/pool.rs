//! The connection pool of one leaf.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Instant;

use may::go;
use net::runtime::CoopBudget;
use net::{Deadlines, Socket};
use parking_lot::Mutex;

use crate::limits;

/// The idle connections to a leaf.
pub(crate) struct Pool {
    deadlines: Deadlines,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// In the order of their last use. The most recently used one is taken first (LIFO), so that
    /// surplus connections become idle.
    idle: VecDeque<Pooled>,
    /// Whether a coroutine is running that closes unused connections. There is none while the pool is empty.
    swept: bool,
}

/// A connection to the leaf that is reused.
pub(crate) struct Pooled {
    pub(crate) socket: Socket,
    opened: Instant,
    /// When its last call ended.
    used: Instant,
}

impl Pooled {
    /// A connection that has just been opened.
    pub(crate) fn new(socket: Socket) -> Self {
        let now = Instant::now();
        Self { socket, opened: now, used: now }
    }

    fn is_old(&self, now: Instant) -> bool {
        now.saturating_duration_since(self.opened) >= limits::MAX_AGE
    }
}

impl Pool {
    /// An empty pool.
    pub(crate) fn new(deadlines: Deadlines) -> Arc<Self> {
        Arc::new(Self { deadlines, state: Mutex::default() })
    }

    /// A pooled connection that is not too old, closed, or has unexpected input. (Input that arrives
    /// between this check and the request is taken for the answer: no HTTP/1.1 client can tell.)
    pub(crate) fn take(&self, now: Instant) -> Option<Pooled> {
        loop {
            let connection = self.state.lock().idle.pop_back()?;
            if !connection.is_old(now) && connection.socket.is_silent() {
                return Some(connection);
            }
        }
    }

    /// Returns a connection to the pool after a call.
    pub(crate) fn put(self: &Arc<Self>, mut connection: Pooled) {
        connection.socket.clear_deadline();
        connection.used = Instant::now();
        let mut state = self.state.lock();
        state.idle.push_back(connection);
        if !std::mem::replace(&mut state.swept, true) {
            let this = self.clone();
            go!(move || this.sweep());
        }
    }

    /// Closes all of them.
    pub(crate) fn clear(&self) {
        self.state.lock().idle.clear();
    }

    /// Closes connections that were idle for [`limits::POOL_IDLE_TIMEOUT`], until the pool is empty.
    fn sweep(&self) {
        let budget = CoopBudget::default();
        loop {
            let mut state = self.state.lock();
            let Some(first) = state.idle.front() else {
                state.swept = false;
                return;
            };
            let left =
                (first.used + limits::POOL_IDLE_TIMEOUT).saturating_duration_since(Instant::now());
            if left.is_zero() {
                let unused = state.idle.pop_front();
                drop(state);
                drop(unused);
                budget.spend();
            } else {
                drop(state);
                self.deadlines.sleep(left);
            }
        }
    }
}
