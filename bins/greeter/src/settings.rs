//! What greeter is told by its environment.

use chassis::settings::{Env, Invalid, host, number, required};
use http::Uri;

use crate::limits::{self, Limits};

/// The settings of one greeter.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The host its answers come from.
    pub host: String,
    /// Where greetings come from.
    pub greeting: Uri,
    /// Where names come from.
    pub name: Uri,
    /// Client connections at a time; more are turned away with 503.
    pub max_connections: usize,
    /// How long it waits for clients.
    pub limits: Limits,
}

pub(crate) const USAGE: &str = concat!(
    "  GREETING_URL     where greetings come from: http://host[:port][/path]\n",
    "  NAME_URL         where names come from: http://host[:port][/path]\n",
    "  MAX_CONNECTIONS  client connections at a time; more get 503 (",
    limits::connections!(),
    ")",
);

impl Settings {
    /// Reads them; `GREETING_URL` and `NAME_URL` must be there.
    pub fn read(env: Env) -> Result<Self, Invalid> {
        Ok(Self {
            host: host(env)?,
            greeting: url(env, "GREETING_URL", "http://greeting-service:3000")?,
            name: url(env, "NAME_URL", "http://name-service:3000")?,
            max_connections: number(
                env,
                "MAX_CONNECTIONS",
                limits::CONNECTIONS,
                1..=limits::MOST_CONNECTIONS,
            )?,
            limits: Limits::default(),
        })
    }
}

fn url(env: Env, variable: &str, example: &str) -> Result<Uri, Invalid> {
    let value = required(env, variable, example)?;
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
    value.parse().ok().filter(plain).ok_or_else(|| {
        let remedy = format!("is not http://host[:port][/path]: set it, for example to {example}");
        Invalid::new(variable, &value, &remedy)
    })
}

#[cfg(test)]
mod tests {
    use std::ffi::OsString;

    use super::*;

    fn with_name_url(value: &'static str) -> Result<Settings, Invalid> {
        Settings::read(&|variable| match variable {
            "GREETING_URL" => Some(OsString::from("http://greeting-service:3000")),
            "NAME_URL" => Some(OsString::from(value)),
            "HOSTNAME" => Some(OsString::from("greeter-1")),
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
    fn any_other_url_is_refused_with_variable_value_and_remedy() {
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
