//! A client that sees every byte.

use std::io::{self, BufRead, BufReader, ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::os::fd::AsFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::thread;
use std::time::Duration;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use socket2::{Domain, Socket, Type};

use crate::wait::PATIENCE;

/// One connection.
#[derive(Debug)]
pub struct Client {
    stream: BufReader<TcpStream>,
}

impl Client {
    /// Connects.
    #[must_use]
    pub fn connect(address: SocketAddr) -> Self {
        Self::try_connect(address).expect("connects")
    }

    /// Connects, if anything listens there.
    #[must_use]
    pub fn try_connect(address: SocketAddr) -> Option<Self> {
        TcpStream::connect(address).ok().map(Self::on)
    }

    /// Connects with a receive buffer of `room` bytes.
    #[must_use]
    pub fn with_room(address: SocketAddr, room: usize) -> Self {
        let socket = Socket::new(Domain::for_address(address), Type::STREAM, None);
        let socket = socket.expect("a TCP socket");
        socket.set_recv_buffer_size(room).expect("a size");
        socket.connect(&address.into()).expect("connects");
        Self::on(socket.into())
    }

    fn on(stream: TcpStream) -> Self {
        stream.set_read_timeout(Some(PATIENCE)).expect("a time-out above zero");
        stream.set_nodelay(true).expect("a TCP socket");
        Self { stream: BufReader::new(stream) }
    }

    /// The local address.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.stream.get_ref().local_addr().expect("connected")
    }

    /// Another handle to the same connection.
    #[must_use]
    pub fn share(&self) -> TcpStream {
        self.stream.get_ref().try_clone().expect("a file is left")
    }

    /// Sends bytes as they are.
    pub fn send(&mut self, bytes: impl AsRef<[u8]>) -> &mut Self {
        self.stream.get_mut().write_all(bytes.as_ref()).expect("the peer takes it");
        self
    }

    /// Sends bytes to a peer that may have closed.
    pub fn try_send(&mut self, bytes: impl AsRef<[u8]>) -> io::Result<()> {
        self.stream.get_mut().write_all(bytes.as_ref())
    }

    /// Shuts down for writing; answers can still be read.
    pub fn finish(&mut self) -> &mut Self {
        self.stream.get_ref().shutdown(Shutdown::Write).expect("still connected");
        self
    }

    /// Reads one answer, head and body, as its `Content-Length` says. The date, once seen
    /// to be one, is replaced by `DATE`.
    #[must_use]
    pub fn answer(&mut self) -> String {
        let head = self.head();
        let body = self.body(&head);
        head + &String::from_utf8(body).expect("a UTF-8 body")
    }

    /// Reads the body after a head, as its `Content-Length` says; without one there is none.
    #[must_use]
    pub fn body(&mut self, head: &str) -> Vec<u8> {
        let mut body = vec![0; content_length(head)];
        self.stream.read_exact(&mut body).expect("the whole body");
        body
    }

    /// Reads the answer to a HEAD request, or one without a body.
    #[must_use]
    pub fn head(&mut self) -> String {
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            let mut line = String::new();
            let count = self.stream.read_line(&mut line).expect("a line of UTF-8 in time");
            assert!(count > 0, "the connection ended after {head:?}");
            head += &undated(line);
        }
        head
    }

    /// Reads available bytes, and returns how many; 0 at a FIN or a reset.
    #[must_use]
    pub fn read_some(&mut self) -> usize {
        let count = self.stream.fill_buf().map_or(0, <[u8]>::len);
        self.stream.consume(count);
        count
    }

    /// Whether there is input, or its end.
    #[must_use]
    pub fn has_input(&self) -> bool {
        let mut ready = [PollFd::new(self.stream.get_ref().as_fd(), PollFlags::POLLIN)];
        !self.stream.buffer().is_empty() || poll(&mut ready, PollTimeout::ZERO) != Ok(0)
    }

    /// Reads to the end, before which a leaf may have written empty 200s: what its library makes
    /// of requests that are behind the last one.
    #[track_caller]
    pub fn expect_nothing_but_empty_answers(&mut self) {
        while self.stream.fill_buf().is_ok_and(|rest| !rest.is_empty()) {
            let empty = "HTTP/1.1 200 Ok\r\nServer: M\r\nDate: DATE\r\nContent-Length: 0\r\n\r\n";
            assert_eq!(self.head(), empty);
        }
        self.expect_end();
    }

    /// Waits for the peer to close the connection, and panics if it sends something first, or
    /// does not close it. A reset is as much an end as a FIN.
    #[track_caller]
    pub fn expect_end(&mut self) {
        let mut rest = Vec::new();
        let outcome = self.stream.read_to_end(&mut rest);
        assert!(rest.is_empty(), "more came: {:?}", String::from_utf8_lossy(&rest));
        let is_reset = |error: &io::Error| error.kind() == ErrorKind::ConnectionReset;
        assert!(
            outcome.as_ref().err().is_none_or(is_reset),
            "the connection did not end: {outcome:?}"
        );
    }
}

/// Background requests, each on its own connection, until dropped. They prevent a quiet second, which
/// would end a drain before a test has checked it.
#[derive(Debug)]
pub struct Traffic {
    stop: Arc<AtomicBool>,
    asking: Option<thread::JoinHandle<()>>,
}

impl Traffic {
    /// Starts requesting `/`.
    #[must_use]
    pub fn start(address: SocketAddr) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = stop.clone();
        let asking = thread::spawn(move || {
            while !stopped.load(SeqCst) {
                if let Some(mut client) = Client::try_connect(address) {
                    let request = "GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
                    // The service may end meanwhile: any result is right.
                    let _ = client.try_send(request);
                    let _ = client.stream.read_to_end(&mut Vec::new());
                }
                thread::sleep(Duration::from_millis(20));
            }
        });
        Self { stop, asking: Some(asking) }
    }
}

impl Drop for Traffic {
    fn drop(&mut self) {
        self.stop.store(true, SeqCst);
        let _ = self.asking.take().map(thread::JoinHandle::join);
    }
}

/// One GET on a connection of its own: status and body.
#[must_use]
pub fn get(address: SocketAddr, path: &str) -> (u16, String) {
    let mut client = Client::connect(address);
    client.send(format!("GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n"));
    let answer = client.answer();
    let (head, body) = answer.split_once("\r\n\r\n").expect("a head");
    (head[9..12].parse().expect("a status"), body.to_owned())
}

fn content_length(head: &str) -> usize {
    let lower = head.to_ascii_lowercase();
    let value = lower
        .split("\r\ncontent-length:")
        .nth(1)
        .map_or("0", |rest| rest.split("\r\n").next().unwrap_or_default());
    value.trim_ascii().parse().expect("a Content-Length that is a number")
}

/// `Date: Sun, 06 Nov 1994 08:49:37 GMT` without what changes.
fn undated(line: String) -> String {
    let Some(date) = line.strip_prefix("Date: ") else { return line };
    assert!(date.len() == 31 && date.ends_with(" GMT\r\n"), "no date: {date:?}");
    "Date: DATE\r\n".to_owned()
}
