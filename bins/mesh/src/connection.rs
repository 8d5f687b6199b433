//! HTTP connections: one that is reused for one request after the other, and those of clients.

use std::convert::Infallible;
use std::error::Error;
use std::io;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use http_body_util::Full;
use hyper::body::{Body, Bytes, Incoming};
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response};
use smol::Async;
use smol::io::{AsyncRead, AsyncWrite};
use smol_hyper::rt::{FuturesIo, SmolTimer};

/// How many connections are accepted in a row. With one, a thousand clients that came at once waited
/// for seconds: between two accepts, every other task has its turn.
const ACCEPTS: u64 = 64;
/// Pause after a failed accept: mostly the process is out of file descriptors.
const REST: Duration = Duration::from_millis(50);
/// How long a client may take to read what is written; as long as greeter gives it.
#[cfg(target_os = "linux")]
const SEND: Duration = Duration::from_secs(10);

/// Accepts connections, and answers the requests on them, until dropped.
pub(crate) async fn serve<A>(
    listener: Async<TcpListener>,
    answer: impl Fn(Request<Incoming>) -> A + Clone + Send + 'static,
) where
    A: Future<Output = Response<Full<Bytes>>> + Send + 'static,
{
    for accepted in 1_u64.. {
        let Ok((stream, _)) = listener.accept().await else {
            smol::Timer::after(REST).await;
            continue;
        };
        // The accept queue may never be empty.
        if accepted.is_multiple_of(ACCEPTS) {
            smol::future::yield_now().await;
        }
        let _ = stream.get_ref().set_nodelay(true);
        drop_if_deaf(stream.get_ref());
        let answer = answer.clone();
        let service = service_fn(move |request| {
            let answered = answer(request);
            async move { Ok::<_, Infallible>(answered.await) }
        });
        let connection = http1::Builder::new()
            .timer(SmolTimer::new())
            .serve_connection(FuturesIo::new(stream), service);
        smol::spawn(async {
            // Fails if the client disconnects or does not speak HTTP.
            let _ = connection.await;
        })
        .detach();
    }
}

/// Lets the kernel reset the connection of a client that does not read its answers: hyper would wait
/// forever.
#[cfg_attr(not(target_os = "linux"), expect(unused_variables))]
fn drop_if_deaf(stream: &TcpStream) {
    #[cfg(target_os = "linux")]
    {
        use nix::sys::socket::{setsockopt, sockopt::TcpUserTimeout};
        let limit = u32::try_from(SEND.as_millis()).unwrap_or(u32::MAX);
        // Fails only for sockets that are not TCP.
        let _ = setsockopt(stream, TcpUserTimeout, &limit);
    }
}

/// Opens a connection.
///
/// # Errors
///
/// The connection failed.
pub(crate) async fn open<B>(address: SocketAddr) -> io::Result<SendRequest<B>>
where
    B: Body<Data: Send, Error: Into<Box<dyn Error + Send + Sync>>> + Send + 'static,
{
    let stream = Async::<TcpStream>::connect(address).await?;
    stream.get_ref().set_nodelay(true)?;
    let stream = FuturesIo::new(Fair { stream, read: 0 });
    let (sender, connection) = handshake(stream).await.map_err(io::Error::other)?;
    // Ends when the sender is dropped or the peer closes.
    smol::spawn(connection).detach();
    Ok(sender)
}

/// How many bytes are read before the task yields: a cooperative budget.
const TURN: usize = 16 * 1024;

/// A stream whose reader yields. hyper reads interim answers (1xx) as long as there are any, on the
/// thread that all tasks and timeouts share.
struct Fair {
    stream: Async<TcpStream>,
    /// Bytes read since the last yield.
    read: usize,
}

impl AsyncRead for Fair {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        if self.read == TURN {
            self.read = 0;
            context.waker().wake_by_ref();
            return Poll::Pending;
        }
        let room = buffer.len().min(TURN - self.read);
        let read = Pin::new(&mut self.stream).poll_read(context, &mut buffer[..room]);
        match read {
            Poll::Ready(Ok(length)) => self.read += length,
            // It waits now, which is a yield.
            _ => self.read = 0,
        }
        read
    }
}

impl AsyncWrite for Fair {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_close(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_close(context)
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

    use parking_lot::Mutex;

    use super::*;
    use crate::loopback;

    /// Another task, which never waits, has fewer turns meanwhile than there are clients.
    #[test]
    fn clients_that_come_at_once_are_accepted_at_once() {
        let port = loopback::port(0).unwrap();
        let address = port.address();
        let listener = Async::new(port.listen().unwrap()).unwrap();
        let mut clients: Vec<_> =
            (0..ACCEPTS).map(|_| TcpStream::connect(address).unwrap()).collect();
        for client in &mut clients {
            client.write_all(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
        }
        let turns = Arc::<AtomicU64>::default();
        let answered_at = Arc::<Mutex<Vec<u64>>>::default();
        let _counts = smol::spawn({
            let turns = turns.clone();
            async move {
                loop {
                    turns.fetch_add(1, Relaxed);
                    smol::future::yield_now().await;
                }
            }
        });
        let _serves = smol::spawn(serve(listener, {
            let answered_at = answered_at.clone();
            move |_| {
                answered_at.lock().push(turns.load(Relaxed));
                async { Response::new(Full::default()) }
            }
        }));
        for client in &mut clients {
            client.read_exact(&mut [0; 8]).unwrap();
        }
        let answered_at = answered_at.lock();
        let taken = answered_at.last().unwrap() - answered_at.first().unwrap();
        assert!(taken < ACCEPTS / 2, "{taken} turns for {ACCEPTS} clients");
    }
}
