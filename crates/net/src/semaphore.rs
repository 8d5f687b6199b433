//! A limit to concurrent work.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

/// Permits for connections or calls. There is no waiting: without a permit the work is refused.
#[derive(Debug)]
pub struct Semaphore {
    limit: usize,
    acquired: AtomicUsize,
}

/// Returned to the semaphore when it is dropped.
#[derive(Debug)]
pub struct Permit(Arc<Semaphore>);

impl Semaphore {
    /// `limit` permits.
    #[must_use]
    pub fn new(limit: usize) -> Arc<Self> {
        Arc::new(Self { limit, acquired: AtomicUsize::new(0) })
    }

    /// Acquires a permit, if one is left.
    #[must_use]
    pub fn try_acquire(self: &Arc<Self>) -> Option<Permit> {
        let permit = Permit(self.clone());
        // Counted first. If that exceeds the limit, dropping the permit takes it back.
        (self.acquired.fetch_add(1, Relaxed) < self.limit).then_some(permit)
    }

    /// How many are acquired now.
    #[must_use]
    pub fn acquired(&self) -> usize {
        self.acquired.load(Relaxed)
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.0.acquired.fetch_sub(1, Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_are_as_many_as_said_and_they_come_back() {
        let semaphore = Semaphore::new(2);
        for _ in 0..3 {
            let permits = [semaphore.try_acquire(), semaphore.try_acquire()];
            assert!(permits.iter().all(Option::is_some));
            for _ in 0..3 {
                assert!(semaphore.try_acquire().is_none());
            }
        }
        assert!(Semaphore::new(0).try_acquire().is_none());
    }
}
