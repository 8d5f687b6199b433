//! Load with wrk, and the CPU time of its requests.

use std::process::Command;
use std::time::Instant;

use harness::run;

use crate::machine;
use crate::services::{Running, Services};

/// How wrk runs.
#[derive(Clone, Copy)]
pub(crate) struct Wrk {
    pub(crate) connections: u32,
    pub(crate) seconds: u32,
    pub(crate) headers: &'static [&'static str],
}

/// The warm-up.
pub(crate) const WARM_UP: Wrk = Wrk { seconds: 2, ..MANY };
pub(crate) const MANY: Wrk = Wrk { connections: 32, seconds: 5, headers: &[] };
pub(crate) const ONE: Wrk = Wrk { connections: 1, ..MANY };

/// The results.
pub(crate) struct Load {
    /// CPU time of the service per request, in microseconds.
    pub(crate) cpu_us: f64,
    /// Requests a second.
    pub(crate) rate: f64,
    pub(crate) p50_ms: f64,
    pub(crate) p99_ms: f64,
    /// How many cores it used, with the services that it calls.
    pub(crate) cores: f64,
    /// The share of the machine's CPU used by other work.
    pub(crate) others: f64,
}

impl Load {
    /// Runs wrk against one of the services. Panics unless every answer is a 200.
    pub(crate) fn of(asked: &Running, services: &Services, wrk: Wrk) -> Self {
        let mut command = Command::new("wrk");
        command.args(["-t1", "--latency"]);
        command.args([format!("-c{}", wrk.connections), format!("-d{}s", wrk.seconds)]);
        command.args(wrk.headers.iter().flat_map(|header| ["-H", header]));
        command.arg(format!("http://{}/", asked.address));

        let before = Clocks::read(asked, services);
        let report = run(&mut command);
        let after = Clocks::read(asked, services);

        assert_eq!(report.code, Some(0), "{}", report.stderr);
        let report = report.stdout;
        let bad = ["Non-2xx", "Socket errors"].iter().any(|bad| report.contains(bad));
        assert!(!bad, "{}: {report}", asked.service.name);
        let requests: f64 = report
            .lines()
            .find_map(|line| line.trim().split_once(" requests in "))
            .and_then(|(count, _)| count.parse().ok())
            .expect("a count of requests");
        let wall = (after.at - before.at).as_secs_f64();
        let ours = after.services - before.services;
        let others = (after.machine - before.machine) - (after.wrk - before.wrk) - ours;
        Self {
            cpu_us: (after.asked - before.asked) * 1e6 / requests,
            rate: value(&report, "Requests/sec:").parse().expect("a number"),
            p50_ms: milliseconds(value(&report, "50%")),
            p99_ms: milliseconds(value(&report, "99%")),
            cores: ours / wall,
            others: (others / wall / f64::from(machine::cpus())).max(0.0),
        }
    }
}

/// Where time stands, and CPU time, in seconds.
struct Clocks {
    at: Instant,
    machine: f64,
    wrk: f64,
    asked: f64,
    /// With those that it calls.
    services: f64,
}

impl Clocks {
    fn read(asked: &Running, services: &Services) -> Self {
        let own = asked.cpu();
        let called = services.called_by(asked.service).map(Running::cpu).sum::<f64>();
        Self {
            at: Instant::now(),
            machine: machine::busy(),
            wrk: machine::ended_children(),
            asked: own,
            services: own + called,
        }
    }
}

/// What follows a name in wrk's output.
fn value<'a>(report: &'a str, name: &str) -> &'a str {
    let line = report.lines().find_map(|line| line.trim().strip_prefix(name));
    line.unwrap_or_else(|| panic!("no {name} in {report}")).trim()
}

/// wrk's `812.00us`, `1.20ms` or `2.00s`.
fn milliseconds(text: &str) -> f64 {
    let unit = text.trim_start_matches(|c: char| c.is_ascii_digit() || c == '.');
    let value: f64 = text[..text.len() - unit.len()].parse().expect("a number");
    match unit {
        "us" => value / 1e3,
        "ms" => value,
        "s" => value * 1e3,
        _ => panic!("a time: {text}"),
    }
}
