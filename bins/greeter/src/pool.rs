//! The connections to one leaf that are kept for its next calls, until nobody needs them.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Instant;

use may::go;
use net::runtime::CoopBudget;
use net::{Deadlines, Socket};
use parking_lot::Mutex;

use crate::limits;

/// A leaf's connections that have no call.
pub(crate) struct Pool {
    deadlines: Deadlines,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// In the order of their last use. The last one back goes first, so that those which are not
    /// needed stay in front.
    idle: VecDeque<Pooled>,
    /// A coroutine closes those that nobody uses. There is none while none are idle.
    swept: bool,
}

/// A connection to the leaf, for one call after the other.
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
    /// An empty one.
    pub(crate) fn new(deadlines: Deadlines) -> Arc<Self> {
        Arc::new(Self { deadlines, state: Mutex::default() })
    }

    /// A pooled connection, unless all are too old, dead, or have something to say that nobody
    /// asked for. (What comes between this look and the request is taken for the answer to it:
    /// no client of HTTP/1.1 can tell the two apart.)
    pub(crate) fn take(&self, now: Instant) -> Option<Pooled> {
        loop {
            let connection = self.state.lock().idle.pop_back()?;
            if !connection.is_old(now) && connection.socket.is_silent() {
                return Some(connection);
            }
        }
    }

    /// Takes back a connection that has no call any more.
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

    /// Closes those that nobody has used for [`limits::UNUSED`], as long as there are any.
    fn sweep(&self) {
        let budget = CoopBudget::default();
        loop {
            let mut state = self.state.lock();
            let Some(first) = state.idle.front() else {
                state.swept = false;
                return;
            };
            let left = (first.used + limits::UNUSED).saturating_duration_since(Instant::now());
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
