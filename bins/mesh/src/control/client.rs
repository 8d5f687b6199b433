//! Asks a mesh that runs.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{Ipv4Addr, SocketAddr};
use std::os::unix::net::UnixStream;
use std::time::Duration;

use super::ask::Ask;
use super::place;

/// How long a mesh may take: the drain of every task of a service, one after the other.
const PATIENCE: Duration = Duration::from_mins(10);

/// Asks the mesh with this port, or the only one: its words.
///
/// # Errors
///
/// It is not clear which mesh is meant, or it says no: one line that says what would be right.
pub(crate) fn ask(port: Option<u16>, ask: &Ask) -> Result<String, String> {
    let port = which(port)?;
    let words = |what: &str, error: &dyn std::fmt::Display| {
        format!("the mesh on port {port} {what}: {error}")
    };
    let path = place::socket(port).map_err(|error| error.to_string())?;
    let mut stream =
        UnixStream::connect(path).map_err(|error| words("cannot be reached", &error))?;
    let exchange = || {
        stream.set_read_timeout(Some(PATIENCE))?;
        let mut line = serde_json::to_string(ask)?;
        line.push('\n');
        stream.write_all(line.as_bytes())?;
        let mut answer = String::new();
        BufReader::new(&stream).read_line(&mut answer)?;
        Ok(serde_json::from_str::<Result<String, String>>(&answer)?)
    };
    let exchanged: std::io::Result<_> = { exchange }();
    exchanged.map_err(|error| words("did not answer", &error))?
}

/// Where the application of the mesh with this port, or of the only one, takes requests.
///
/// # Errors
///
/// It is not clear which mesh is meant.
pub(crate) fn front(port: Option<u16>) -> Result<SocketAddr, String> {
    which(port).map(|port| (Ipv4Addr::LOCALHOST, port).into())
}

/// The port of the mesh that is meant.
fn which(port: Option<u16>) -> Result<u16, String> {
    let ports = place::ports().map_err(|error| error.to_string())?;
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
