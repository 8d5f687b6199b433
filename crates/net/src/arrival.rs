//! When bytes came in, which the kernel knows: socket(7), `SO_TIMESTAMPNS`. Linux's keeps the
//! times only from a moment after the first socket asked for them. No other system is asked.

use std::net::TcpStream;
use std::time::Instant;

/// Has the kernel keep the times of what comes in.
#[cfg(target_os = "linux")]
pub(crate) fn keep(socket: &socket2::Socket) {
    use nix::sys::socket::{setsockopt, sockopt::ReceiveTimestampns};
    // Where it refuses, it just does not tell.
    let _ = setsockopt(socket, ReceiveTimestampns, &true);
}

/// When the first byte came that is there to be read; `None` if none is, or nobody knows.
#[cfg(target_os = "linux")]
pub(crate) fn of_next(stream: &TcpStream) -> Option<Instant> {
    use std::io::IoSliceMut;
    use std::os::fd::AsRawFd;
    use std::time::{Duration, SystemTime, UNIX_EPOCH};

    use nix::sys::socket::{ControlMessageOwned, MsgFlags, recvmsg};
    use nix::sys::time::TimeSpec;

    let now = Instant::now();
    let (mut byte, mut space) = ([0], nix::cmsg_space!(TimeSpec));
    let mut room = [IoSliceMut::new(&mut byte)];
    let flags = MsgFlags::MSG_PEEK | MsgFlags::MSG_DONTWAIT;
    let message = recvmsg::<()>(stream.as_raw_fd(), &mut room, Some(&mut space), flags).ok()?;
    let time = message.cmsgs().ok()?.find_map(|part| match part {
        ControlMessageOwned::ScmTimestampns(time) => Some(UNIX_EPOCH + Duration::from(time)),
        _ => None,
    })?;
    // It is the wall clock's.
    now.checked_sub(SystemTime::now().duration_since(time).unwrap_or_default())
}

#[cfg(not(target_os = "linux"))]
pub(crate) fn keep(_: &socket2::Socket) {}

#[cfg(not(target_os = "linux"))]
pub(crate) fn of_next(_: &TcpStream) -> Option<Instant> {
    None
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use std::io::{Read, Write};
    use std::net::{SocketAddr, TcpListener};
    use std::thread::sleep;
    use std::time::Duration;

    use socket2::{Domain, Socket, Type};

    use super::*;

    #[test]
    fn bytes_come_before_they_are_read() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address: SocketAddr = listener.local_addr().unwrap();
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        keep(&socket);
        socket.connect(&address.into()).unwrap();
        let mut stream = TcpStream::from(socket);
        let (mut peer, _) = listener.accept().unwrap();
        assert_eq!(of_next(&stream), None, "nothing has come");
        // Again, until the kernel keeps the times.
        let end = Instant::now() + Duration::from_secs(30);
        let (came, before) = loop {
            peer.write_all(b"x").unwrap();
            while stream.peek(&mut [0]).unwrap() == 0 {}
            let before = Instant::now();
            sleep(Duration::from_millis(20));
            match of_next(&stream) {
                Some(came) => break (came, before),
                None => assert!(Instant::now() < end, "the kernel keeps no time"),
            }
            stream.read_exact(&mut [0]).unwrap();
        };
        assert!(came <= before, "{:?} late", came - before);
        drop(peer);
        stream.read_exact(&mut [0]).unwrap();
        assert_eq!(of_next(&stream), None, "the end is no byte");
    }
}
