//! The `healthcheck` subcommand: a scratch image has no curl.

use std::time::Duration;

/// ECS gives a container health check two seconds at the least; answer before it gives up.
const TIMEOUT: Duration = Duration::from_millis(1500);

/// Asks the service on `port` of this machine for its health. Either way one line that
/// says what came back.
pub(crate) fn check(port: u16) -> Result<String, String> {
    let url = format!("http://127.0.0.1:{port}/health");
    let agent: ureq::Agent = ureq::Agent::config_builder()
        .proxy(None) // never by way of HTTP_PROXY
        .timeout_global(Some(TIMEOUT))
        .max_redirects(0)
        .http_status_as_error(false)
        .build()
        .into();
    match agent.get(&url).call() {
        Ok(response) if response.status() == 200 => Ok(format!("healthy: {url} answers 200")),
        Ok(response) => Err(format!("unhealthy: {url} answers {}", response.status())),
        Err(error) => Err(format!("unhealthy: {url}: {error}")),
    }
}
