//! Sends commands to a running mesh.

use std::collections::BTreeMap;
use std::fmt::Display;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::{Duration, Instant};

use serde_json::Value;
use smol::Async;
use smol::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};

use super::request::{HEARTBEAT, Request};
use super::sockets::Sockets;
use crate::output::complain;
use crate::within::within;

/// A mesh that sends no heartbeat for this long is suspended.
const SILENCE: Duration = HEARTBEAT.saturating_mul(4);
/// After this long, the user is told that the mesh is still busy.
const LONG: Duration = Duration::from_secs(5);

/// Sends a command to the mesh on this port, or to the only one, and returns its answer.
///
/// # Errors
///
/// It is not clear which mesh is meant, it does not answer, or it refuses the command: one line with
/// the remedy.
pub(crate) fn send(port: Option<u16>, request: &Request) -> Result<String, String> {
    smol::block_on(async {
        let sockets = Sockets::open().map_err(|error| error.to_string())?;
        let port = which(&sockets, port).await?;
        let failed = |error: &dyn Display| format!("the mesh on port {port} {error}");
        let answer = exchange(&sockets.of(port), request).await;
        answer.map_err(|error| match error.kind() {
            // The last two: the backlog is full of clients that got no answer.
            io::ErrorKind::TimedOut | io::ErrorKind::WouldBlock | io::ErrorKind::NotConnected => {
                failed(&SUSPENDED)
            }
            io::ErrorKind::UnexpectedEof => failed(&"has ended, or has too many clients"),
            _ => failed(&format!("cannot be reached: {error}")),
        })?
    })
}

const SUSPENDED: &str = "does not answer: if Ctrl-Z has suspended it, fg resumes it";

/// A mesh, as another terminal sees it.
pub(crate) struct Look {
    /// The address of its load balancer.
    pub(crate) front: SocketAddr,
    /// How many requests each task of each service has answered, the edge first, where a program of
    /// the user's may not say so in its answers.
    pub(crate) answered: Option<Vec<BTreeMap<String, u64>>>,
}

/// Looks at the mesh on this port, or at the only one.
///
/// # Errors
///
/// It is not clear which mesh is meant, or it does not answer.
pub(crate) fn look(port: Option<u16>) -> Result<Look, String> {
    let port = smol::block_on(async {
        let sockets = Sockets::open().map_err(|error| error.to_string())?;
        which(&sockets, port).await
    })?;
    let status = status(port)?;
    let of_tasks = |service: &Value| {
        let answered = |t: &Value| Some((t["name"].as_str()?.to_owned(), t["answered"].as_u64()?));
        list(&service["tasks"]).filter_map(answered).collect()
    };
    let services = || list(&status["services"]);
    let has_commands = services().any(|service| service["command"].is_string());
    let mut answered: Vec<BTreeMap<_, _>> = services().map(of_tasks).collect();
    // The edge is the last of the services.
    answered.rotate_right(1);
    // Where connections are balanced nobody counts requests.
    let are_counted = answered.iter().any(|its| !its.is_empty());
    let answered = (has_commands && are_counted).then_some(answered);
    Ok(Look { front: (Ipv4Addr::LOCALHOST, port).into(), answered })
}

/// What the mesh on this port says of itself.
///
/// # Errors
///
/// It does not answer.
pub(crate) fn status(port: u16) -> Result<Value, String> {
    let status = send(Some(port), &Request::Status { json: true })?;
    serde_json::from_str(&status).map_err(|error| format!("the mesh on port {port}: {error}"))
}

/// The values of a list.
pub(crate) fn list(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
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

/// Sends a command, and reads the answer after the heartbeats. Warns once if it takes long.
async fn exchange(socket: &Path, request: &Request) -> io::Result<Result<String, String>> {
    let mut stream = in_time(Async::<UnixStream>::connect(socket)).await?;
    let mut line = serde_json::to_string(request)?;
    line.push('\n');
    in_time(stream.write_all(line.as_bytes())).await?;
    let mut lines = BufReader::new(stream);
    let (sent, mut has_warned) = (Instant::now(), false);
    loop {
        let mut line = Vec::new();
        let mut so_far = 0;
        let length = loop {
            match within(SILENCE, lines.read_until(b'\n', &mut line)).await {
                Some(read) => break read?,
                // A part of a long one.
                None if line.len() > so_far => so_far = line.len(),
                None => return Err(io::ErrorKind::TimedOut.into()),
            }
        };
        match length {
            0 => return Err(io::ErrorKind::UnexpectedEof.into()),
            _ if line != b"\n" => return Ok(serde_json::from_slice(&line)?),
            _ if !has_warned && sent.elapsed() >= LONG => {
                complain("the mesh is still busy with it; Ctrl-C ends only this command");
                has_warned = true;
            }
            _ => {}
        }
    }
}

async fn in_time<T>(work: impl Future<Output = io::Result<T>>) -> io::Result<T> {
    within(SILENCE, work).await.unwrap_or_else(|| Err(io::ErrorKind::TimedOut.into()))
}
