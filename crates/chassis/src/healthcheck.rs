//! The `healthcheck` subcommand: a scratch image has no curl.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use ureq::Agent;
use ureq::config::Config;
use ureq::http::Uri;
use ureq::unversioned::resolver::{ResolvedSocketAddrs, Resolver};
use ureq::unversioned::transport::{NextTimeout, TcpConnector};

/// ECS gives a container health check two seconds at the least; answer before it gives up.
const TIMEOUT: Duration = Duration::from_millis(1500);

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
    let agent = Agent::with_parts(config, TcpConnector::default(), Known(address));
    match agent.get(&url).call() {
        Ok(response) if response.status() == 200 => Ok(format!("healthy: {url} answers 200")),
        Ok(response) => Err(format!("unhealthy: {url} answers {}", response.status())),
        Err(error) => Err(format!("unhealthy: {url}: {error}")),
    }
}

/// An address that needs no look-up: ureq's own resolver would start a thread for it, and
/// bring the C library's into binaries that look nothing else up.
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
