//! A mock server.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::thread;

use crate::wait::PATIENCE;

/// A listening socket with a thread for each of its connections. It stays until the test's
/// process ends.
#[derive(Clone, Debug)]
pub struct Peer {
    address: SocketAddr,
    connections: Arc<AtomicUsize>,
}

impl Peer {
    /// Hands each connection, with its number from 0, to `serve`.
    #[must_use]
    pub fn start(serve: impl Fn(usize, TcpStream) + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("bound");
        let connections = Arc::new(AtomicUsize::new(0));
        let (serve, count) = (Arc::new(serve), connections.clone());
        thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                stream.set_read_timeout(Some(PATIENCE)).expect("a time-out above zero");
                let (serve, number) = (serve.clone(), count.fetch_add(1, SeqCst));
                thread::spawn(move || serve(number, stream));
            }
        });
        Self { address, connections }
    }

    /// Answers every request with these bytes, on connections that stay open.
    #[must_use]
    pub fn answering(answer: impl Into<Vec<u8>>) -> Self {
        let answer = answer.into();
        Self::start(move |_, mut stream| {
            while read_request(&mut stream).is_some() && stream.write_all(&answer).is_ok() {}
        })
    }

    /// Answers every request with 200 and this line.
    #[must_use]
    pub fn saying(line: &str) -> Self {
        Self::answering(ok(line))
    }

    /// Its address.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Its URL.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// How many connections it has accepted.
    #[must_use]
    pub fn connections(&self) -> usize {
        self.connections.load(SeqCst)
    }
}

/// An answer with a length.
#[must_use]
pub fn ok(body: &str) -> Vec<u8> {
    format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}", body.len()).into()
}

/// Closes a connection with a reset instead of a FIN.
pub fn reset(stream: TcpStream) {
    use nix::libc::linger;
    use nix::sys::socket::{setsockopt, sockopt::Linger};
    let at_once = linger { l_onoff: 1, l_linger: 0 };
    setsockopt(&stream, Linger, &at_once).expect("a TCP socket");
}

/// A request without a body; `None` at the end of the connection.
#[must_use]
pub fn read_request(stream: &mut TcpStream) -> Option<String> {
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") {
        match stream.read(&mut byte) {
            Ok(1) => head.push(byte[0]),
            _ => return None,
        }
    }
    String::from_utf8(head).ok()
}
