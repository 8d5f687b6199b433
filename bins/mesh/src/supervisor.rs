//! Keeps one task running.

use std::io;
use std::net::SocketAddr;
use std::os::unix::process::CommandExt as _;
use std::process::{ExitStatus, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use smol::channel::{Receiver, Sender};
use smol::future;
use smol::io::{AsyncBufReadExt, AsyncRead, BufReader};
use smol::process::{Child, Command};
use smol::stream::StreamExt;

use crate::arguments::Service;
use crate::target::Target;

/// A dead task's first wait; each further death in a row doubles it.
const FIRST_DELAY: Duration = Duration::from_millis(100);
const LONGEST_DELAY: Duration = Duration::from_secs(5);
/// A task that lived this long was well: its next death is a first one again.
const WELL: Duration = Duration::from_secs(10);
/// Longer than any drain: what is still there then is killed.
const STOP_LIMIT: Duration = Duration::from_secs(12);

/// What a supervisor tells the mesh.
pub(crate) enum Notice {
    /// The task listens.
    Up { task: String, address: SocketAddr, pid: u32 },
    /// The task ended, and is started again after the delay.
    Died { task: String, how: String, delay: Duration },
    /// A line of a task's log.
    Line { task: String, line: String },
}

/// One task and what it is started with.
pub(crate) struct Supervisor {
    pub(crate) service: Service,
    pub(crate) target: Arc<Target>,
    pub(crate) environment: Vec<(&'static str, String)>,
    pub(crate) notices: Sender<Notice>,
    /// Closed when the task is to stop.
    pub(crate) stop: Receiver<()>,
}

impl Supervisor {
    /// Runs the task until it is told to stop and has ended.
    pub(crate) async fn run(self) {
        let mut delay = FIRST_DELAY;
        while !self.stop.is_closed() {
            let started = Instant::now();
            let how = match self.run_once().await {
                Ok(status) => status.to_string(),
                Err(error) => format!("cannot start: {error}"),
            };
            self.target.down();
            if self.stop.is_closed() {
                break;
            }
            if started.elapsed() >= WELL {
                delay = FIRST_DELAY;
            }
            self.tell(Notice::Died { task: self.target.name.clone(), how, delay }).await;
            let rest = async {
                smol::Timer::after(delay).await;
            };
            future::or(rest, self.stopped()).await;
            delay = (delay * 2).min(LONGEST_DELAY);
        }
    }

    /// One life of the task.
    async fn run_once(&self) -> io::Result<ExitStatus> {
        let mut command = std::process::Command::new(std::env::current_exe()?);
        command.args(["task", self.service.name()]).env("HOSTNAME", &self.target.name);
        command.envs(self.environment.iter().map(|(name, value)| (name, value)));
        // A group of its own: Ctrl-C reaches the mesh alone, which then stops its tasks.
        command.process_group(0);
        let mut child = Command::from(command)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()?;
        // Held open, and taken because status() would close it: the task ends when it does.
        let _stdin = child.stdin.take();
        let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
        let pid = child.id();
        let read_logs = future::zip(self.read_log(stdout, pid), self.read_log(stderr, pid));
        let (status, _) = future::zip(self.wait(&mut child), read_logs).await;
        status
    }

    /// Waits for the end of the task, and brings it about when told to stop.
    async fn wait(&self, child: &mut Child) -> io::Result<ExitStatus> {
        let stop = async {
            self.stopped().await;
            None
        };
        if let Some(status) = future::or(async { Some(child.status().await) }, stop).await {
            return status;
        }
        self.target.down();
        // Not waited for yet, so the id is still its own.
        if let Ok(pid) = i32::try_from(child.id()) {
            let _ = kill(Pid::from_raw(pid), Signal::SIGTERM);
        }
        let limit = async {
            smol::Timer::after(STOP_LIMIT).await;
            None
        };
        if let Some(status) = future::or(async { Some(child.status().await) }, limit).await {
            return status;
        }
        child.kill()?;
        child.status().await
    }

    /// Passes the task's log on, and learns from it whether the task takes requests.
    async fn read_log(&self, log: Option<impl AsyncRead + Unpin>, pid: u32) {
        let Some(log) = log else { return };
        let mut lines = BufReader::new(log).lines();
        while let Some(Ok(line)) = lines.next().await {
            let task = self.target.name.clone();
            let event = event(&line);
            self.tell(Notice::Line { task: task.clone(), line }).await;
            match event {
                Some(Event::Start(address)) => {
                    self.target.up(address);
                    self.tell(Notice::Up { task, address, pid }).await;
                }
                Some(Event::Drain) => self.target.down(),
                None => {}
            }
        }
    }

    async fn stopped(&self) {
        // Nothing is ever sent: it returns when the channel is closed.
        let _ = self.stop.recv().await;
    }

    async fn tell(&self, notice: Notice) {
        // Fails when the mesh is ending, which then does not care.
        let _ = self.notices.send(notice).await;
    }
}

/// The lines of a task's log that say whether it takes requests.
#[derive(Debug, PartialEq, Eq)]
enum Event {
    Start(SocketAddr),
    Drain,
}

fn event(line: &str) -> Option<Event> {
    let value: serde_json::Value = serde_json::from_str(line).ok()?;
    match value["event"].as_str()? {
        "start" => value["address"].as_str()?.parse().ok().map(Event::Start),
        "drain" => Some(Event::Drain),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_log_tells_when_a_task_takes_requests() {
        let start = r#"{"time":"x","event":"start","address":"127.0.0.1:4000"}"#;
        assert_eq!(event(start), Some(Event::Start("127.0.0.1:4000".parse().unwrap())));
        assert_eq!(event(r#"{"event":"drain"}"#), Some(Event::Drain));
        for other in ["", "name: cannot start", r#"{"event":"stop"}"#, "[1]", "{\"event\":1}"] {
            assert_eq!(event(other), None, "{other}");
        }
    }
}
