//! Asks a mesh that runs.

use std::fmt::Display;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::{Duration, Instant};

use smol::Async;
use smol::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};

use super::ask::{Ask, SIGN_OF_LIFE};
use super::place::Sockets;
use crate::output::complain;
use crate::within::within;

/// A mesh that shows no sign of life for so long is suspended.
const SILENCE: Duration = SIGN_OF_LIFE.saturating_mul(4);
/// One that is at it for so long has to wait for something.
const LONG: Duration = Duration::from_secs(5);

/// Asks the mesh with this port, or the only one: its words.
///
/// # Errors
///
/// It is not clear which mesh is meant, it does not answer, or it says no: one line that says what
/// would be right.
pub(crate) fn ask(port: Option<u16>, ask: &Ask) -> Result<String, String> {
    smol::block_on(async {
        let sockets = Sockets::open().map_err(|error| error.to_string())?;
        let port = which(&sockets, port).await?;
        let failed = |error: &dyn Display| format!("the mesh on port {port} {error}");
        let answer = exchange(&sockets.of(port), ask).await;
        answer.map_err(|error| match error.kind() {
            // The last two: so many have asked in vain that the kernel keeps no more of them.
            io::ErrorKind::TimedOut | io::ErrorKind::WouldBlock | io::ErrorKind::NotConnected => {
                failed(&SUSPENDED)
            }
            io::ErrorKind::UnexpectedEof => failed(&"has ended, or has too many clients"),
            _ => failed(&format!("cannot be asked: {error}")),
        })?
    })
}

const SUSPENDED: &str = "does not answer: fg lets it go on where Ctrl-Z has suspended it";

/// Where the application of the mesh with this port, or of the only one, takes requests.
///
/// # Errors
///
/// It is not clear which mesh is meant, or it does not answer.
pub(crate) fn front(port: Option<u16>) -> Result<SocketAddr, String> {
    let port = smol::block_on(async {
        let sockets = Sockets::open().map_err(|error| error.to_string())?;
        which(&sockets, port).await
    })?;
    ask(Some(port), &Ask::Status { json: false })?;
    Ok((Ipv4Addr::LOCALHOST, port).into())
}

/// The port of the mesh that is meant.
async fn which(sockets: &Sockets, port: Option<u16>) -> Result<u16, String> {
    let ports = sockets.ports().await.map_err(|error| error.to_string())?;
    let all: Vec<_> = ports.iter().map(u16::to_string).collect();
    let all = all.join(", ");
    match (port, ports.as_slice()) {
        (_, []) => Err("no mesh runs: start one in another terminal with cargo mesh".to_owned()),
        (Some(port), ports) if ports.contains(&port) => Ok(port),
        (Some(port), _) => Err(format!("no mesh runs on port {port}: give --port one of {all}")),
        (None, [port]) => Ok(*port),
        (None, _) => Err(format!("several meshes run: give --port one of {all}")),
    }
}

/// Sends a line, and reads the answer behind the signs of life. Says once that it takes time.
async fn exchange(socket: &Path, ask: &Ask) -> io::Result<Result<String, String>> {
    let mut stream = in_time(Async::<UnixStream>::connect(socket)).await?;
    let mut line = serde_json::to_string(ask)?;
    line.push('\n');
    in_time(stream.write_all(line.as_bytes())).await?;
    let mut lines = BufReader::new(stream);
    let (asked, mut said) = (Instant::now(), false);
    loop {
        let mut line = String::new();
        match in_time(lines.read_line(&mut line)).await? {
            0 => return Err(io::ErrorKind::UnexpectedEof.into()),
            _ if line != "\n" => return Ok(serde_json::from_str(&line)?),
            _ if !said && asked.elapsed() >= LONG => {
                complain("the mesh is at it; it goes on even if Ctrl-C ends this command");
                said = true;
            }
            _ => {}
        }
    }
}

async fn in_time<T>(work: impl Future<Output = io::Result<T>>) -> io::Result<T> {
    within(SILENCE, work).await.unwrap_or_else(|| Err(io::ErrorKind::TimedOut.into()))
}
