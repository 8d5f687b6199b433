//! Counting what is under way, up to a limit.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

/// A number of places, for connections or for calls.
#[derive(Debug)]
pub struct Places {
    limit: usize,
    taken: AtomicUsize,
}

/// A place that is taken. Dropping it makes the place free again.
#[derive(Debug)]
pub struct Place(Arc<Places>);

impl Places {
    /// `limit` places, all of them free.
    #[must_use]
    pub fn new(limit: usize) -> Arc<Self> {
        Arc::new(Self { limit, taken: AtomicUsize::new(0) })
    }

    /// Takes a place, if one is free.
    #[must_use]
    pub fn take(self: &Arc<Self>) -> Option<Place> {
        let place = Place(self.clone());
        // It is counted first. If that was one too many, dropping it here takes the count back.
        (self.taken.fetch_add(1, Relaxed) < self.limit).then_some(place)
    }

    /// How many are taken now.
    #[must_use]
    pub fn taken(&self) -> usize {
        self.taken.load(Relaxed)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.0.taken.fetch_sub(1, Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_are_as_many_as_said_and_they_come_back() {
        let places = Places::new(2);
        for _ in 0..3 {
            let taken = [places.take(), places.take()];
            assert!(taken.iter().all(Option::is_some));
            for _ in 0..3 {
                assert!(places.take().is_none());
            }
        }
        assert!(Places::new(0).take().is_none());
    }
}
