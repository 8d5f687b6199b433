//! Reads an Envoy's statistics from its administration interface.

use std::io;
use std::net::SocketAddr;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::time::Duration;

use smol::Async;
use smol::io::{AsyncReadExt as _, AsyncWriteExt as _};

use crate::within::within;

/// How long an Envoy may take to answer.
const PATIENCE: Duration = Duration::from_secs(1);
/// The longest answer that is read, in bytes.
const MAX_ANSWER: u64 = 1024 * 1024;

/// The value of a counter, which is 0 as long as nothing was counted.
///
/// # Errors
///
/// Nobody answers at the socket, or not in time.
pub(super) async fn counter(admin: PathBuf, name: &str) -> io::Result<u64> {
    let answer = get(admin, format!("/stats?filter=^{name}$")).await?;
    let value = answer.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "));
    Ok(value.and_then(|value| value.trim().parse().ok()).unwrap_or_default())
}

/// Its version, from `"version": "COMMIT/1.40.0/Clean/RELEASE/BoringSSL"`.
///
/// # Errors
///
/// Nobody answers at the socket, or not in time, or without a version.
pub(crate) async fn version(admin: PathBuf) -> io::Result<String> {
    let answer = get(admin, "/server_info".to_owned()).await?;
    let version = answer.split(r#""version": ""#).nth(1).and_then(|rest| rest.split('/').nth(1));
    version.map(str::to_owned).ok_or_else(|| io::Error::other("no version in its answer"))
}

/// Whether an endpoint gets no requests: it is ejected, or its health check failed.
///
/// # Errors
///
/// Nobody answers at the socket, or not in time.
pub(super) async fn is_out(admin: PathBuf, endpoint: SocketAddr) -> io::Result<bool> {
    let answer = get(admin, "/clusters".to_owned()).await?;
    let flags = format!("::{endpoint}::health_flags::/failed_");
    Ok(answer.lines().any(|line| line.contains(&flags)))
}

async fn get(admin: PathBuf, path: String) -> io::Result<String> {
    let get = async {
        let mut stream = Async::<UnixStream>::connect(admin).await?;
        let request = format!("GET {path} HTTP/1.1\r\nHost: envoy\r\nConnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await?;
        let mut answer = String::new();
        stream.take(MAX_ANSWER).read_to_string(&mut answer).await?;
        Ok(answer)
    };
    within(PATIENCE, get).await.unwrap_or_else(|| Err(io::ErrorKind::TimedOut.into()))
}
