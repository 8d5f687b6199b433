//! A TCP socket that parks a coroutine while it waits, and never blocks the worker.

use std::io::{self, ErrorKind, IoSlice, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};
use std::time::{Duration, Instant};

use crate::runtime::CoopBudget;
use may::io::{CoIo, WaitIo};
use nix::errno::Errno;
use socket2::{Domain, Protocol, SockRef, Type};

use crate::deadline::{Deadline, Deadlines};

/// A socket with a deadline. Use it inside a coroutine only.
#[derive(Debug)]
pub struct Socket {
    io: CoIo<Arc<TcpStream>>,
    /// Must be closed after `io` is dropped, which removes the descriptor from epoll. If it were
    /// closed first, another thread could accept a connection with the same descriptor in between,
    /// and that one would be removed from epoll.
    stream: Arc<TcpStream>,
    deadline: Deadline,
    /// Counts the reads and writes since the last wait.
    budget: CoopBudget,
    /// The last read emptied the socket: the next one waits before it reads.
    exhausted: AtomicBool,
    /// An event reported that the peer has closed. No other event may follow, so reads must not wait
    /// for one.
    peer_ended: AtomicBool,
    /// How many unread bytes arrived before the deadline, counted when a read first finds that it has
    /// passed; [`NOT_COUNTED`] until then.
    in_time: AtomicUsize,
}

const NOT_COUNTED: usize = usize::MAX;

/// The events of a peer that has closed, or shut down for writing. They are Linux's; on other systems
/// no socket counts as exhausted, and every read is tried at once.
#[cfg(target_os = "linux")]
const END: usize =
    (nix::libc::EPOLLRDHUP | nix::libc::EPOLLHUP | nix::libc::EPOLLERR).cast_unsigned() as usize;
#[cfg(not(target_os = "linux"))]
const END: usize = 0;

/// Whether the error means that the peer's kernel does not answer any more. A slow service never
/// causes it.
#[must_use]
pub fn is_gone(error: &io::Error) -> bool {
    error.raw_os_error() == Some(Errno::ETIMEDOUT as i32)
}

/// On Linux, lets the kernel drop a peer that takes nothing, or does not answer, for `limit`:
/// `TCP_USER_TIMEOUT` of tcp(7). Elsewhere it does nothing.
///
/// # Errors
///
/// The system call that failed.
#[cfg_attr(not(target_os = "linux"), expect(unused_variables))]
pub fn set_user_timeout(socket: &socket2::Socket, limit: Duration) -> io::Result<()> {
    #[cfg(target_os = "linux")]
    socket.set_tcp_user_timeout(Some(limit))?;
    Ok(())
}

impl Socket {
    /// Takes over a connected stream, which must not block.
    ///
    /// # Errors
    ///
    /// The system call that failed.
    pub fn new(stream: TcpStream, deadlines: &Deadlines) -> io::Result<Self> {
        // Fails if the peer has closed already; the first read reports that.
        let _ = stream.set_nodelay(true);
        let stream = Arc::new(stream);
        let io = CoIo::new(stream.clone())?;
        Ok(Self {
            deadline: deadlines.watch(&io),
            io,
            stream,
            budget: CoopBudget::default(),
            exhausted: AtomicBool::new(false),
            peer_ended: AtomicBool::new(cfg!(not(target_os = "linux"))),
            in_time: AtomicUsize::new(NOT_COUNTED),
        })
    }

    /// Begins to connect; [`Self::wait_until_connected`] waits for the result. On Linux, a peer
    /// whose kernel does not answer for `silence`, now or later, is gone: see [`is_gone`].
    ///
    /// # Errors
    ///
    /// The system call that failed at once.
    pub(crate) fn connect(
        address: SocketAddr,
        silence: Duration,
        deadlines: &Deadlines,
    ) -> io::Result<Self> {
        let family = Domain::for_address(address);
        let socket = socket2::Socket::new(family, Type::STREAM, Some(Protocol::TCP))?;
        socket.set_nonblocking(true)?;
        // The local port may be that of a service that is down and will want to listen again.
        socket.set_reuse_address(true)?;
        set_user_timeout(&socket, silence)?;
        match socket.connect(&address.into()) {
            Err(error) if error.raw_os_error() != Some(Errno::EINPROGRESS as i32) => Err(error),
            _ => Self::new(socket.into(), deadlines),
        }
    }

    /// Waits until the connection is open.
    ///
    /// # Errors
    ///
    /// `TimedOut` once the deadline has passed: the connection may still open. Any other error:
    /// it will not.
    pub(crate) fn wait_until_connected(&self) -> io::Result<()> {
        let mut passed = false;
        while !self.is_connected()? {
            if passed {
                return Err(ErrorKind::TimedOut.into());
            }
            passed = self.wait();
        }
        Ok(())
    }

    /// Whether the connection is open now. It is an error if it has failed.
    ///
    /// If nothing listens on an ephemeral port, the kernel may choose that same port as the local
    /// one, and TCP connects the socket to itself (RFC 9293, section 3.5). That counts as refused, and
    /// is reset: a socket in TIME-WAIT would keep the service from listening on its port again.
    pub(crate) fn is_connected(&self) -> io::Result<bool> {
        if let Some(error) = self.stream.take_error()? {
            return Err(error);
        }
        let Ok(peer) = self.stream.peer_addr() else {
            return Ok(false);
        };
        if self.stream.local_addr()? == peer {
            SockRef::from(&*self.stream).set_linger(Some(Duration::ZERO))?;
            return Err(Errno::ECONNREFUSED.into());
        }
        Ok(true)
    }

    /// The other end's address.
    #[cfg(test)]
    pub(crate) fn peer(&self) -> SocketAddr {
        self.stream.peer_addr().unwrap()
    }

    /// Sets the deadline: waits end `wait` from now. It replaces any earlier deadline.
    pub fn set_deadline(&self, wait: Duration) {
        self.set_deadline_at(Instant::now() + wait);
    }

    /// Sets the deadline to a point in time.
    pub fn set_deadline_at(&self, at: Instant) {
        self.deadline.set(at);
        self.in_time.store(NOT_COUNTED, Relaxed);
    }

    /// Removes the deadline: waits take as long as they take.
    pub fn clear_deadline(&self) {
        self.deadline.clear();
    }

    /// Reads, and waits if there is nothing to read. 0 is the end of input.
    ///
    /// # Errors
    ///
    /// `TimedOut` once the deadline has passed, and all has been read that had come by then: this
    /// process may have been stopped meanwhile. Any other error is that of the system call.
    pub fn read(&self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.deadline.has_passed() || (self.exhausted.load(Relaxed) && self.wait()) {
            return self.read_in_time(buffer);
        }
        let count = self.wait_for(|| (&*self.stream).read(buffer))?;
        // See epoll(7), "do I need to continuously read until EAGAIN".
        self.exhausted.store(count < buffer.len() && !self.peer_ended.load(Relaxed), Relaxed);
        Ok(count)
    }

    /// Reads what came before the deadline, and no more: a peer that never stops sending must be
    /// too late at last.
    #[cold]
    fn read_in_time(&self, buffer: &mut [u8]) -> io::Result<usize> {
        let mut left = self.in_time.load(Relaxed);
        if left == NOT_COUNTED {
            let count = rustix::io::ioctl_fionread(&self.stream)?;
            left = usize::try_from(count).unwrap_or(usize::MAX);
        }
        let count = if left > 0 {
            let room = left.min(buffer.len());
            (&*self.stream).read(&mut buffer[..room])
        } else {
            // It may also have ended.
            self.stream.peek(&mut [0])
        };
        let count = count.map_err(|error| match error.kind() {
            ErrorKind::WouldBlock => ErrorKind::TimedOut.into(),
            _ => error,
        })?;
        // A byte that is there without being counted came later.
        let left = left.checked_sub(count).ok_or(ErrorKind::TimedOut)?;
        self.in_time.store(left, Relaxed);
        self.budget.spend();
        Ok(count)
    }

    /// Writes all of `bytes`.
    ///
    /// # Errors
    ///
    /// `TimedOut` if there is no room, and the deadline has passed; otherwise the system call that
    /// failed.
    pub fn write_all(&self, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            match self.wait_for(|| (&*self.stream).write(bytes))? {
                0 => return Err(ErrorKind::WriteZero.into()),
                count => bytes = &bytes[count..],
            }
        }
        Ok(())
    }

    /// Writes all of `parts`, one behind the other, each from where it stands.
    ///
    /// # Errors
    ///
    /// Those of [`Self::write_all`].
    pub fn write_all_of(&self, mut parts: &mut [IoSlice]) -> io::Result<()> {
        IoSlice::advance_slices(&mut parts, 0); // over those at the front that are empty
        while !parts.is_empty() {
            match self.wait_for(|| (&*self.stream).write_vectored(parts))? {
                0 => return Err(ErrorKind::WriteZero.into()),
                count => IoSlice::advance_slices(&mut parts, count),
            }
        }
        Ok(())
    }

    /// Whether nothing has come since the last read: no byte, no end, no error. The kernel is
    /// asked: what came in this turn of the worker, epoll has not told yet.
    pub fn is_silent(&self) -> bool {
        let peeked = self.stream.peek(&mut [0]);
        peeked.is_err_and(|error| error.kind() == ErrorKind::WouldBlock)
    }

    /// Tells the peer that nothing more will be written.
    ///
    /// # Errors
    ///
    /// The peer is gone already.
    pub fn finish(&self) -> io::Result<()> {
        self.stream.shutdown(Shutdown::Write)
    }

    /// Closes the connection with a reset, so that the kernel forgets what the peer has not read.
    /// Otherwise it would keep these bytes for minutes, for a peer that does not read.
    pub fn reset(self) {
        // This fails if the peer is gone already; then the kernel has forgotten everything.
        let _ = SockRef::from(&*self.stream).set_linger(Some(Duration::ZERO));
    }

    fn wait_for<T>(&self, mut operation: impl FnMut() -> io::Result<T>) -> io::Result<T> {
        let mut passed = false;
        loop {
            match operation() {
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    if passed {
                        return Err(ErrorKind::TimedOut.into());
                    }
                    passed = self.wait();
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                result => {
                    // A connection that never has to wait must not keep the worker for itself.
                    self.budget.spend();
                    return result;
                }
            }
        }
    }

    /// Waits for an event; one that came since the last wait counts. It may be for the other
    /// direction: a wait to write may also hear that there is something to read.
    ///
    /// Returns whether the deadline has passed. Events may have come as well, even before it, when
    /// this process had no turn: look once more at what was waited for.
    fn wait(&self) -> bool {
        // A deadline that has passed wakes nobody a second time.
        if !self.deadline.has_passed() {
            self.note(self.io.wait_io());
            self.budget.refill();
        }
        self.deadline.has_passed()
    }

    fn note(&self, events: usize) {
        self.exhausted.store(false, Relaxed);
        if events & END != 0 {
            self.peer_ended.store(true, Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::{IpAddr, TcpListener};

    use may::go;

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
        crate::runtime::init();
        let (stream, mut peer) = pair();
        let waits = go!(move || {
            let socket = Socket::new(stream, &Deadlines::start().unwrap()).unwrap();
            assert!(socket.is_silent());
            // At once: the worker, which is here, has had no time to ask epoll.
            peer.write_all(b"a").unwrap();
            assert!(!socket.is_silent());
            assert_eq!(socket.read(&mut [0; 64]).unwrap(), 1);
            assert!(socket.is_silent());
            drop(peer);
            assert!(!socket.is_silent());
            assert!(!socket.is_silent(), "the end stays");
        });
        waits.join().unwrap();
    }

    /// A socket that has connected to itself is refused, and leaves its port to others.
    #[test]
    fn nobody_is_connected_to_himself() {
        crate::runtime::init();
        for ip in ["127.0.0.1", "::1"].map(|ip| ip.parse::<IpAddr>().unwrap()) {
            let itself =
                socket2::Socket::new(Domain::for_address((ip, 0).into()), Type::STREAM, None);
            let itself = itself.unwrap();
            if itself.bind(&SocketAddr::from((ip, 0)).into()).is_err() {
                continue; // a machine without IPv6
            }
            let address = itself.local_addr().unwrap();
            itself.connect(&address).unwrap();
            itself.set_nonblocking(true).unwrap();
            let connects = go!(move || {
                let deadlines = Deadlines::start().unwrap();
                let socket = Socket::new(itself.into(), &deadlines).unwrap();
                socket.wait_until_connected().unwrap_err().raw_os_error()
            });
            assert_eq!(connects.join().unwrap(), Some(Errno::ECONNREFUSED as i32));
            TcpListener::bind(address.as_socket().unwrap()).expect("the port is free");
        }
    }

    /// The kernel chooses the port of this end, which a service may want that comes back. Others on
    /// this machine may have the same one, so one of many has to be free.
    #[test]
    fn this_end_keeps_no_port_from_a_listener() {
        crate::runtime::init();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let connects = go!(move || {
            let deadlines = Deadlines::start().unwrap();
            (0..100).any(|_| {
                let socket = Socket::connect(address, Duration::from_secs(30), &deadlines).unwrap();
                socket.wait_until_connected().unwrap();
                TcpListener::bind(socket.stream.local_addr().unwrap()).is_ok()
            })
        });
        assert!(connects.join().unwrap(), "no port is free");
    }

    /// Input that comes while a write waits is not lost: the read after it hears of it.
    #[test]
    fn what_comes_during_a_write_is_read_after_it() {
        // More than two sockets' buffers hold.
        const LONG: usize = 16 * 1024 * 1024;
        crate::runtime::init();
        let (stream, mut peer) = pair();
        let server = go!(move || {
            let socket = Socket::new(stream, &Deadlines::start().unwrap()).unwrap();
            socket.set_deadline(Duration::from_secs(30));
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

    /// A deadline ends a read and a write that wait, and the socket can still be used.
    #[test]
    fn a_deadline_ends_a_wait_and_no_more() {
        const WAIT: Duration = Duration::from_millis(50);
        crate::runtime::init();
        let (stream, mut peer) = pair();
        let waits = go!(move || {
            let socket = Socket::new(stream, &Deadlines::start().unwrap()).unwrap();
            let start = Instant::now();
            socket.set_deadline(WAIT);
            let error = socket.read(&mut [0; 8]).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::TimedOut);
            assert!(start.elapsed() >= WAIT);

            socket.set_deadline(Duration::from_hours(1));
            socket.write_all(b"sorry").unwrap();
            let mut said = [0; 5];
            peer.read_exact(&mut said).unwrap();
            peer.write_all(&said).unwrap();
            assert_eq!(socket.read(&mut [0; 8]).unwrap(), 5);

            socket.set_deadline(WAIT);
            let block = vec![0; 65536];
            let endless = std::iter::repeat_with(|| socket.write_all(&block));
            let error = endless.take(10_000).find_map(Result::err).expect("nobody reads it");
            assert_eq!(error.kind(), ErrorKind::TimedOut);

            socket.reset();
            let mut rest = Vec::new();
            let error = peer.read_to_end(&mut rest).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::ConnectionReset);
        });
        waits.join().unwrap();
    }

    /// Input that came in time counts, even if it is read late: who asks two services has to read
    /// one answer after the other.
    #[test]
    fn what_came_before_the_deadline_is_read_after_it() {
        crate::runtime::init();
        let (stream, mut peer) = pair();
        let reads = go!(move || {
            let deadlines = Deadlines::start().unwrap();
            let socket = Socket::new(stream, &deadlines).unwrap();
            peer.write_all(b"a").unwrap();
            assert_eq!(socket.read(&mut [0; 8]).unwrap(), 1);
            socket.set_deadline(Duration::from_millis(50));
            peer.write_all(b"in time").unwrap();
            while !socket.deadline.has_passed() {
                deadlines.sleep(Duration::from_millis(1));
            }
            assert_eq!(socket.read(&mut [0; 8]).unwrap(), 7);
            peer.write_all(b"too late").unwrap();
            for _ in 0..2 {
                assert_eq!(socket.read(&mut [0; 8]).unwrap_err().kind(), ErrorKind::TimedOut);
            }
        });
        reads.join().unwrap();
    }

    /// The process may be stopped for as long as its peers have: what came in time, to be read in
    /// pieces, or made room to write, is heard of together with the deadline.
    #[test]
    fn what_came_in_time_counts_although_the_deadline_is_heard_of_too() {
        const WAIT: Duration = Duration::from_millis(50);
        crate::runtime::init();
        let (stream, mut peer) = pair();
        peer.set_nonblocking(true).unwrap();
        let stopped = go!(move || {
            let socket = Socket::new(stream, &Deadlines::start().unwrap()).unwrap();
            // The worker is here, so nothing in this process looks at the socket meanwhile.
            let stopped = || std::thread::sleep(2 * WAIT);
            let mut buffer = [0; 4];
            peer.write_all(b"a").unwrap();
            assert_eq!(socket.read(&mut buffer).unwrap(), 1);
            socket.set_deadline(WAIT);
            peer.write_all(b"in time").unwrap();
            stopped();
            assert_eq!(socket.read(&mut buffer).unwrap(), 4);
            peer.write_all(b"too late").unwrap();
            assert_eq!(socket.read(&mut buffer).unwrap(), 3);
            assert_eq!(socket.read(&mut buffer).unwrap_err().kind(), ErrorKind::TimedOut);

            socket.set_deadline(Duration::from_secs(30));
            let mut scratch = vec![0; 65536];
            while (&*socket.stream).write(&scratch).is_ok() {}
            while peer.read(&mut scratch).is_ok() {}
            socket.set_deadline(WAIT);
            stopped();
            socket.write_all(b"room again").unwrap();

            // The end comes in time too, behind the last bytes.
            while socket.read(&mut scratch).unwrap() == scratch.len() {}
            socket.set_deadline(WAIT);
            peer.write_all(b"end").unwrap();
            peer.shutdown(Shutdown::Write).unwrap();
            stopped();
            assert_eq!(socket.read(&mut scratch).unwrap(), 3);
            assert_eq!(socket.read(&mut scratch).unwrap(), 0);
        });
        stopped.join().unwrap();
    }

    /// A peer that never stops sending is too late at last, although no read has to wait.
    #[test]
    fn a_flood_has_an_end() {
        crate::runtime::init();
        let (stream, mut peer) = pair();
        let floods = std::thread::spawn(move || while peer.write_all(&[b'x'; 4096]).is_ok() {});
        let reads = go!(move || {
            let socket = Socket::new(stream, &Deadlines::start().unwrap()).unwrap();
            socket.set_deadline(Duration::from_millis(50));
            let error = loop {
                // Small reads: there is always more.
                if let Err(error) = socket.read(&mut [0; 64]) {
                    break error;
                }
            };
            assert_eq!(error.kind(), ErrorKind::TimedOut);
        });
        reads.join().unwrap();
        floods.join().unwrap();
    }

    /// The number of a dropped socket becomes free only after epoll has forgotten it. Otherwise
    /// another thread could get the number in between, and its own connection would be taken out
    /// of epoll, for ever.
    #[test]
    fn a_number_is_free_only_when_epoll_has_forgotten_it() {
        crate::runtime::init();
        let deadlines = Deadlines::start().unwrap();
        let stop = Arc::new(AtomicBool::new(false));
        let churn = {
            let (deadlines, stop) = (deadlines.clone(), stop.clone());
            go!(move || {
                while !stop.load(Relaxed) {
                    drop(Socket::new(pair().0, &deadlines).unwrap());
                    crate::runtime::yield_now();
                }
            })
        };
        // This thread takes numbers as soon as they are free.
        for _ in 0..2000 {
            let (stream, mut peer) = pair();
            let socket = Socket::new(stream, &deadlines).unwrap();
            peer.write_all(b"a").unwrap();
            let hears = go!(move || {
                socket.set_deadline(Duration::from_secs(30));
                socket.wait()
            });
            assert!(!hears.join().unwrap(), "the byte is not heard");
        }
        stop.store(true, Relaxed);
        churn.join().unwrap();
    }
}
