//! Keeps a process running.

use std::collections::BTreeSet;
use std::io;
use std::net::{SocketAddr, TcpStream};
use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;
use std::process::{ExitStatus, Stdio};
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use chassis::shutdown::STOP_TIMEOUT;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use smol::channel::{self, Receiver, Sender};
use smol::io::{AsyncBufReadExt, AsyncRead, BufReader};
use smol::process::{Child, Command};
use smol::stream::StreamExt;
use smol::{Async, future};

use crate::event::{Awaited, Event};
use crate::lock::lock;
use crate::program::{Program, Report};
use crate::registration::{Register, Registration};
use crate::within::within;

/// A dead process's first wait; each further death in a row doubles it.
const FIRST_DELAY: Duration = Duration::from_millis(100);
const LONGEST_DELAY: Duration = Duration::from_secs(5);
/// A process that lived this long was well: its next death is a first one again.
const WELL: Duration = Duration::from_secs(10);

/// How long a process may take to listen once it has said that it does, and how often it
/// is tried.
const LISTEN_LIMIT: Duration = Duration::from_secs(5);
const LISTEN_PAUSE: Duration = Duration::from_millis(2);

/// How long a process may take from its start until it listens.
const START_LIMIT: Duration = Duration::from_secs(30);

/// What the processes of a mesh have in common.
#[derive(Clone)]
pub(crate) struct Starter {
    /// What they all start as.
    pub(crate) own_binary: PathBuf,
    pub(crate) events: Sender<Event>,
    /// Closed when processes are to stop without the time to drain.
    pub(crate) at_once: Receiver<()>,
    /// Those that were told to stop, and have not yet.
    pub(crate) awaited: Arc<Mutex<BTreeSet<Awaited>>>,
}

/// A process that is started again when it ends, until it is told to stop.
pub(crate) struct Process {
    /// Dropped to stop it.
    stopper: Sender<()>,
    supervising: smol::Task<()>,
    place: Place,
    /// How its first start went.
    first: Receiver<Result<(), String>>,
}

/// Where a process takes requests, and its process id, while it runs.
type Place = Arc<Mutex<Option<(SocketAddr, u32)>>>;

impl Process {
    /// Starts it.
    pub(crate) fn start(
        name: String,
        program: Program,
        register: Register,
        starter: Starter,
    ) -> Self {
        let (stopper, stop) = channel::bounded(1);
        let (starts, first) = channel::bounded(1);
        let place = Place::default();
        let last_line = Mutex::default();
        let supervisor = Supervisor {
            name,
            program,
            register,
            starter,
            stop,
            place: place.clone(),
            starts,
            has_started: AtomicBool::new(false),
            last_line,
        };
        Self { stopper, supervising: smol::spawn(supervisor.run()), place, first }
    }

    /// Waits until it listens for the first time.
    ///
    /// # Errors
    ///
    /// It ended, or does not listen in time: the words say why.
    pub(crate) fn is_up(&self) -> impl Future<Output = Result<(), String>> + Send + use<> {
        let first = self.first.clone();
        async move {
            let first = async { first.recv().await.unwrap_or(Ok(())) };
            let late = || Err(format!("it does not listen within {START_LIMIT:?}"));
            within(START_LIMIT, first).await.unwrap_or_else(late)
        }
    }

    /// Where it takes requests, and its process id, while it runs.
    pub(crate) fn place(&self) -> Option<(SocketAddr, u32)> {
        *lock(&self.place)
    }

    /// Stops processes, all at the same time, and waits for their ends.
    pub(crate) async fn stop(processes: impl IntoIterator<Item = Self>) {
        let stop = |process: Self| {
            drop(process.stopper);
            process.supervising
        };
        for supervising in processes.into_iter().map(stop).collect::<Vec<_>>() {
            supervising.await;
        }
    }
}

struct Supervisor {
    name: String,
    program: Program,
    register: Register,
    starter: Starter,
    stop: Receiver<()>,
    place: Place,
    starts: Sender<Result<(), String>>,
    has_started: AtomicBool,
    /// Of its log: if the process ends at once, this says why.
    last_line: Mutex<String>,
}

impl Supervisor {
    /// Runs the process until it is told to stop and has ended.
    async fn run(self) {
        let mut delay = FIRST_DELAY;
        while !self.stop.is_closed() {
            let started = Instant::now();
            let how = match self.run_once().await {
                Ok(status) => status.to_string(),
                Err(error) => format!("cannot start: {error}"),
            };
            self.takes_no_more();
            *lock(&self.place) = None;
            let last_line = std::mem::take(&mut *lock(&self.last_line));
            let why = if last_line.is_empty() { how.clone() } else { last_line };
            // Nobody asks after the first start.
            let _ = self.starts.try_send(Err(why));
            if self.stop.is_closed() {
                break;
            }
            if started.elapsed() >= WELL {
                delay = FIRST_DELAY;
            }
            let again_in_ms = u64::try_from(delay.as_millis()).unwrap_or(u64::MAX);
            self.tell(Event::Ended { process: self.name.clone(), how, again_in_ms }).await;
            let rest = async {
                smol::Timer::after(delay).await;
            };
            future::or(rest, closed(&self.stop)).await;
            delay = (delay * 2).min(LONGEST_DELAY);
        }
    }

    /// One life of the process.
    async fn run_once(&self) -> io::Result<ExitStatus> {
        let mut command = self.program.command(&self.starter.own_binary);
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
        self.takes_no_more();
        let awaited = Awaited { process: self.name.clone(), pid: child.id() };
        lock(&self.starter.awaited).insert(awaited.clone());
        let status = self.end(child).await;
        lock(&self.starter.awaited).remove(&awaited);
        status
    }

    /// Has the process drain, and kills it if that takes too long.
    async fn end(&self, child: &mut Child) -> io::Result<ExitStatus> {
        // Not waited for yet, so the id is still its own.
        if let Ok(pid) = i32::try_from(child.id()) {
            let _ = kill(Pid::from_raw(pid), Signal::SIGTERM);
        }
        let limit = async {
            let timeout = async {
                smol::Timer::after(STOP_TIMEOUT).await;
            };
            future::or(timeout, closed(&self.starter.at_once)).await;
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
            let process = self.name.clone();
            let report = self.program.report(&line);
            if self.program.is_for_people(&line) {
                line.clone_into(&mut lock(&self.last_line));
                self.tell(Event::Log { process: process.clone(), line }).await;
            }
            match report {
                Some(Report::Listening(address)) => {
                    future::or(listening(address), closed(&self.stop)).await;
                    // One that is to end takes nothing any more: another may have its place.
                    if self.stop.is_closed() {
                        continue;
                    }
                    *lock(&self.place) = Some((address, pid));
                    (self.register)(Registration::Up(address));
                    let again = self.has_started.swap(true, Relaxed);
                    self.tell(Event::Started { process, address, pid, again }).await;
                    let _ = self.starts.try_send(Ok(()));
                }
                Some(Report::Draining) => self.takes_no_more(),
                None => {}
            }
        }
    }

    fn takes_no_more(&self) {
        let place = *lock(&self.place);
        if let Some((address, _)) = place {
            (self.register)(Registration::Down(address));
        }
    }

    async fn tell(&self, event: Event) {
        // Fails once nobody listens any more: the mesh has ended.
        let _ = self.starter.events.send(event).await;
    }
}

/// Waits until the channel is closed. Nothing is ever sent.
pub(crate) async fn closed(channel: &Receiver<()>) {
    let _ = channel.recv().await;
}

/// Waits until connections are accepted: Envoy says so a moment before.
async fn listening(address: SocketAddr) {
    let end = Instant::now() + LISTEN_LIMIT;
    while Async::<TcpStream>::connect(address).await.is_err() && Instant::now() < end {
        smol::Timer::after(LISTEN_PAUSE).await;
    }
}
