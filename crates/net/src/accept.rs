//! Accepting connections.

use std::io::{self, ErrorKind};
use std::net::{TcpListener, TcpStream};
use std::os::fd::AsRawFd;
use std::time::Duration;

use crate::runtime::CoopBudget;
use may::io::{CoIo, WaitIo};
use nix::sys::socket::{self, Shutdown};
use socket2::SockRef;

use crate::deadline::Deadlines;
use crate::limits;
use crate::socket::set_user_timeout;

/// A listening socket, whose connections a coroutine accepts.
#[derive(Debug)]
pub struct Listener(CoIo<TcpListener>);

impl Listener {
    /// Takes over a socket that listens. The kernel's buffers of each connection have
    /// [`limits::SOCKET_BUFFER`] bytes; on Linux the kernel resets a connection whose peer reads nothing
    /// for `patience`.
    ///
    /// # Errors
    ///
    /// The system call that failed.
    pub fn new(listener: TcpListener, patience: Duration) -> io::Result<Self> {
        // Accepted connections inherit these options.
        let socket = SockRef::from(&listener);
        socket.set_send_buffer_size(limits::SOCKET_BUFFER)?;
        socket.set_recv_buffer_size(limits::SOCKET_BUFFER)?;
        // The kernel resets the connection of a peer that does not read, even after everything
        // was written and the connection was closed here (tcp(7)).
        set_user_timeout(&socket, patience)?;
        Ok(Self(CoIo::new(listener)?))
    }

    /// Accepts connections and hands each to `start`, until the listener is shut down. After an
    /// error, of accepting or of `start`, it calls `failed` and waits for
    /// [`limits::ACCEPT_BACKOFF`]. Call it inside a coroutine.
    pub fn accept_all(
        &self,
        deadlines: &Deadlines,
        start: impl Fn(TcpStream) -> io::Result<()>,
        failed: impl Fn(&io::Error),
    ) {
        let rest = |error| {
            failed(&error);
            deadlines.sleep(limits::ACCEPT_BACKOFF);
        };
        let budget = CoopBudget::default();
        loop {
            match self.0.inner().accept() {
                Ok((stream, _)) => {
                    if let Err(error) = start(stream) {
                        rest(error);
                    }
                    budget.spend();
                }
                Err(error) => match error.kind() {
                    ErrorKind::WouldBlock => {
                        self.0.wait_io();
                        budget.refill();
                    }
                    ErrorKind::Interrupted | ErrorKind::ConnectionAborted => budget.spend(),
                    // The listener was shut down.
                    ErrorKind::InvalidInput => return,
                    _ => rest(error),
                },
            }
        }
    }

    /// Ends [`Self::accept_all`]: from here on new connections are refused.
    pub fn shut_down(&self) {
        // Fails if it is shut down already.
        let _ = socket::shutdown(self.0.as_raw_fd(), Shutdown::Read);
    }
}
