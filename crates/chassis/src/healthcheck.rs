//! The `healthcheck` subcommand: a scratch image has no curl.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use ureq::Agent;
use ureq::config::Config;
use ureq::http::Uri;
use ureq::unversioned::resolver::{ResolvedSocketAddrs, Resolver};
use ureq::unversioned::transport::{NextTimeout, TcpConnector};

/// ECS gives a container health check two seconds at the least; answer before it gives up.
const TIMEOUT: Duration = Duration::from_millis(1500);

/// Where it asks: another address of this machine's loopback (Linux has all of 127.0.0.0/8) than
/// the sidecar or anybody else uses, and that nobody outside can reach. It asks from 127.0.0.1, so
/// where nobody listens it cannot connect to itself, which would keep the port for a minute.
const OWN_ADDRESS: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 2);
/// Where other systems have no such address.
const ADDRESS: Ipv4Addr = if cfg!(target_os = "linux") { OWN_ADDRESS } else { Ipv4Addr::LOCALHOST };

/// Whether a connection that was accepted on this address is a health check's: a service
/// that is full has room for it.
#[must_use]
pub fn is_check(address: SocketAddr) -> bool {
    address.ip() == IpAddr::V4(OWN_ADDRESS)
}

/// Asks the service on `port` of this machine for its health. Either way one line that
/// says what came back.
pub(crate) fn check(port: u16) -> Result<String, String> {
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    let url = format!("http://{address}/health");
    let config = Agent::config_builder()
        .proxy(None) // never by way of HTTP_PROXY
        .timeout_global(Some(TIMEOUT))
        .max_redirects(0)
        .http_status_as_error(false)
        .build();
    let known = Known(SocketAddr::from((ADDRESS, port)));
    let agent = Agent::with_parts(config, TcpConnector::default(), known);
    match agent.get(&url).call() {
        Ok(response) if response.status() == 200 => Ok(format!("healthy: {url} answers 200")),
        Ok(response) => Err(format!("unhealthy: {url} answers {}", response.status())),
        Err(error) => Err(format!("unhealthy: {url}: {error}")),
    }
}

/// An address that needs no look-up: ureq's own resolver would start a thread for it, and bring the
/// C library's into binaries that look nothing else up.
#[derive(Debug)]
struct Known(SocketAddr);

impl Resolver for Known {
    fn resolve(
        &self,
        _: &Uri,
        _: &Config,
        _: NextTimeout,
    ) -> Result<ResolvedSocketAddrs, ureq::Error> {
        let mut addresses = self.empty();
        addresses.push(self.0);
        Ok(addresses)
    }
}
