//! Keeps one process running.

use std::io;
use std::net::{SocketAddr, TcpStream};
use std::os::unix::process::CommandExt as _;
use std::process::{ExitStatus, Stdio};
use std::time::{Duration, Instant};

use chassis::shutdown::STOP_TIMEOUT;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use smol::channel::{Receiver, Sender};
use smol::io::{AsyncBufReadExt, AsyncRead, BufReader};
use smol::process::{Child, Command};
use smol::stream::StreamExt;
use smol::{Async, future};

use crate::mesh::Register;
use crate::program::{Event, Program};

/// A dead process's first wait; each further death in a row doubles it.
const FIRST_DELAY: Duration = Duration::from_millis(100);
const LONGEST_DELAY: Duration = Duration::from_secs(5);
/// A process that lived this long was well: its next death is a first one again.
const WELL: Duration = Duration::from_secs(10);

/// How long a process may take to listen once it has said that it does, and how often it
/// is tried.
const LISTEN_LIMIT: Duration = Duration::from_secs(5);
const LISTEN_PAUSE: Duration = Duration::from_millis(2);

/// What a supervisor tells the mesh.
pub(crate) enum Notice {
    /// The process listens.
    Up { name: String, address: SocketAddr, pid: u32 },
    /// The process ended, and is started again after the delay.
    Died { name: String, how: String, delay: Duration },
    /// A line of its log.
    Line { name: String, line: String },
}

/// One process.
pub(crate) struct Supervisor {
    pub(crate) name: String,
    pub(crate) program: Program,
    pub(crate) register: Register,
    pub(crate) notices: Sender<Notice>,
    /// Closed when the process is to stop.
    pub(crate) stop: Receiver<()>,
    /// Closed when it is to stop without the time to drain.
    pub(crate) at_once: Receiver<()>,
}

impl Supervisor {
    /// Runs the process until it is told to stop and has ended.
    pub(crate) async fn run(self) {
        let mut delay = FIRST_DELAY;
        while !self.stop.is_closed() {
            let started = Instant::now();
            let how = match self.run_once().await {
                Ok(status) => status.to_string(),
                Err(error) => format!("cannot start: {error}"),
            };
            (self.register)(None);
            if self.stop.is_closed() {
                break;
            }
            if started.elapsed() >= WELL {
                delay = FIRST_DELAY;
            }
            self.tell(Notice::Died { name: self.name.clone(), how, delay }).await;
            let rest = async {
                smol::Timer::after(delay).await;
            };
            future::or(rest, closed(&self.stop)).await;
            delay = (delay * 2).min(LONGEST_DELAY);
        }
    }

    /// One life of the process.
    async fn run_once(&self) -> io::Result<ExitStatus> {
        let mut command = self.program.command()?;
        // A group of its own: Ctrl-C reaches the mesh alone, which then stops the others.
        command.process_group(0);
        let mut child = Command::from(command)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()?;
        // Held open, and taken because status() would close it: a task ends when it does.
        let _stdin = child.stdin.take();
        let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
        let pid = child.id();
        let read_logs = future::zip(self.read_log(stdout, pid), self.read_log(stderr, pid));
        let (status, _) = future::zip(self.wait(&mut child), read_logs).await;
        status
    }

    /// Waits for the end of the process, and brings it about when told to stop.
    async fn wait(&self, child: &mut Child) -> io::Result<ExitStatus> {
        let stop = async {
            closed(&self.stop).await;
            None
        };
        if let Some(status) = future::or(async { Some(child.status().await) }, stop).await {
            return status;
        }
        (self.register)(None);
        // Not waited for yet, so the id is still its own.
        if let Ok(pid) = i32::try_from(child.id()) {
            let _ = kill(Pid::from_raw(pid), Signal::SIGTERM);
        }
        let limit = async {
            let timeout = async {
                smol::Timer::after(STOP_TIMEOUT).await;
            };
            future::or(timeout, closed(&self.at_once)).await;
            None
        };
        if let Some(status) = future::or(async { Some(child.status().await) }, limit).await {
            return status;
        }
        child.kill()?;
        child.status().await
    }

    /// Passes the log on, and learns from it whether the process takes requests.
    async fn read_log(&self, log: Option<impl AsyncRead + Unpin>, pid: u32) {
        let Some(log) = log else { return };
        let mut lines = BufReader::new(log).lines();
        while let Some(Ok(line)) = lines.next().await {
            let name = self.name.clone();
            let event = self.program.event(&line);
            if self.program.shows(&line) {
                self.tell(Notice::Line { name: name.clone(), line }).await;
            }
            match event {
                Some(Event::Start(address)) => {
                    future::or(listening(address), closed(&self.stop)).await;
                    (self.register)(Some(address));
                    self.tell(Notice::Up { name, address, pid }).await;
                }
                Some(Event::Drain) => (self.register)(None),
                None => {}
            }
        }
    }

    async fn tell(&self, notice: Notice) {
        // Fails when the mesh is ending, which then does not care.
        let _ = self.notices.send(notice).await;
    }
}

/// Waits until the channel is closed. Nothing is ever sent.
async fn closed(channel: &Receiver<()>) {
    let _ = channel.recv().await;
}

/// Waits until connections are accepted: Envoy says so a moment before.
async fn listening(address: SocketAddr) {
    let end = Instant::now() + LISTEN_LIMIT;
    while Async::<TcpStream>::connect(address).await.is_err() && Instant::now() < end {
        smol::Timer::after(LISTEN_PAUSE).await;
    }
}
