//! From exec to the first answer.

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Instant;

use harness::{Client, PATIENCE};

use crate::services::free_address;

/// The leaf whose start and load are measured.
pub(crate) const LEAF: &str = "name";

/// How long its start took, in milliseconds.
pub(crate) fn cold_start(folder: &Path) -> f64 {
    let address = free_address();
    let mut command = Command::new(folder.join(LEAF));
    command.env("PORT", address.port().to_string());
    // No harness::Process, which starts a thread to read the output: that is time as well.
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let start = Instant::now();
    let mut child = command.spawn().expect("an executable");
    let client = loop {
        let client = Client::try_connect(address);
        if client.is_some() || start.elapsed() > PATIENCE {
            break client;
        }
    };
    let answer = client.map(|mut client| {
        client.send(format!("GET / HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n"));
        client.answer()
    });
    let time = start.elapsed();
    child.kill().and_then(|()| child.wait()).expect("our child");
    let answer = answer.unwrap_or_default();
    assert!(answer.starts_with("HTTP/1.1 200 "), "{LEAF} answered {answer:?}");
    time.as_secs_f64() * 1e3
}
