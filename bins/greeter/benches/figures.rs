//! The figures of the shipped binaries: `just bench`, which sets `SERVICES` to their folder.
//!
//! Two minutes of wrk on one machine. A machine that does other things as well makes every
//! time larger; the sizes stay.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread::sleep;
use std::time::{Duration, Instant};

use application::{EDGE, LEAVES, Service};
use harness::{Client, Process, get, run, service};
use serde_json::Value;

/// How long wrk runs for each figure, in seconds.
const LOAD: u32 = 6;
const COLD_STARTS: usize = 41;
const ROWS: [&str; 10] = [
    "size, bytes",
    "cold start, exec to first 200, ms",
    "memory, idle, KiB",
    "memory after load, KiB",
    "CPU while idle, ms a second",
    "CPU a request, 1 connection, us",
    "CPU a request, 32 connections, us",
    "requests a second, 32 connections",
    "p99, 32 connections, ms",
    "requests a second on 0.25 CPU",
];
/// Fargate's floor: a quarter of a CPU.
const FLOOR: f64 = 0.25;

fn main() {
    if !std::env::args().any(|argument| argument == "--bench") {
        return; // `cargo test --all-targets` comes by: this is no test
    }
    let Some(folder) = std::env::var_os("SERVICES").map(PathBuf::from) else {
        // No failure: a plain `cargo bench` would stop here, without the other bench.
        eprintln!("figures: left out, they are of the static binaries: just static, just bench");
        return;
    };
    let mut running: Vec<_> = LEAVES.iter().map(|leaf| Running::start(leaf, &[])).collect();
    let urls: Vec<_> =
        running.iter().map(|leaf| (leaf.service.variable, url(leaf.address))).collect();
    running.push(Running::start(&EDGE, &urls));

    let mut figures = Vec::new();
    for Running { service, process, address } in &running {
        let address = *address;
        let size = fs::metadata(folder.join(service.name)).expect("the binary").len();
        let cold = cold_start(service.name, &urls);
        // Idle is what it is between two health checks: a leaf that was never asked has no
        // clock running yet.
        assert_eq!(get(address, "/health").0, 200);
        let idle = process.memory();
        let idle_cpu = idle_cpu(process);
        let one = load(process, address, 1);
        let many = load(process, address, 32);
        let loaded = process.memory();
        let floor = Quota::new(process).map(|_quota| load(process, address, 32));
        let values: [Value; ROWS.len()] = [
            size.into(),
            rounded(cold.as_secs_f64() * 1e3),
            idle.into(),
            loaded.into(),
            rounded(idle_cpu),
            rounded(one.cpu_us),
            rounded(many.cpu_us),
            rounded(many.rate),
            rounded(many.p99_ms),
            floor.map_or(Value::Null, |floor| rounded(floor.rate)),
        ];
        figures.push((service.name, values));
    }
    print(&figures);
    let file = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("figures.json");
    let json: Value = figures
        .into_iter()
        .map(|(service, values)| (service, ROWS.into_iter().zip(values).collect::<Value>()))
        .collect();
    fs::write(&file, format!("{json:#}\n")).expect("the folder is there");
    println!("\nin JSON: {}", file.display());
}

/// A service that is measured.
struct Running {
    service: &'static Service,
    process: Process,
    address: SocketAddr,
}

impl Running {
    fn start(service: &'static Service, environment: &[(&str, String)]) -> Self {
        let mut command = harness::service(service.name);
        command.env("HOSTNAME", "host-1").envs(environment.iter().map(|(name, url)| (name, url)));
        let (process, address) = Process::serve(&mut command);
        Self { service, process, address }
    }
}

fn url(address: SocketAddr) -> String {
    format!("http://{address}")
}

fn print(figures: &[(&str, [Value; ROWS.len()])]) {
    let line = |row: &str, cells: Vec<String>| println!("{row:<36}{}", cells.concat());
    line("", figures.iter().map(|(service, _)| format!("{service:>10}")).collect());
    for (number, row) in ROWS.into_iter().enumerate() {
        let cells = figures.iter().map(|(_, values)| format!("{:>10}", values[number].to_string()));
        line(row, cells.collect());
    }
    if figures.iter().any(|(_, values)| values.contains(&Value::Null)) {
        println!("null: to limit a process to a quarter of a CPU takes root, and control groups");
    }
}

/// To as many digits as mean anything.
fn rounded(value: f64) -> Value {
    if value < 100.0 { ((value * 100.0).round() / 100.0).into() } else { value.round().into() }
}

/// From exec to the first 200, the median: each time on a port that was free just before.
fn cold_start(name: &str, environment: &[(&str, String)]) -> Duration {
    let mut times: Vec<_> = (0..COLD_STARTS)
        .map(|_| {
            let free = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
            let address = free.local_addr().expect("bound");
            drop(free);
            let mut command = service(name);
            command.env("HOSTNAME", "host-1").env("PORT", address.port().to_string());
            command.envs(environment.iter().map(|(name, value)| (name, value)));
            let start = Instant::now();
            let _process = Process::start(&mut command);
            let mut client = loop {
                if let Some(client) = Client::try_connect(address) {
                    break client;
                }
                assert!(start.elapsed() < Duration::from_secs(10), "{name} does not start");
            };
            client.send("GET /health HTTP/1.1\r\nHost: x\r\n\r\n");
            assert!(client.answer().starts_with("HTTP/1.1 200 "));
            start.elapsed()
        })
        .collect();
    times.sort_unstable();
    times[times.len() / 2]
}

/// CPU in milliseconds for each second in which nobody asks.
fn idle_cpu(process: &Process) -> f64 {
    let (before, start) = (cpu(process), Instant::now());
    sleep(Duration::from_secs(5));
    (cpu(process) - before) * 1e3 / start.elapsed().as_secs_f64()
}

struct Load {
    rate: f64,
    p99_ms: f64,
    cpu_us: f64,
}

/// wrk, on so many connections. Every answer is a 200.
fn load(process: &Process, address: SocketAddr, connections: u32) -> Load {
    assert_eq!(get(address, "/").0, 200);
    let mut wrk = Command::new("wrk");
    wrk.args(["-t1", "--latency", &format!("-c{connections}"), &format!("-d{LOAD}s")]);
    let before = cpu(process);
    let report = run(wrk.arg(url(address)));
    let used = cpu(process) - before;
    assert_eq!(report.code, Some(0), "{}", report.stderr);
    let report = report.stdout;
    assert!(!report.contains("Non-2xx"), "{report}");
    let value = |name: &str| {
        let rest = report.split(name).nth(1).unwrap_or_else(|| panic!("no {name} in {report}"));
        rest.split_whitespace().next().expect("a value").to_owned()
    };
    let requests: f64 = report
        .lines()
        .find_map(|line| line.trim().split_once(" requests in "))
        .and_then(|(count, _)| count.parse().ok())
        .expect("a count of requests");
    Load {
        rate: value("Requests/sec:").parse().expect("a number"),
        p99_ms: milliseconds(&value("99%")),
        cpu_us: used * 1e6 / requests,
    }
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

/// CPU time of all threads in seconds, by the scheduler's own clock.
fn cpu(process: &Process) -> f64 {
    let tasks = fs::read_dir(format!("/proc/{}/task", process.pid())).expect("it lives");
    let nanoseconds = tasks.map(|task| {
        let stat = task.expect("a thread").path().join("schedstat");
        let stat = fs::read_to_string(stat).expect("the kernel counts it");
        stat.split(' ').next().and_then(|time| time.parse::<f64>().ok()).expect("a number")
    });
    nanoseconds.sum::<f64>() / 1e9
}

/// A quarter of a CPU for a process, until dropped. Needs a control group of our own.
struct Quota(PathBuf);

impl Quota {
    fn new(process: &Process) -> Option<Self> {
        let (period, quota) = (100_000, format!("{:.0}", FLOOR * 100_000.0));
        let name = format!("greeter-bench-{}", process.pid());
        // Version 1 has a tree for CPU, version 2 one for everything.
        let [v1, v2] = ["cpu", ""].map(|tree| Path::new("/sys/fs/cgroup").join(tree).join(&name));
        let (folder, file, limit) = if Path::new("/sys/fs/cgroup/cgroup.controllers").exists() {
            (v2, "cpu.max", format!("{quota} {period}"))
        } else {
            (v1, "cpu.cfs_quota_us", quota)
        };
        fs::create_dir(&folder).ok()?;
        let group = Self(folder);
        fs::write(group.0.join(file), limit).ok()?;
        fs::write(group.0.join("cgroup.procs"), process.pid().to_string()).ok()?;
        Some(group)
    }
}

impl Drop for Quota {
    fn drop(&mut self) {
        // A group goes when nothing is left in it.
        if let (Some(parent), Ok(processes)) =
            (self.0.parent(), fs::read_to_string(self.0.join("cgroup.procs")))
        {
            for process in processes.lines() {
                let _ = fs::write(parent.join("cgroup.procs"), process);
            }
        }
        let _ = fs::remove_dir(&self.0);
    }
}
