//! The server of the control socket.

use std::fs;
use std::io;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use smol::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use smol::{Async, Timer, future};

use super::execute::execute;
use super::request::HEARTBEAT;
use super::sockets::Sockets;
use crate::orchestrator::Orchestrator;
use crate::within::within;

/// The longest line that is read, in bytes.
const MAX_LINE: u64 = 4 * 1024;
/// How long a client may take to send its command, and to read the answer.
const PATIENCE: Duration = Duration::from_secs(5);
/// Clients at a time; any more are turned away.
const MAX_CLIENTS: usize = 32;
/// Pause after a failed accept: mostly the process is out of file descriptors.
const REST: Duration = Duration::from_millis(50);

/// The socket, removed when this is dropped.
pub(crate) struct Server {
    path: PathBuf,
    listener: Async<UnixListener>,
}

impl Server {
    /// Binds the socket of the mesh on this port.
    ///
    /// # Errors
    ///
    /// Its folder cannot be used: the message says what to do.
    pub(crate) async fn bind(port: u16) -> io::Result<Self> {
        let sockets = Sockets::open()?;
        let listener = sockets.bind(port).await?;
        Ok(Self { path: sockets.of(port), listener })
    }

    /// Executes the clients' commands, until dropped. A command that has begun is finished even if
    /// its client disconnects.
    pub(crate) async fn serve<T>(&self, mesh: &Arc<Orchestrator>) -> T {
        let clients = Arc::new(());
        loop {
            let Ok((stream, _)) = self.listener.accept().await else {
                Timer::after(REST).await;
                continue;
            };
            let (mesh, client) = (mesh.clone(), clients.clone());
            if Arc::strong_count(&clients) <= 1 + MAX_CLIENTS {
                smol::spawn(async move {
                    // Fails if the client disconnects.
                    let _ = handle(&stream, &mesh).await;
                    drop(client);
                })
                .detach();
            }
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.path);
    }
}

async fn handle(mut stream: &Async<UnixStream>, mesh: &Arc<Orchestrator>) -> io::Result<()> {
    let mut line = String::new();
    let mut lines = BufReader::new(stream.take(MAX_LINE));
    let answer = match in_time(lines.read_line(&mut line)).await {
        Ok(_) => match serde_json::from_str(&line) {
            Ok(request) => {
                // Skips a client that has disconnected while this mesh was suspended.
                in_time(stream.write_all(b"\n")).await?;
                future::or(execute(mesh, request), send_heartbeats(stream)).await
            }
            Err(error) => Err(format!("not understood: {error}")),
        },
        Err(error) => Err(format!("not understood: {error}")),
    };
    // Traces are long: it takes a while.
    let line = smol::unblock(move || serde_json::to_string(&answer));
    let mut line = future::or(line, send_heartbeats(stream)).await?;
    line.push('\n');
    in_time(stream.write_all(line.as_bytes())).await
}

/// Sends heartbeats to the client, forever.
async fn send_heartbeats<T>(mut stream: &Async<UnixStream>) -> T {
    loop {
        Timer::after(HEARTBEAT).await;
        // Fails if the client has disconnected.
        let _ = in_time(stream.write_all(b"\n")).await;
    }
}

async fn in_time<T>(work: impl Future<Output = io::Result<T>>) -> io::Result<T> {
    within(PATIENCE, work).await.unwrap_or_else(|| Err(io::ErrorKind::TimedOut.into()))
}
