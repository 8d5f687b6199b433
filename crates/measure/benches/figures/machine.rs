//! The machine and the commit.

use std::fs;
use std::process::Command;
use std::thread::available_parallelism;
use std::time::Duration;

use harness::run;
use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::time::{TimeVal, TimeValLike};

/// CPU time of all processes on the machine in seconds, and steal time.
pub(crate) fn busy() -> f64 {
    let stat = fs::read_to_string("/proc/stat").expect("Linux");
    let all = stat.lines().next().and_then(|line| line.strip_prefix("cpu ")).expect("all CPUs");
    let times: Vec<f64> = all.split_whitespace().flat_map(str::parse).collect();
    let [user, nice, system, _idle, _io, irq, soft_irq, steal, ..] = times[..] else {
        panic!("not as in proc_stat(5): {all}")
    };
    (user + nice + system + irq + soft_irq + steal) / 100.0
}

/// CPU time of this process's children that have ended, in seconds.
pub(crate) fn ended_children() -> f64 {
    let usage = getrusage(UsageWho::RUSAGE_CHILDREN).expect("Linux");
    let seconds =
        |time: TimeVal| Duration::from_micros(time.num_microseconds().unsigned_abs()).as_secs_f64();
    seconds(usage.user_time()) + seconds(usage.system_time())
}

/// How many CPUs this process may use.
pub(crate) fn cpus() -> u32 {
    available_parallelism().ok().and_then(|count| count.get().try_into().ok()).expect("a few")
}

/// The CPU's name.
pub(crate) fn cpu() -> String {
    let info = fs::read_to_string("/proc/cpuinfo").expect("Linux");
    let model = info.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": "));
    model.map_or("of an unknown model", |(_, model)| model).to_owned()
}

/// The commit that is checked out, with `-dirty` if files differ from it.
pub(crate) fn commit() -> String {
    said("git", &["describe", "--always", "--dirty", "--exclude=*", "--abbrev=12"])
}

/// Today, in UTC.
pub(crate) fn date() -> String {
    said("date", &["--utc", "+%F %R UTC"])
}

fn said(program: &str, arguments: &[&str]) -> String {
    let said = run(Command::new(program).args(arguments));
    if said.code == Some(0) { said.stdout.trim().to_owned() } else { "unknown".to_owned() }
}
