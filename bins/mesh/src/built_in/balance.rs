//! Round robin over the tasks of a service, and ejection, as in Service Connect.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::Instant;

use application::{Kind, Service};
use envoy_config::policy;
use parking_lot::RwLock;

use super::target::Target;
use crate::task::{Task, Traffic};

/// Round robin over the tasks of a service.
pub(super) struct Balance {
    service: Service,
    /// The service's place among all, from 0.
    place: u32,
    targets: RwLock<Vec<Arc<Target>>>,
    turn: AtomicUsize,
}

impl Balance {
    pub(super) fn new(service: Service, place: u32) -> Self {
        Self { service, place, targets: RwLock::default(), turn: AtomicUsize::new(0) }
    }

    /// How often a request is tried. A load balancer does not retry.
    pub(super) fn tries(&self) -> u32 {
        match self.service.kind {
            Kind::Edge => 1,
            Kind::Leaf => 1 + policy::RETRIES,
        }
    }

    /// The target of a task, which is added if it is new.
    pub(super) fn target(&self, task: Task) -> Arc<Target> {
        let mut targets = self.targets.write();
        if let Some(target) = targets.iter().find(|target| target.task == task) {
            return target.clone();
        }
        let target = Arc::new(Target::new(task));
        targets.push(target.clone());
        target
    }

    /// Forgets a task.
    pub(super) fn remove(&self, task: Task) {
        let mut targets = self.targets.write();
        targets.retain(|target| target.task != task);
    }

    /// The next task and its address: not one that has failed this request or is ejected, if there is
    /// another.
    pub(super) fn pick(
        &self,
        traffic: Traffic,
        failed: &[Task],
    ) -> Option<(Arc<Target>, SocketAddr)> {
        let now = Instant::now();
        let of = |traffic| {
            let up = self.up().into_iter();
            up.filter(|(target, _)| target.traffic() == traffic).collect::<Vec<_>>()
        };
        let mut up = of(traffic);
        if up.is_empty() {
            up = of(Traffic::Production);
        }
        let fresh: Vec<_> =
            up.iter().filter(|(target, _)| !failed.contains(&target.task)).cloned().collect();
        let well: Vec<_> =
            fresh.iter().filter(|(target, _)| !target.is_ejected(now)).cloned().collect();
        let mut choice = [well, fresh, up].into_iter().find(|some| !some.is_empty())?;
        let turn = self.turn.fetch_add(1, Relaxed);
        Some(choice.swap_remove(place_of_turn(turn, choice.len(), self.place)))
    }

    /// The tasks that take requests, in the order of their numbers.
    fn up(&self) -> Vec<(Arc<Target>, SocketAddr)> {
        let targets = self.targets.read();
        let up = targets.iter().filter_map(|target| Some((target.clone(), target.address()?)));
        let mut up: Vec<_> = up.collect();
        up.sort_by_key(|(target, _)| target.task);
        up
    }

    /// Ejects a task after too many failures in a row: one task at a time, or a tenth of them.
    pub(super) fn failed(&self, target: &Target, address: SocketAddr) {
        let now = Instant::now();
        let too_many = target.failed(address);
        let up = self.up();
        let out = up.iter().filter(|(target, _)| target.is_ejected(now)).count();
        if too_many && self.service.kind == Kind::Leaf && out < (up.len() / 10).max(1) {
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

    use application::{EDGE, LEAVES, SERVICES};

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
    fn the_tasks_of_all_services_meet_in_every_combination() {
        for count in [2, 3] {
            let combinations = SERVICES.iter().map(|_| count).product();
            let who = |turn| {
                let places = (0..).zip(SERVICES);
                places.map(|(place, _)| place_of_turn(turn, count, place)).collect::<Vec<_>>()
            };
            assert_eq!((0..combinations).map(who).collect::<BTreeSet<_>>().len(), combinations);
        }
    }

    fn balance_of(service: Service, tasks: u8) -> (Balance, Vec<Arc<Target>>) {
        let balance = Balance::new(service, 0);
        let tasks = (1..=tasks).map(|number| balance.target(Task { service, number }));
        let tasks: Vec<_> = tasks.collect();
        for target in &tasks {
            target.up(address(target));
        }
        (balance, tasks)
    }

    fn address(target: &Target) -> SocketAddr {
        ([127, 0, 0, target.task.number], 1).into()
    }

    #[test]
    fn a_leaf_is_ejected_after_failures_in_a_row_and_never_all_of_them() {
        let (leaf, targets) = balance_of(LEAVES[0], 2);
        let [first, second] = &targets[..] else { panic!("two") };
        let fail =
            |target: &Target, times| (0..times).for_each(|_| leaf.failed(target, address(target)));
        let is_out = |target: &Target| target.is_ejected(Instant::now());
        let next = |failed: &[Task]| leaf.pick(Traffic::Production, failed).unwrap().0.task;
        fail(first, policy::EJECT_AFTER - 1);
        first.succeeded(address(first));
        fail(first, policy::EJECT_AFTER - 1);
        assert!(!is_out(first), "not in a row");
        fail(first, 1);
        assert!(is_out(first));
        fail(second, policy::EJECT_AFTER);
        assert!(!is_out(second), "nobody would be left");
        assert!((0..4).all(|_| next(&[]) == second.task));
        assert_eq!(next(&[second.task]), first.task, "better than nobody");
        // It comes back in time, and at once as a new process, whatever the old one still does.
        assert!(!first.is_ejected(Instant::now() + policy::EJECT_AT_LEAST));
        let old = address(first);
        first.up(([127, 0, 0, 1], 2).into());
        (0..policy::EJECT_AFTER).for_each(|_| leaf.failed(first, old));
        assert!(!is_out(first));

        let (edge, targets) = balance_of(EDGE, 1);
        (0..10).for_each(|_| edge.failed(&targets[0], address(&targets[0])));
        assert!(!is_out(&targets[0]));
    }

    #[test]
    fn test_traffic_has_its_own_tasks_while_one_is_up() {
        let (balance, targets) = balance_of(LEAVES[0], 2);
        let [blue, green] = &targets[..] else { panic!("two") };
        let who = |traffic| {
            let turns = (0..4).map(|_| balance.pick(traffic, &[]).unwrap().0.task);
            turns.collect::<BTreeSet<_>>()
        };
        green.assign(Traffic::Test);
        assert_eq!(who(Traffic::Production), [blue.task].into());
        assert_eq!(who(Traffic::Test), [green.task].into());
        green.down(address(blue));
        assert_eq!(who(Traffic::Test), [green.task].into(), "another process's end");
        green.down(address(green));
        assert_eq!(who(Traffic::Test), [blue.task].into());
        green.up(address(green));
        balance.remove(green.task);
        assert_eq!(who(Traffic::Test), [blue.task].into(), "it has ended");
        let green = &balance.target(green.task);
        green.up(address(green));
        green.assign(Traffic::Production);
        assert_eq!(who(Traffic::Production), [blue.task, green.task].into());
    }
}
