//! greeter's settings, from the environment.

use std::fmt::Write as _;

use application::{LEAVES, Service};
use chassis::settings::{Env, Invalid, all, host, number, required};
use http::Uri;
use http1::{Next, Requests};

use crate::limits::{self, Limits};
use crate::request_info::RequestInfo;
use crate::upstream;

/// The settings of one greeter.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The host name in its answers.
    pub host: String,
    /// The leaves it asks, in the order of its greeting.
    pub leaves: Vec<Leaf>,
    /// Concurrent client connections; more are rejected with 503.
    pub max_connections: usize,
    /// How long it waits for clients.
    pub limits: Limits,
}

/// A leaf, and where it is.
#[derive(Clone, Debug)]
pub struct Leaf {
    /// What the service is called.
    pub name: &'static str,
    /// `http://host[:port][/path]`.
    pub url: Uri,
}

/// The lines about them in `--help`.
pub(crate) fn usage() -> String {
    let mut usage = String::new();
    for Service { name, variable, .. } in LEAVES {
        // Writing to a String does not fail.
        let _ = writeln!(usage, "  {variable:<15}  URL of the {name} service: {URL}");
    }
    let connections = limits::DEFAULT_CONNECTIONS;
    usage
        + &format!("  MAX_CONNECTIONS  concurrent client connections; more get 503 ({connections})")
}

/// What a leaf's URL looks like.
const URL: &str = "http://host[:port][/path]";

impl Settings {
    /// Reads them. The URL of every leaf is required.
    ///
    /// # Errors
    ///
    /// A setting is invalid. For URLs of leaves, the error names all that are.
    pub fn read(env: Env) -> Result<Self, Invalid> {
        Ok(Self {
            host: host(env)?,
            leaves: all(LEAVES.iter().map(|service| leaf(env, service)))?,
            max_connections: number(
                env,
                "MAX_CONNECTIONS",
                limits::DEFAULT_CONNECTIONS,
                1..=limits::MAX_CONNECTIONS,
            )?,
            limits: Limits::default(),
        })
    }
}

fn leaf(env: Env, service: &Service) -> Result<Leaf, Invalid> {
    let Service { name, variable, .. } = *service;
    let example = service.url();
    let value = required(env, variable, &example)?;
    let plain = |uri: &Uri| {
        uri.scheme_str() == Some("http")
            && uri.authority().is_some_and(|authority| {
                let port = authority.port_u16();
                // port_u16() is None for `host:x` and for `host:`.
                !authority.host().is_empty()
                    && (authority.as_str() == authority.host() || port.is_some_and(|p| p > 0))
            })
            // No user, query or fragment; the parser drops a fragment without a word.
            && !value.contains(['@', '?', '#'])
    };
    let url = value.parse().ok().filter(plain).filter(is_one_we_would_take).ok_or_else(|| {
        let remedy = format!("is not {URL}: set it, for example to {example}");
        Invalid::new(variable, &value, &remedy)
    })?;
    Ok(Leaf { name, url })
}

/// Whether greeter itself would accept a request to this URL. What it refuses, a leaf may refuse too,
/// or parse differently.
fn is_one_we_would_take(url: &Uri) -> bool {
    let mut requests = Requests::<RequestInfo>::default();
    let request = upstream::head(url) + "\r\n";
    matches!(requests.advance(request.as_bytes()), Ok((_, Next::Head)))
}

#[cfg(test)]
mod tests {
    use std::ffi::OsString;
    use std::sync::LazyLock;

    use super::*;

    /// Settings with this URL for one leaf, and good ones for the others.
    fn with_name_url(value: &'static str) -> Result<Settings, Invalid> {
        Settings::read(&|variable| match variable {
            "NAME_URL" => Some(OsString::from(value)),
            "HOSTNAME" => Some(OsString::from("greeter-1")),
            _ if variable.ends_with("_URL") => Some(OsString::from("http://other-service")),
            _ => None,
        })
    }

    #[test]
    fn plain_http_urls_are_taken() {
        for good in [
            "http://name-service:3000",
            "http://name-service",
            "http://127.0.0.1:3000/",
            "http://[::1]:3000/some/path",
            "HTTP://name-service.test:80/a",
        ] {
            assert!(with_name_url(good).is_ok(), "{good}");
        }
    }

    #[test]
    fn every_url_that_is_missing_is_named() {
        let error = Settings::read(&|_| None).unwrap_err().to_string();
        let named: Vec<_> = error.split("; ").map(|part| part.split(' ').next().unwrap()).collect();
        let variables: Vec<_> = LEAVES.iter().map(|service| service.variable).collect();
        assert_eq!(named, variables);
    }

    #[test]
    fn any_other_url_is_refused_with_variable_value_and_remedy() {
        static LONG: LazyLock<String> =
            LazyLock::new(|| format!("http://host/{}", "a".repeat(http1::limits::REQUEST_LINE)));
        for bad in [
            "https://name-service:3000",
            "name-service:3000",
            "name-service",
            "http://",
            "http:///path",
            "http://:3000",
            "http://host:",
            "http://host:0",
            "http://host:65536",
            "http://host:port",
            "http://user:password@host",
            "http://host/?query",
            "http://host/#fragment",
            "http://ho st/",
            "http://a%zz/",
            "http://[::1/",
            "http://[1::2::3]/",
            "http://host/a\\b",
            "http://host/caf\u{e9}",
            LONG.as_str(),
            "ftp://host",
            "/path",
        ] {
            assert_eq!(
                with_name_url(bad).unwrap_err().to_string(),
                format!(
                    "NAME_URL={bad:?} is not http://host[:port][/path]: \
                     set it, for example to http://name-service:3000"
                )
            );
        }
    }
}
