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
    loop {
        let Ok((stream, _)) = listener.accept().await else {
            smol::Timer::after(REST).await;
            continue;
        };
        // Yields, because the accept queue may never be empty.
        smol::future::yield_now().await;
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
