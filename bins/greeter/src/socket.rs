//! A TCP socket that parks a coroutine while it waits, never the worker.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use may::io::{CoIo, WaitIo};
use nix::errno::Errno;

use crate::deadline::{Deadlines, End, Watched};

/// A connected socket with a deadline. To be used inside a coroutine only.
#[derive(Debug)]
pub(crate) struct Socket {
    io: CoIo<Arc<Watched>>,
    deadlines: Deadlines,
}

impl Socket {
    pub(crate) fn new(stream: TcpStream, deadlines: &Deadlines) -> io::Result<Self> {
        // Fails if the peer is gone already, which the first read will tell.
        let _ = stream.set_nodelay(true);
        let watched = deadlines.watch(stream);
        match CoIo::new(watched.clone()) {
            Ok(io) => Ok(Self { io, deadlines: deadlines.clone() }),
            Err(error) => {
                deadlines.forget(&watched);
                Err(error.into())
            }
        }
    }

    /// Connects, and sets the deadline, which is there to stay.
    pub(crate) fn connect(
        address: SocketAddr,
        wait: Duration,
        deadlines: &Deadlines,
    ) -> io::Result<Self> {
        use socket2::{Domain, Protocol, Socket, Type};
        let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
        socket.set_nonblocking(true)?;
        let connected = match socket.connect(&address.into()) {
            Ok(()) => true,
            Err(error) if error.raw_os_error() == Some(Errno::EINPROGRESS as i32) => false,
            Err(error) => return Err(error),
        };
        let socket = Self::new(socket.into(), deadlines)?;
        socket.set_deadline(wait, End::Both);
        if !connected {
            socket.wait_until_connected()?;
        }
        Ok(socket)
    }

    fn wait_until_connected(&self) -> io::Result<()> {
        loop {
            self.io.wait_io();
            if self.deadline_passed() {
                return Err(ErrorKind::TimedOut.into());
            }
            if let Some(error) = self.stream().take_error()? {
                return Err(error);
            }
            if self.stream().peer_addr().is_ok() {
                return Ok(());
            }
        }
    }

    /// Ends what `end` says once `wait` is over, in place of any earlier deadline.
    pub(crate) fn set_deadline(&self, wait: Duration, end: End) {
        self.deadlines.set(self.io.inner(), wait, end);
    }

    pub(crate) fn clear_deadline(&self) {
        self.io.inner().clear_deadline();
    }

    pub(crate) fn deadline_passed(&self) -> bool {
        self.io.inner().deadline_passed()
    }

    /// Waits for bytes. 0 is the end of input.
    ///
    /// # Errors
    ///
    /// `TimedOut` once the deadline has passed; what the kernel says.
    pub(crate) fn read(&self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.wait_for(|| self.stream().read(buffer))?;
        if count == 0 && self.deadline_passed() {
            return Err(ErrorKind::TimedOut.into());
        }
        Ok(count)
    }

    /// Writes all of `bytes`.
    ///
    /// # Errors
    ///
    /// `TimedOut` once the deadline has passed; what the kernel says.
    pub(crate) fn write_all(&self, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            match self.wait_for(|| self.stream().write(bytes)) {
                Ok(0) => return Err(ErrorKind::WriteZero.into()),
                Ok(count) => bytes = &bytes[count..],
                Err(_) if self.deadline_passed() => return Err(ErrorKind::TimedOut.into()),
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Whether nothing has come that nobody waits for: no byte, no end, no error.
    pub(crate) fn is_silent(&self) -> bool {
        let peeked = self.stream().peek(&mut [0]);
        peeked.is_err_and(|error| error.kind() == ErrorKind::WouldBlock)
    }

    /// Tells the peer that nothing more will be written.
    pub(crate) fn finish(&self) -> io::Result<()> {
        self.stream().shutdown(Shutdown::Write)
    }

    fn stream(&self) -> &TcpStream {
        self.io.inner().stream()
    }

    fn wait_for<T>(&self, mut operation: impl FnMut() -> io::Result<T>) -> io::Result<T> {
        loop {
            match operation() {
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    self.io.wait_io();
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                result => return result,
            }
        }
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        self.deadlines.forget(self.io.inner());
    }
}
