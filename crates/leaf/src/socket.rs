//! The socket of a connection, which the library names by its number.

use std::io;
use std::mem::MaybeUninit;
use std::net::Shutdown;
use std::os::fd::{AsRawFd, BorrowedFd, RawFd};
use std::time::Duration;

use chassis::healthcheck;
use nix::libc;
use socket2::SockRef;

/// Bytes of answers that the kernel keeps for a client, as many as Linux allows everybody
/// (`net.core.wmem_max`); it doubles them for its own part. What is given in one go fits.
const SEND_BUFFER: usize = 208 * 1024;

/// Bytes of requests that the kernel keeps, doubled too. A small buffer slows down a head without an
/// end, which the library reads as fast as it comes. With less, a body of 64 KiB takes 0.2 s longer
/// over loopback.
const RECEIVE_BUFFER: usize = 24 * 1024;

/// A client that takes nothing for so long is dropped by the kernel.
const READ_LIMIT: Duration = Duration::from_secs(10);

/// The socket of a connection, as long as its [`Connection`](crate::connection::Connection) lives.
#[derive(Clone, Copy)]
pub(crate) struct Socket(BorrowedFd<'static>);

impl Socket {
    /// `id` is what the library calls a connection: its file descriptor.
    #[allow(unsafe_code)]
    pub(crate) fn of(id: usize) -> Self {
        // The library casts it from a RawFd, which is never negative.
        let fd = RawFd::try_from(id).expect("a file descriptor");
        // SAFETY: the library has just accepted this socket, and closes it after it has dropped the
        // service: `each_connection_loop` (http_server.rs of 0.1.11, hence the `=` in Cargo.toml)
        // owns the service and borrows the stream. Connection's drop takes the number from the
        // watch, which uses it only under its lock.
        Self(unsafe { BorrowedFd::borrow_raw(fd) })
    }

    fn get(&self) -> SockRef<'_> {
        SockRef::from(&self.0)
    }

    /// Bounds what the kernel keeps for the connection, and for how long.
    pub(crate) fn bound(self) -> io::Result<()> {
        let socket = self.get();
        socket.set_recv_buffer_size(RECEIVE_BUFFER)?;
        socket.set_send_buffer_size(SEND_BUFFER)?;
        net::set_user_timeout(&socket, READ_LIMIT)
    }

    /// Whether it is the connection of a health check.
    pub(crate) fn is_check(self) -> bool {
        let address = self.get().local_addr().ok().and_then(|address| address.as_socket());
        address.is_some_and(healthcheck::is_check)
    }

    /// Ends the input: the library closes the connection once it has read what came before, and has
    /// written what the kernel has room for. It fails if the client has gone, which is as good.
    pub(crate) fn end_input(self) {
        let _ = self.get().shutdown(Shutdown::Read);
    }

    /// Drops the client: a reset, so that neither end keeps what the other has not taken.
    pub(crate) fn drop_client(self) {
        let socket = self.get();
        // If it fails, the end takes longer.
        let _ = socket.set_linger(Some(Duration::ZERO));
        let _ = socket.shutdown(Shutdown::Both);
    }

    /// Whether there are bytes that the library has not read.
    pub(crate) fn has_more(self) -> bool {
        self.get().peek(&mut [MaybeUninit::uninit()]).is_ok_and(|count| count > 0)
    }

    /// Bytes of answers that the client's kernel has taken, ever: `tcpi_bytes_acked` of tcp(7).
    /// An emulator of another machine does not tell.
    #[allow(unsafe_code)] // neither nix nor socket2 has this option
    pub(crate) fn taken(self) -> Option<u64> {
        /// Words of `struct tcp_info` up to this one.
        const WORDS: usize = 16;
        let mut words = [0_u64; WORDS];
        let size = libc::socklen_t::try_from(size_of_val(&words)).ok()?;
        let mut length = size;
        // Elsewhere there is no such option, and the kernel refuses it.
        let option = cfg_select! { target_os = "linux" => libc::TCP_INFO, _ => -1 };
        let (fd, level) = (self.0.as_raw_fd(), libc::IPPROTO_TCP);
        let start = words.as_mut_ptr().cast();
        // SAFETY: the kernel writes `length` bytes at most, and says how many.
        let told = unsafe { libc::getsockopt(fd, level, option, start, &raw mut length) };
        (told == 0 && length == size).then(|| words[WORDS - 1])
    }
}
