//! The measurements of one implementation, in a fixed order: a service's memory depends on the loads
//! before.

use std::path::Path;
use std::thread::sleep;
use std::time::{Duration, Instant};

use application::EDGE;

use crate::load::{Load, MANY, ONE, WARM_UP, Wrk};
use crate::quota::{FLOOR, Quota};
use crate::services::{Running, Services};
use crate::start::LEAF;
use crate::table::{Best, Figures};

/// One round of it.
pub(crate) struct Round {
    pub(crate) figures: Figures,
    /// The part of the machine's CPU that went to other work, during each load.
    pub(crate) others: Vec<f64>,
}

impl Round {
    /// Starts the services, measures them and ends them.
    pub(crate) fn measure(folder: &Path, page: bool) -> Self {
        let mut services = Services::start(folder);
        let mut round = Self { figures: Figures::default(), others: Vec::new() };

        sleep(Duration::from_millis(300)); // for what they do once
        round.memory(&services, "idle");
        let row = "CPU of all, idle, ms a second".to_owned();
        round.figures.add(row, Best::Least, idle_cpu(&services));
        for name in [LEAF, EDGE.name] {
            let asked = services.find(name);
            Load::of(asked, &services, WARM_UP);
            for wrk in [MANY, ONE] {
                let load = round.load(asked, &services, wrk);
                round.all_of(&load, name, wrk.connections);
            }
        }
        round.memory(&services, "after load");

        let edge = services.find(EDGE.name);
        let confined = Quota::new(&edge.process).map(|_quota| {
            Load::of(edge, &services, WARM_UP);
            round.load(edge, &services, MANY).rate
        });
        round.figures.add_or_say(format!("greetings/s on {FLOOR} CPU"), Best::Most, confined);
        if page {
            for (form, headers) in [
                ("unpacked", &["Accept: text/html"][..]),
                ("packed", &["Accept: text/html", "Accept-Encoding: gzip"]),
            ] {
                let load = round.load(edge, &services, Wrk { headers, ..MANY });
                let row = format!("CPU of the page, {form}, us a request");
                round.figures.add(row, Best::Least, load.cpu_us);
            }
        }

        services.end_edge();
        sleep(Duration::from_secs(5)); // for a leaf to see it, and to give back what it likes
        round.memory(&services, "its clients gone");
        round
    }

    fn load(&mut self, asked: &Running, services: &Services, wrk: Wrk) -> Load {
        let load = Load::of(asked, services, wrk);
        self.others.push(load.others);
        load
    }

    fn memory(&mut self, services: &Services, when: &str) {
        for one in services.iter() {
            let row = format!("memory of {}, {when}, KiB", one.service.name);
            self.figures.add(row, Best::Least, one.memory());
        }
    }

    fn all_of(&mut self, load: &Load, name: &str, connections: u32) {
        for (what, best, value) in [
            ("CPU a request, us", Best::Least, load.cpu_us),
            ("requests/s", Best::Most, load.rate),
            ("p50, ms", Best::Least, load.p50_ms),
            ("p99, ms", Best::Least, load.p99_ms),
            ("cores busy", Best::Neither, load.cores),
        ] {
            self.figures.add(format!("{name}, c{connections}: {what}"), best, value);
        }
    }
}

/// CPU time of an idle second, in milliseconds.
fn idle_cpu(services: &Services) -> f64 {
    let cpu = || services.iter().map(Running::cpu).sum::<f64>();
    let (before, start) = (cpu(), Instant::now());
    sleep(Duration::from_secs(3));
    (cpu() - before) * 1e3 / start.elapsed().as_secs_f64()
}
