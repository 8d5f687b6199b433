//! Whose turn it is among the tasks of a service, and who is out: as Service Connect does it.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::Instant;

use application::Kind;
use envoy_config::policy;

use super::target::Target;

/// Round robin over the tasks of a service.
pub(super) struct Balance {
    pub(super) targets: Vec<Arc<Target>>,
    kind: Kind,
    /// The service's place among all, from 0.
    place: u32,
    turn: AtomicUsize,
}

impl Balance {
    pub(super) fn new(targets: Vec<Arc<Target>>, kind: Kind, place: u32) -> Self {
        Self { targets, kind, place, turn: AtomicUsize::new(0) }
    }

    /// Requests that each task answered.
    pub(super) fn answered(&self) -> BTreeMap<String, u64> {
        self.targets.iter().map(|t| (t.name.clone(), t.answered.load(Relaxed))).collect()
    }

    /// Tries that a request has. A load balancer does not try again.
    pub(super) fn tries(&self) -> u32 {
        match self.kind {
            Kind::Edge => 1,
            Kind::Leaf => 1 + policy::RETRIES,
        }
    }

    /// The task whose turn it is, and where it takes requests: another than those that failed,
    /// and not ejected, as far as there is one.
    pub(super) fn pick(&self, failed: &[String]) -> Option<(&Target, SocketAddr)> {
        let now = Instant::now();
        let up = self.targets.iter().filter_map(|target| Some((&**target, target.address()?)));
        let up: Vec<_> = up.collect();
        let fresh: Vec<_> =
            up.iter().filter(|(target, _)| !failed.contains(&target.name)).copied().collect();
        let well: Vec<_> =
            fresh.iter().filter(|(target, _)| !target.is_ejected(now)).copied().collect();
        let choice = [well, fresh, up].into_iter().find(|some| !some.is_empty())?;
        let turn = self.turn.fetch_add(1, Relaxed);
        Some(choice[place_of_turn(turn, choice.len(), self.place)])
    }

    /// Takes a task out if this was one failure in a row too many: one task at a time, or a
    /// tenth of them.
    pub(super) fn failed(&self, target: &Target) {
        let now = Instant::now();
        let too_many = target.failed();
        let out = self.targets.iter().filter(|target| target.is_ejected(now)).count();
        if too_many && self.kind == Kind::Leaf && out < (self.targets.len() / 10).max(1) {
            target.eject(now);
        }
    }
}

/// Who of `count` has a turn; there is one at least. Every round of `count` turns has each of them once.
/// The first service's rounds begin with the same task each time, the second's with the next one
/// each time, the third's with the next one after `count` rounds, and so on: were they alike, the
/// same tasks would always meet in a greeting, as if connections were bound to them.
fn place_of_turn(turn: usize, count: usize, service: u32) -> usize {
    let shift = if service == 0 { 0 } else { turn / count.saturating_pow(service) };
    turn.wrapping_add(shift) % count
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_round_has_each_once() {
        for (count, service) in [(1, 0), (2, 0), (2, 1), (2, 2), (3, 2), (5, 1), (32, 2)] {
            for round in 0..100 {
                let turns = round * count..(round + 1) * count;
                let who: BTreeSet<_> =
                    turns.map(|turn| place_of_turn(turn, count, service)).collect();
                assert_eq!(who.len(), count, "round {round} of {count}");
            }
        }
    }

    #[test]
    fn the_tasks_of_three_services_meet_in_every_combination() {
        for count in [2, 3] {
            let met: BTreeSet<_> = (0..count * count * count)
                .map(|turn| [0, 1, 2].map(|service| place_of_turn(turn, count, service)))
                .collect();
            assert_eq!(met.len(), count * count * count);
        }
    }

    #[test]
    fn a_leaf_is_ejected_after_failures_in_a_row_and_never_all_of_them() {
        let address = "127.0.0.1:1".parse().unwrap();
        let target = |name: &str| {
            let target = Target::new(name.to_owned());
            target.up(address);
            Arc::new(target)
        };
        let leaf = Balance::new(vec![target("a-1"), target("a-2")], Kind::Leaf, 0);
        let [first, second] = &leaf.targets[..] else { panic!("two") };
        let fail = |target: &Target, times| (0..times).for_each(|_| leaf.failed(target));
        let is_out = |target: &Target| target.is_ejected(Instant::now());
        fail(first, policy::EJECT_AFTER - 1);
        first.succeeded();
        fail(first, policy::EJECT_AFTER - 1);
        assert!(!is_out(first), "not in a row");
        fail(first, 1);
        assert!(is_out(first));
        fail(second, policy::EJECT_AFTER);
        assert!(!is_out(second), "nobody would be left");
        assert!((0..4).all(|_| leaf.pick(&[]).unwrap().0.name == "a-2"));
        assert_eq!(leaf.pick(&["a-2".to_owned()]).unwrap().0.name, "a-1", "better than nobody");
        // It comes back in time, and at once as a new process.
        assert!(!first.is_ejected(Instant::now() + policy::EJECT_AT_LEAST));
        first.up(address);
        assert!(!is_out(first));

        let edge = Balance::new(vec![target("b-1")], Kind::Edge, 0);
        (0..10).for_each(|_| edge.failed(&edge.targets[0]));
        assert!(!is_out(&edge.targets[0]));
    }
}
