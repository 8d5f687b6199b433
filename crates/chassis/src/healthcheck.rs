//! The `healthcheck` subcommand: a scratch image has no curl.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use ureq::Agent;
use ureq::config::Config;
use ureq::http::Uri;
use ureq::unversioned::resolver::{ResolvedSocketAddrs, Resolver};
use ureq::unversioned::transport::{NextTimeout, TcpConnector};

/// ECS gives a container health check at least two seconds; answer before it gives up.
const TIMEOUT: Duration = Duration::from_millis(1500);

/// Where it asks: a loopback address (Linux has all of 127.0.0.0/8) that nothing else uses, and that
/// cannot be reached from outside. It asks from 127.0.0.1, so where nobody listens it cannot connect
/// to itself, which would keep the port for a minute.
const OWN_ADDRESS: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 2);
/// Where other systems have no such address.
const ADDRESS: Ipv4Addr = if cfg!(target_os = "linux") { OWN_ADDRESS } else { Ipv4Addr::LOCALHOST };

/// Whether a connection that was accepted on this address is a health check's: a service at its limit
/// still serves it.
#[must_use]
pub fn is_check(address: SocketAddr) -> bool {
    address.ip().to_canonical() == IpAddr::V4(OWN_ADDRESS)
}

/// Checks the health of the service on `port` of this machine. Returns one line, healthy or not.
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

/// An address that needs no look-up: ureq's own resolver would start a thread, and link the C
/// library's resolver into binaries that otherwise do not need it.
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
