//! A TCP socket that parks a coroutine while it waits, never the worker.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Duration;

use may::io::{CoIo, WaitIo};
use nix::errno::Errno;

use crate::deadline::{Deadlines, End, Watched};

/// A connected socket with a deadline. To be used inside a coroutine only.
#[derive(Debug)]
pub(crate) struct Socket {
    io: CoIo<Arc<Watched>>,
    deadlines: Deadlines,
    /// The last read took all there was: the next one waits before it tries.
    drained: AtomicBool,
    /// An event said that the peer is done: no other event may follow, only a read tells.
    ended: AtomicBool,
}

/// The events of a peer that wrote, and of one that is done, whole or half. Linux's; on other
/// systems no socket counts as drained, and every read is tried at once.
#[cfg(target_os = "linux")]
const INPUT: usize = nix::libc::EPOLLIN.cast_unsigned() as usize;
#[cfg(not(target_os = "linux"))]
const INPUT: usize = 0;
#[cfg(target_os = "linux")]
const END: usize =
    (nix::libc::EPOLLRDHUP | nix::libc::EPOLLHUP | nix::libc::EPOLLERR).cast_unsigned() as usize;
#[cfg(not(target_os = "linux"))]
const END: usize = 0;

impl Socket {
    pub(crate) fn new(stream: TcpStream, deadlines: &Deadlines) -> io::Result<Self> {
        // Fails if the peer is gone already, which the first read will tell.
        let _ = stream.set_nodelay(true);
        let watched = deadlines.watch(stream);
        match CoIo::new(watched.clone()) {
            Ok(io) => Ok(Self {
                io,
                deadlines: deadlines.clone(),
                drained: AtomicBool::new(false),
                ended: AtomicBool::new(cfg!(not(target_os = "linux"))),
            }),
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
            self.wait();
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
        if self.drained.load(Relaxed) {
            self.wait();
        }
        let count = self.wait_for(|| self.stream().read(buffer))?;
        // See epoll(7), "do I need to continuously read until EAGAIN".
        self.drained.store(count < buffer.len() && !self.ended.load(Relaxed), Relaxed);
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

    /// Whether nothing has come since the last read: no byte, no end, no error.
    pub(crate) fn is_silent(&self) -> bool {
        // Woken beforehand the wait is none, and says what has happened since the last one.
        self.io.waker().wakeup();
        let events = self.io.wait_io();
        if events & (INPUT | END) == 0 && !self.ended.load(Relaxed) {
            return true;
        }
        // An event may also be that of bytes which were read before it came.
        self.heard(events);
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
                Err(error) if error.kind() == ErrorKind::WouldBlock => self.wait(),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                result => return result,
            }
        }
    }

    /// Waits for an event, of those since the last wait. It may be for the other direction:
    /// whoever waited to write has also heard that there is something to read.
    fn wait(&self) {
        self.heard(self.io.wait_io());
    }

    fn heard(&self, events: usize) {
        self.drained.store(false, Relaxed);
        if events & END != 0 {
            self.ended.store(true, Relaxed);
        }
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        self.deadlines.forget(self.io.inner());
    }
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use may::{coroutine, go};

    use super::*;

    /// A stream, and its peer.
    fn pair() -> (TcpStream, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let peer = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (stream, _) = listener.accept().unwrap();
        stream.set_nonblocking(true).unwrap();
        (stream, peer)
    }

    #[test]
    fn what_comes_unasked_is_heard() {
        chassis::runtime::init().unwrap();
        let (stream, mut peer) = pair();
        let waits = go!(move || {
            let socket = Socket::new(stream, &Deadlines::start().unwrap()).unwrap();
            let is_broken = || {
                let heard = (0..10_000).any(|_| {
                    coroutine::sleep(Duration::from_millis(1));
                    !socket.is_silent()
                });
                assert!(heard, "silent for 10 s");
            };
            assert!(socket.is_silent());
            peer.write_all(b"a").unwrap();
            is_broken();
            assert_eq!(socket.read(&mut [0; 64]).unwrap(), 1);
            assert!(socket.is_silent());
            drop(peer);
            is_broken();
            assert!(!socket.is_silent(), "the end stays");
        });
        waits.join().unwrap();
    }

    /// Of one set of events, both directions hear: what comes while a write waits is not
    /// lost on the read after it.
    #[test]
    fn what_comes_during_a_write_is_read_after_it() {
        // More than two sockets' buffers hold.
        const LONG: usize = 16 * 1024 * 1024;
        chassis::runtime::init().unwrap();
        let (stream, mut peer) = pair();
        let server = go!(move || {
            let socket = Socket::new(stream, &Deadlines::start().unwrap()).unwrap();
            socket.set_deadline(Duration::from_secs(30), End::Both);
            let mut buffer = [0; 64];
            assert_eq!(socket.read(&mut buffer).unwrap(), 1);
            socket.write_all(&vec![b'x'; LONG]).unwrap();
            assert_eq!(socket.read(&mut buffer).unwrap(), 1);
            socket.write_all(&buffer[..1]).unwrap();
        });
        peer.write_all(b"a").unwrap();
        let mut long = vec![0; LONG];
        peer.read_exact(&mut long[..1]).unwrap();
        peer.write_all(b"b").unwrap();
        peer.read_exact(&mut long[1..]).unwrap();
        let mut last = [0];
        peer.read_exact(&mut last).unwrap();
        assert_eq!(last, *b"b");
        server.join().unwrap();
    }
}
