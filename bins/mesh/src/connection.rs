//! An HTTP connection that is reused for one request after the other.

use std::error::Error;
use std::io;
use std::net::{SocketAddr, TcpStream};
use std::pin::Pin;
use std::task::{Context, Poll};

use hyper::body::Body;
use hyper::client::conn::http1::{SendRequest, handshake};
use smol::Async;
use smol::io::{AsyncRead, AsyncWrite};
use smol_hyper::rt::FuturesIo;

/// Opens one.
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
