//! A connection for HTTP requests, one after the other.

use std::error::Error;
use std::io;
use std::net::{SocketAddr, TcpStream};

use hyper::body::Body;
use hyper::client::conn::http1::{SendRequest, handshake};
use smol::Async;
use smol_hyper::rt::FuturesIo;

/// Opens one.
///
/// # Errors
///
/// Nobody listens there.
pub(crate) async fn open<B>(address: SocketAddr) -> io::Result<SendRequest<B>>
where
    B: Body<Data: Send, Error: Into<Box<dyn Error + Send + Sync>>> + Send + 'static,
{
    let stream = Async::<TcpStream>::connect(address).await?;
    stream.get_ref().set_nodelay(true)?;
    let (sender, connection) = handshake(FuturesIo::new(stream)).await.map_err(io::Error::other)?;
    // Ends when the sender is dropped or the other side hangs up.
    smol::spawn(connection).detach();
    Ok(sender)
}
