//! Accepting connections.

use std::io::{self, ErrorKind};
use std::net::{TcpListener, TcpStream};
use std::os::fd::AsRawFd;
use std::time::Duration;

use chassis::runtime::Turns;
use may::io::{CoIo, WaitIo};
use nix::sys::socket::{self, Shutdown};
use socket2::SockRef;

use crate::deadline::Deadlines;
use crate::limits;

/// Where connections come in.
#[derive(Debug)]
pub struct Listener(CoIo<TcpListener>);

impl Listener {
    /// Accepts connections for which the kernel holds [`limits::UNREAD`], and which it resets
    /// when their peer reads nothing for `patience`.
    ///
    /// # Errors
    ///
    /// What the kernel says.
    pub fn new(listener: TcpListener, patience: Duration) -> io::Result<Self> {
        // Connections inherit what is set here.
        let socket = SockRef::from(&listener);
        socket.set_send_buffer_size(limits::UNREAD)?;
        socket.set_recv_buffer_size(limits::UNREAD)?;
        // A peer that does not read loses the connection, even when all that is to be said is
        // written and the connection is closed here (tcp(7)).
        #[cfg(target_os = "linux")]
        socket.set_tcp_user_timeout(Some(patience))?;
        #[cfg(not(target_os = "linux"))]
        let _ = patience;
        Ok(Self(CoIo::new(listener)?))
    }

    /// Hands each connection to `start`, until the listener is shut down; rests
    /// ([`limits::REST`]) when accepting or `start` fails, after `failed` was told why. To be
    /// called inside a coroutine.
    pub fn accept_all(
        &self,
        deadlines: &Deadlines,
        start: impl Fn(TcpStream) -> io::Result<()>,
        failed: impl Fn(&io::Error),
    ) {
        let rest = |error| {
            failed(&error);
            deadlines.sleep(limits::REST);
        };
        let turns = Turns::default();
        loop {
            match self.0.inner().accept() {
                Ok((stream, _)) => {
                    if let Err(error) = start(stream) {
                        rest(error);
                    }
                    turns.count();
                }
                Err(error) => match error.kind() {
                    ErrorKind::WouldBlock => {
                        self.0.wait_io();
                        turns.waited();
                    }
                    ErrorKind::Interrupted | ErrorKind::ConnectionAborted => turns.count(),
                    // It was shut down.
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
