//! What can be done with a connection of the library's: it hands out the number of the
//! socket, never the socket.

use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd, OwnedFd, RawFd};
use std::os::unix::net::UnixStream;
use std::time::Duration;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::{ControlMessage, MsgFlags, Shutdown, send, sendmsg, shutdown};
use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, recvmsg};
use socket2::SockRef;

use chassis::healthcheck;

/// Bytes of answers that the kernel keeps for a client which does not read, as many as Linux
/// allows everybody (`net.core.wmem_max`); it doubles them for its own part. A third of that
/// holds what is given before it is looked at again, though each answer takes 1.3 kB there.
const SEND_BUFFER: usize = 208 * 1024;

/// Bytes of requests that the kernel keeps, doubled like the others. Where it is full the
/// library gets to wait, however fast a client sends.
const RECEIVE_BUFFER: usize = 32 * 1024;

/// A client that takes nothing for so long is dropped by the kernel.
const READ_LIMIT: Duration = Duration::from_secs(10);

/// Makes sockets of numbers: a second handle on the same socket, which the kernel passes
/// from one end of a pair to the other (unix(7), `SCM_RIGHTS`), and so checks. For one thread:
/// two could get each other's.
pub(super) struct Handles(UnixStream, UnixStream);

impl Handles {
    pub(super) fn new() -> io::Result<Self> {
        let (one, other) = UnixStream::pair()?;
        Ok(Self(one, other))
    }

    fn open(&self, fd: RawFd) -> io::Result<OwnedFd> {
        let rights = [ControlMessage::ScmRights(&[fd])];
        sendmsg::<()>(
            self.0.as_raw_fd(),
            &[IoSlice::new(&[0])],
            &rights,
            MsgFlags::MSG_DONTWAIT,
            None,
        )?;
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut control = RecvAncillaryBuffer::new(&mut space);
        let flags = RecvFlags::DONTWAIT | RecvFlags::CMSG_CLOEXEC;
        recvmsg(&self.1, &mut [IoSliceMut::new(&mut [0])], &mut control, flags)?;
        let handle = control.drain().find_map(|message| match message {
            RecvAncillaryMessage::ScmRights(mut handles) => handles.next(),
            _ => None,
        });
        handle.ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    /// Bounds what the kernel keeps for the connection, and for how long.
    pub(super) fn bound(&self, fd: RawFd) -> io::Result<()> {
        let handle = self.open(fd)?;
        let socket = SockRef::from(&handle);
        socket.set_recv_buffer_size(RECEIVE_BUFFER)?;
        socket.set_send_buffer_size(SEND_BUFFER)?;
        socket.set_tcp_user_timeout(Some(READ_LIMIT))
    }

    /// Drops the client: a reset, so that neither end keeps what the other has not taken. The
    /// library's loop over the connection ends with the next read.
    pub(super) fn drop_client(&self, fd: RawFd) {
        if let Ok(handle) = self.open(fd) {
            // Without it the end takes longer.
            let _ = SockRef::from(&handle).set_linger(Some(Duration::ZERO));
        }
        shut(fd, Shutdown::Both);
    }

    /// Writes the last bytes of a connection. The library can write nothing behind them; its
    /// loop ends when it tries. A client that has no room for them does not read: it is
    /// dropped.
    pub(super) fn finish(&self, fd: RawFd, bytes: &[u8]) {
        let flags = MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_NOSIGNAL;
        if send(fd, bytes, flags) == Ok(bytes.len()) {
            shut(fd, Shutdown::Write);
        } else {
            self.drop_client(fd);
        }
    }

    /// Whether there are bytes that the library has not read.
    pub(super) fn has_more(&self, fd: RawFd) -> bool {
        let unread = self.open(fd).and_then(|handle| Ok(rustix::io::ioctl_fionread(&handle)?));
        unread.is_ok_and(|count| count > 0)
    }

    /// Whether it is the connection of a health check.
    pub(super) fn is_check(&self, fd: RawFd) -> bool {
        let address = self.open(fd).and_then(|handle| SockRef::from(&handle).local_addr());
        address.ok().and_then(|address| address.as_socket()).is_some_and(healthcheck::is_check)
    }

    /// Whether the kernel has room for answers: a third of its buffer.
    pub(super) fn has_room(&self, fd: RawFd) -> io::Result<bool> {
        let handle = self.open(fd)?;
        let room = PollFd::new(handle.as_fd(), PollFlags::POLLOUT);
        Ok(poll(&mut [room], PollTimeout::ZERO)? > 0)
    }
}

/// Ends its input: what is still to be written gets out.
pub(super) fn end_input(fd: RawFd) {
    shut(fd, Shutdown::Read);
}

fn shut(fd: RawFd, direction: Shutdown) {
    // Fails if the peer is gone already, which is as good.
    let _ = shutdown(fd, direction);
}
