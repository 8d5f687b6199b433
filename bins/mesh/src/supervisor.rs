//! Keeps a process running.

use std::collections::BTreeSet;
use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;
use std::process::{ExitStatus, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::{Duration, Instant};

use chassis::shutdown::{QUIET, STOP_TIMEOUT};
use nix::sys::signal::{Signal, kill, killpg};
use nix::unistd::Pid;
use parking_lot::Mutex;
use smol::channel::{self, Receiver, Sender};
use smol::io::{AsyncBufReadExt, AsyncRead, AsyncReadExt as _, BufReader};
use smol::process::{Child, Command};
use smol::{Async, future};

use crate::event::{Awaited, Event};
use crate::loopback;
use crate::program::{Program, Report};
use crate::registration::{Register, Registration};
use crate::within::within;

/// The first delay before a restart; each further death in a row doubles it.
const FIRST_DELAY: Duration = Duration::from_millis(100);
const LONGEST_DELAY: Duration = Duration::from_secs(5);
/// After this long a process counts as stable: its next restart has the first delay again.
const STABLE: Duration = Duration::from_secs(10);

/// How long a process may take to listen once its log reports it, and how often that is checked.
const LISTEN_LIMIT: Duration = Duration::from_secs(5);
const LISTEN_PAUSE: Duration = Duration::from_millis(2);

/// How long a process may take from its start until it listens.
const START_LIMIT: Duration = Duration::from_secs(30);

/// How often a user's program is started again at once because another has taken its port.
const PORT_TRIES: u32 = 3;

/// How long the log of a process that has ended is read: others may hold its end.
const LAST_LINES: Duration = Duration::from_secs(1);
/// The longest line of a log, in bytes; what is longer becomes several.
const MAX_LINE: u64 = 16 * 1024;

/// What the processes of a mesh have in common.
#[derive(Clone)]
pub(crate) struct Starter {
    /// The binary that they all start as.
    pub(crate) own_binary: PathBuf,
    pub(crate) events: Sender<Event>,
    /// Closed when processes are to stop without a drain.
    pub(crate) at_once: Receiver<()>,
    /// Those that are stopping, and have not ended yet.
    pub(crate) awaited: Arc<Mutex<BTreeSet<Awaited>>>,
}

/// A process that is restarted when it ends, until it is stopped.
pub(crate) struct Process {
    /// Dropped to stop it.
    stopper: Sender<()>,
    supervising: smol::Task<()>,
    place: Place,
    /// What helps if it does not listen.
    hint: &'static str,
    /// How its first start went.
    first: Receiver<Result<(), String>>,
}

/// A process's address and process id, while it runs.
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
        let hint =
            program.of_user().map_or("", |_| ": let it listen on 127.0.0.1, on the port in PORT");
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
        Self { stopper, supervising: smol::spawn(supervisor.run()), place, hint, first }
    }

    /// Waits until it listens for the first time.
    ///
    /// # Errors
    ///
    /// It ended, or does not listen in time: the message has the reason.
    pub(crate) fn is_up(&self) -> impl Future<Output = Result<(), String>> + Send + use<> {
        let (first, hint) = (self.first.clone(), self.hint);
        async move {
            let first = async { first.recv().await.unwrap_or(Ok(())) };
            let late = || Err(format!("it does not listen within {START_LIMIT:?}{hint}"));
            within(START_LIMIT, first).await.unwrap_or_else(late)
        }
    }

    /// Its address and process id, while it runs.
    pub(crate) fn place(&self) -> Option<(SocketAddr, u32)> {
        *self.place.lock()
    }

    /// Stops processes, all at the same time, and waits until they have ended.
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
    /// The last line of its log: the reason, if the process ends at once.
    last_line: Mutex<String>,
}

impl Supervisor {
    /// Runs the process, and restarts it, until it is stopped.
    async fn run(self) {
        let (mut delay, mut port_tries) = (FIRST_DELAY, PORT_TRIES);
        while !self.stop.is_closed() {
            let started = Instant::now();
            let port = self.program.of_user().map(|_| loopback::free_port());
            let how = match self.run_once(port).await {
                Ok(status) => status.to_string(),
                Err(error) => format!("cannot start: {error}"),
            };
            self.deregister();
            let was_up = self.place.lock().take().is_some();
            let last_line = std::mem::take(&mut *self.last_line.lock());
            if let Some(port) = port.filter(|_| !was_up && port_tries > 0)
                && !loopback::is_free(port)
            {
                port_tries -= 1;
                continue;
            }
            let why = match port {
                Some(_) => format!("it ended ({how}) before it listened; its output may say why"),
                None if last_line.is_empty() => how.clone(),
                None => last_line,
            };
            // Only the first start has a receiver.
            let _ = self.starts.try_send(Err(why));
            if self.stop.is_closed() {
                break;
            }
            if started.elapsed() >= STABLE {
                delay = FIRST_DELAY;
            }
            let again_in_ms = u64::try_from(delay.as_millis()).unwrap_or(u64::MAX);
            self.send(Event::Ended { process: self.name.clone(), how, again_in_ms }).await;
            let rest = async {
                smol::Timer::after(delay).await;
            };
            future::or(rest, closed(&self.stop)).await;
            delay = (delay * 2).min(LONGEST_DELAY);
        }
    }

    /// Runs the process once.
    async fn run_once(&self, port: Option<u16>) -> io::Result<ExitStatus> {
        let mut command = self.program.command(&self.starter.own_binary, port.unwrap_or_default());
        // Its own process group, so that Ctrl-C reaches only the mesh, which stops the others.
        command.process_group(0);
        let mut child = Command::from(command)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()?;
        // Held open: a task ends when it closes. Taken, because status() would close it.
        let _stdin = child.stdin.take();
        let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
        let pid = child.id();
        let (running, ended) = channel::bounded::<()>(1);
        let status = async {
            let status = self.wait(&mut child).await;
            // And what it has left behind, which would otherwise hold its port and its log.
            if let Ok(group) = i32::try_from(pid) {
                let _ = killpg(Pid::from_raw(group), Signal::SIGKILL);
            }
            drop(running);
            status
        };
        let read_logs = async {
            future::zip(self.read_log(stdout, pid), self.read_log(stderr, pid)).await;
        };
        let late = async {
            closed(&ended).await;
            smol::Timer::after(LAST_LINES).await;
        };
        let await_port = async {
            if let Some(port) = port {
                let address = (Ipv4Addr::LOCALHOST, port).into();
                listening(address).await;
                self.is_up(address, pid).await;
            }
        };
        let beside =
            future::zip(future::or(read_logs, late), future::or(await_port, closed(&ended)));
        future::zip(status, beside).await.0
    }

    /// Waits for the end of the process, and stops it when told to.
    async fn wait(&self, child: &mut Child) -> io::Result<ExitStatus> {
        let stop = async {
            closed(&self.stop).await;
            None
        };
        if let Some(status) = future::or(async { Some(child.status().await) }, stop).await {
            return status;
        }
        self.deregister();
        let awaited = Awaited { process: self.name.clone(), pid: child.id() };
        self.starter.awaited.lock().insert(awaited.clone());
        let status = self.end(child).await;
        self.starter.awaited.lock().remove(&awaited);
        status
    }

    /// Sends SIGTERM, or the signal of the user's program, and SIGKILL if the drain takes too long.
    async fn end(&self, child: &mut Child) -> io::Result<ExitStatus> {
        let at_once = || async {
            closed(&self.starter.at_once).await;
            None
        };
        let mut signal = Signal::SIGTERM;
        if let Some(program) = self.program.of_user() {
            signal = program.stop_signal;
            // Proxies learn of its end a little later. Our own serve on for as long, but another
            // may take no more connections once it has the signal.
            let ended = future::or(async { Some(child.status().await) }, at_once());
            if let Some(status) = within(QUIET, ended).await.flatten() {
                return status;
            }
        }
        // Not reaped yet, so the process id is still valid.
        if let Ok(pid) = i32::try_from(child.id()) {
            let _ = kill(Pid::from_raw(pid), signal);
        }
        let ended = future::or(async { Some(child.status().await) }, at_once());
        if let Some(status) = within(STOP_TIMEOUT, ended).await.flatten() {
            return status;
        }
        child.kill()?;
        child.status().await
    }

    /// Passes the log on, and registers the process when the log reports that it listens.
    async fn read_log(&self, log: Option<impl AsyncRead + Unpin>, pid: u32) {
        let Some(log) = log else { return };
        let (mut log, mut line) = (BufReader::new(log), Vec::new());
        // Also of what is no text: to stop at it would end the process by SIGPIPE.
        while let Ok(1..) = (&mut log).take(MAX_LINE).read_until(b'\n', &mut line).await {
            let read = std::mem::take(&mut line);
            let line = String::from_utf8_lossy(&read).trim_end_matches(['\r', '\n']).to_owned();
            let report = self.program.report(&line);
            if self.program.is_printed(&line) {
                line.clone_into(&mut self.last_line.lock());
                self.send(Event::Log { process: self.name.clone(), line }).await;
            }
            match report {
                Some(Report::Listening(address)) => {
                    // Envoy's log is a moment early.
                    let listening = future::or(listening(address), closed(&self.stop));
                    within(LISTEN_LIMIT, listening).await;
                    self.is_up(address, pid).await;
                }
                Some(Report::Draining) => self.deregister(),
                None => {}
            }
        }
    }

    /// It takes requests.
    async fn is_up(&self, address: SocketAddr, pid: u32) {
        // A stopping process must not register: another may have taken its place.
        if self.stop.is_closed() {
            return;
        }
        *self.place.lock() = Some((address, pid));
        (self.register)(Registration::Up(address));
        let (process, again) = (self.name.clone(), self.has_started.swap(true, Relaxed));
        self.send(Event::Started { process, address, pid, again }).await;
        let _ = self.starts.try_send(Ok(()));
    }

    fn deregister(&self) {
        let place = *self.place.lock();
        if let Some((address, _)) = place {
            (self.register)(Registration::Down(address));
        }
    }

    async fn send(&self, event: Event) {
        // Fails once the receiver is dropped: the mesh has ended.
        let _ = self.starter.events.send(event).await;
    }
}

/// Waits until the channel is closed; nothing is ever sent on it.
pub(crate) async fn closed(channel: &Receiver<()>) {
    let _ = channel.recv().await;
}

/// Waits until connections are accepted.
async fn listening(address: SocketAddr) {
    while Async::<TcpStream>::connect(address).await.is_err() {
        smol::Timer::after(LISTEN_PAUSE).await;
    }
}
