//! ureq on coroutine sockets: a call that waits parks its coroutine, not the worker.

use std::fmt;
use std::io;
use std::mem;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use ureq::Error;
use ureq::config::Config;
use ureq::http::Uri;
use ureq::unversioned::resolver::{self, ResolvedSocketAddrs};
use ureq::unversioned::transport::{
    Buffers, ConnectionDetails, Connector, LazyBuffers, NextTimeout, Transport,
};

use crate::deadline::{Deadlines, End};
use crate::resolver::Resolver;
use crate::socket::Socket;

/// Connecting may take this long.
const CONNECT: Duration = Duration::from_millis(500);
/// A connection is used this long at most. Where balancing is per connection (Service
/// Connect in TCP mode) traffic so reaches the tasks of a scale-out.
const MAX_AGE: Duration = Duration::from_secs(30);

/// What a caller and its connection know of the call under way.
#[derive(Debug)]
pub(crate) struct Call {
    /// When it must be over. ureq's own timeouts are not used: they read the clock at
    /// every step and would arm a deadline for every read.
    deadline: Mutex<Instant>,
    /// It opened a connection of its own.
    pub(crate) connected: AtomicBool,
    /// It received something.
    pub(crate) answered: AtomicBool,
}

impl Call {
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Self {
            deadline: Mutex::new(Instant::now()),
            connected: AtomicBool::new(false),
            answered: AtomicBool::new(false),
        })
    }

    pub(crate) fn begin(&self, deadline: Instant) {
        *self.deadline.lock().unwrap_or_else(PoisonError::into_inner) = deadline;
        self.connected.store(false, Relaxed);
        self.answered.store(false, Relaxed);
    }

    /// Time left; an error when none is.
    fn left(&self) -> io::Result<Duration> {
        let deadline = *self.deadline.lock().unwrap_or_else(PoisonError::into_inner);
        match deadline.saturating_duration_since(Instant::now()) {
            Duration::ZERO => Err(io::ErrorKind::TimedOut.into()),
            left => Ok(left),
        }
    }
}

/// Opens the connections of one caller.
pub(crate) struct CoConnector {
    pub(crate) call: Arc<Call>,
    pub(crate) resolver: Arc<Resolver>,
    pub(crate) deadlines: Deadlines,
}

impl Connector for CoConnector {
    type Out = CoTransport;

    fn connect(
        &self,
        details: &ConnectionDetails,
        _: Option<()>,
    ) -> Result<Option<CoTransport>, Error> {
        self.call.connected.store(true, Relaxed);
        let config = details.config;
        Ok(Some(CoTransport {
            socket: self.open()?,
            buffers: LazyBuffers::new(config.input_buffer_size(), config.output_buffer_size()),
            call: self.call.clone(),
            opened: Instant::now(),
            in_call: false,
        }))
    }
}

impl CoConnector {
    /// Tries the host's addresses in order, within the time that connecting may take.
    fn open(&self) -> io::Result<Socket> {
        let addresses = self.resolver.resolve(self.call.left()?)?;
        let start = Instant::now();
        let mut last = io::Error::from(io::ErrorKind::TimedOut);
        for &address in addresses.iter() {
            let wait = CONNECT.saturating_sub(start.elapsed()).min(self.call.left()?);
            if wait.is_zero() {
                break;
            }
            match Socket::connect(address, wait, &self.deadlines) {
                Ok(socket) => return Ok(socket),
                Err(error) => last = error,
            }
        }
        Err(last)
    }
}

impl fmt::Debug for CoConnector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("CoConnector")
    }
}

/// One connection to an upstream.
#[derive(Debug)]
pub(crate) struct CoTransport {
    socket: Socket,
    buffers: LazyBuffers,
    call: Arc<Call>,
    opened: Instant,
    /// Between a request and the end of its answer.
    in_call: bool,
}

impl Transport for CoTransport {
    fn buffers(&mut self) -> &mut dyn Buffers {
        &mut self.buffers
    }

    fn transmit_output(&mut self, amount: usize, _: NextTimeout) -> Result<(), Error> {
        self.in_call = true;
        // For what is received as well: the call's time is one.
        self.socket.set_deadline(self.call.left()?, End::Both);
        Ok(self.socket.write_all(&self.buffers.output()[..amount])?)
    }

    fn await_input(&mut self, _: NextTimeout) -> Result<bool, Error> {
        let count = self.socket.read(self.buffers.input_append_buf()).map_err(unmistakable)?;
        self.buffers.input_appended(count);
        if count > 0 {
            self.call.answered.store(true, Relaxed);
        }
        Ok(count > 0)
    }

    /// ureq asks when it puts the connection aside, and when it takes it up again: what has
    /// come by then has come since the answer.
    fn is_open(&mut self) -> bool {
        self.socket.clear_deadline();
        let taken_up = !mem::take(&mut self.in_call);
        self.opened.elapsed() < MAX_AGE && (!taken_up || self.socket.is_silent())
    }
}

/// ureq takes a reset for the end of a body: half an answer without a length would pass for
/// a whole one.
fn unmistakable(error: io::Error) -> io::Error {
    match error.kind() {
        io::ErrorKind::ConnectionReset => io::Error::other("connection reset"),
        _ => error,
    }
}

/// ureq resolves before it looks for a connection, on every request. The connector
/// resolves, and only when it connects.
#[derive(Debug)]
pub(crate) struct LeaveItToTheConnector;

impl resolver::Resolver for LeaveItToTheConnector {
    fn resolve(&self, _: &Uri, _: &Config, _: NextTimeout) -> Result<ResolvedSocketAddrs, Error> {
        Ok(self.empty())
    }
}
