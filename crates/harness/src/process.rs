//! Real processes.

use std::collections::HashMap;
use std::env;
use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{BufRead, BufReader, PipeReader, PipeWriter, Write};
use std::net::SocketAddr;
use std::os::fd::AsFd;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::{Duration, Instant};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::wait::PATIENCE;

/// A process that is killed when this is dropped.
#[derive(Debug)]
pub struct Process {
    child: Child,
    lines: Receiver<String>,
}

/// The result of a process.
#[derive(Debug)]
pub struct Finished {
    /// Its exit code; `None` when a signal ended it.
    pub code: Option<i32>,
    /// Its standard output.
    pub stdout: String,
    /// Its standard error.
    pub stderr: String,
}

/// The command that runs a service, without environment: the binary that cargo built for the test, or,
/// with `SERVICES` set, the one in that folder, under the emulator `SERVICES_RUNNER` if that is set.
#[must_use]
pub fn service(built: &str) -> Command {
    let built = Path::new(built);
    let path = match env::var_os("SERVICES") {
        Some(folder) => Path::new(&folder).join(built.file_name().expect("a file")),
        None => built.to_owned(),
    };
    assert!(path.exists(), "there is no {}", path.display());
    let runner = env::var_os("SERVICES_RUNNER");
    let mut command = Command::new(runner.as_deref().unwrap_or(path.as_os_str()));
    command.args(runner.is_some().then_some(&path));
    command.env_clear();
    command
}

/// The same command, with a limit of open files.
#[must_use]
pub fn with_files(files: u32, command: &Command) -> Command {
    after(&format!("ulimit -n {files}"), command)
}

/// Whether an emulator runs the services: it is slow, and lacks some system calls.
#[must_use]
pub fn is_emulated() -> bool {
    env::var_os("SERVICES_RUNNER").is_some()
}

/// The same command, after a shell command such as `ulimit`.
#[must_use]
pub fn after(something: &str, command: &Command) -> Command {
    let mut limited = Command::new("sh");
    limited.args(["-c", &format!("{something}; exec \"$@\""), "sh"]);
    limited.arg(command.get_program()).args(command.get_args());
    limited.env_clear().envs(command.get_envs().filter_map(|(name, value)| Some((name, value?))));
    limited
}

/// Runs a command to its end.
#[must_use]
pub fn run(command: &mut Command) -> Finished {
    let output = command.stdin(Stdio::null()).output().expect("the command starts");
    let text = |bytes| String::from_utf8(bytes).expect("UTF-8");
    Finished {
        code: output.status.code(),
        stdout: text(output.stdout),
        stderr: text(output.stderr),
    }
}

impl Process {
    /// Starts a command and collects the lines of its standard output.
    #[must_use]
    pub fn start(command: &mut Command) -> Self {
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .expect("the command starts");
        let stdout = child.stdout.take().expect("it is piped");
        let (sender, lines) = channel();
        thread::spawn(move || {
            for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                if sender.send(line).is_err() {
                    break;
                }
            }
        });
        Self { child, lines }
    }

    /// Starts a service with `PORT=0`, waits until it listens, and returns its IPv4 address.
    #[must_use]
    pub fn serve(command: &mut Command) -> (Self, SocketAddr) {
        let process = Self::start(command.env("PORT", "0"));
        let start = process.line(|line| line.contains(r#""event":"start""#));
        (process, started_at(&start))
    }

    /// The same, with its log in this file.
    #[must_use]
    pub fn serve_logged(command: &mut Command, log: &File) -> (Self, SocketAddr) {
        let stdout = log.try_clone().expect("a file");
        let child = command.env("PORT", "0").stdin(Stdio::null()).stdout(stdout).spawn();
        let process = Self { child: child.expect("the command starts"), lines: channel().1 };
        let read = || {
            let mut text = vec![0; 4096];
            let length = log.read_at(&mut text, 0).expect("it can be read");
            let text = String::from_utf8_lossy(&text[..length]).into_owned();
            text.lines().find(|line| line.ends_with('}')).map(started_at)
        };
        crate::wait::eventually("it does not start", || read().is_some());
        let address = read().expect("it has been there");
        (process, address)
    }

    /// The same, with a log whose pipe is full once the service listens. Reading the pipe unblocks it.
    #[must_use]
    pub fn serve_unread(command: &mut Command) -> (Self, SocketAddr, BufReader<PipeReader>) {
        let (log, writer) = std::io::pipe().expect("a pipe");
        let full = writer.try_clone().expect("a file");
        let command = command.env("PORT", "0").stdin(Stdio::null()).stdout(writer);
        let child = command.spawn().expect("the command starts");
        // The command would keep the pipe open.
        command.stdout(Stdio::null());
        let process = Self { child, lines: channel().1 };
        let (mut log, mut start) = (BufReader::new(log), String::new());
        log.read_line(&mut start).expect("the start line");
        fill(full);
        (process, started_at(&start), log)
    }

    /// The next line of output that matches.
    #[must_use]
    pub fn line(&self, wanted: impl Fn(&str) -> bool) -> String {
        let end = Instant::now() + PATIENCE;
        let mut seen = Vec::new();
        loop {
            let left = end.saturating_duration_since(Instant::now());
            match self.lines.recv_timeout(left) {
                Ok(line) if wanted(&line) => return line,
                Ok(line) => seen.push(line),
                Err(error) => panic!("{error}; the output was {seen:#?}"),
            }
        }
    }

    /// The lines of output so far that were not returned yet.
    #[must_use]
    pub fn lines(&self) -> Vec<String> {
        self.lines.try_iter().collect()
    }

    /// Its process id.
    #[must_use]
    pub fn pid(&self) -> i32 {
        i32::try_from(self.child.id()).expect("a process id")
    }

    /// CPU time so far, in the kernel too, to a hundredth of a second: fields 14 and 15 of
    /// `stat`.
    #[must_use]
    pub fn cpu_time(&self) -> Duration {
        let stat = self.proc("stat");
        let times = fields(&stat).skip(14 - 3).take(2);
        let hundredths: u64 = times.map(|time| time.parse::<u64>().expect("a number")).sum();
        Duration::from_millis(10 * hundredths)
    }

    /// CPU time of each thread so far, by the scheduler's own clock.
    #[must_use]
    pub fn cpu_of_threads(&self) -> HashMap<OsString, Duration> {
        let time = |(thread, times): (OsString, String)| {
            let nanoseconds = times.split(' ').next().and_then(|time| time.parse().ok());
            (thread, Duration::from_nanos(nanoseconds.expect("a number")))
        };
        self.of_threads("schedstat").map(time).collect()
    }

    /// A file of `/proc` of each thread, by thread id.
    pub(crate) fn of_threads(&self, file: &str) -> impl Iterator<Item = (OsString, String)> {
        let threads = fs::read_dir(format!("/proc/{}/task", self.pid())).expect("it lives");
        threads.map(move |thread| {
            let thread = thread.expect("a thread");
            let text = fs::read_to_string(thread.path().join(file)).expect("the kernel says it");
            (thread.file_name(), text)
        })
    }

    /// Resident memory, in KiB.
    #[must_use]
    pub fn memory(&self) -> u64 {
        self.size("VmRSS:")
    }

    /// The most memory that was ever resident, in KiB.
    #[must_use]
    pub fn peak_memory(&self) -> u64 {
        self.size("VmHWM:")
    }

    fn size(&self, field: &str) -> u64 {
        let status = self.proc("status");
        let size = status.lines().find_map(|line| line.strip_prefix(field)).expect("a size");
        size.trim().trim_end_matches(" kB").parse().expect("a number")
    }

    fn proc(&self, file: &str) -> String {
        fs::read_to_string(format!("/proc/{}/{file}", self.pid())).expect("it lives")
    }

    /// Sends a signal.
    pub fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(self.pid()), signal).expect("the process is there");
    }

    /// Runs `action` while the process is stopped (SIGSTOP).
    pub fn stopped<T>(&self, action: impl FnOnce() -> T) -> T {
        self.signal(Signal::SIGSTOP);
        let is_stopped = |(_, stat): (_, String)| fields(&stat).next() == Some("T");
        crate::wait::eventually("it does not stop", || self.of_threads("stat").all(is_stopped));
        let result = action();
        self.signal(Signal::SIGCONT);
        result
    }

    /// Waits for its end, and returns its status and how long that took.
    pub fn wait(&mut self) -> (ExitStatus, Duration) {
        let start = Instant::now();
        while start.elapsed() < PATIENCE {
            if let Some(status) = self.child.try_wait().expect("a child") {
                return (status, start.elapsed());
            }
            thread::sleep(Duration::from_millis(2));
        }
        panic!("process {} does not end", self.child.id());
    }
}

/// The fields of a `stat` from the third on: the second is a name, which may contain blanks.
pub(crate) fn fields(stat: &str) -> impl Iterator<Item = &str> {
    stat.rsplit(") ").next().expect("split gives one").split(' ')
}

/// The IPv4 address in a service's start line.
pub(crate) fn started_at(line: &str) -> SocketAddr {
    let start: serde_json::Value = serde_json::from_str(line).expect("a line of JSON");
    let addresses = start["address"].as_str().expect("an address in the start line");
    let first = addresses.split(", ").next().expect("one at least");
    let mut address: SocketAddr = first.parse().expect("an address");
    address.set_ip([127, 0, 0, 1].into());
    address
}

/// A file without a name, deleted when it is closed.
pub(crate) fn nameless_file() -> File {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let name = format!("harness-{}-{}", std::process::id(), COUNT.fetch_add(1, Relaxed));
    let path = env::temp_dir().join(name);
    let file = File::options().read(true).append(true).create_new(true).open(&path);
    fs::remove_file(path).expect("it has just been made");
    file.expect("a file")
}

/// Fills a pipe until it has no room for another line.
pub fn fill(mut pipe: PipeWriter) {
    loop {
        let mut ready = [PollFd::new(pipe.as_fd(), PollFlags::POLLOUT)];
        if poll(&mut ready, PollTimeout::ZERO) == Ok(0) {
            return;
        }
        // PIPE_BUF, pipe(7).
        pipe.write_all(&[b'\n'; 4096]).expect("somebody could read it");
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
