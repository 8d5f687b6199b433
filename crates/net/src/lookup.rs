//! One query to the system's resolver, for the addresses of one family.
//!
//! One family at a time, because musl's getaddrinfo(3) discards a good answer for IPv4 if the query
//! for IPv6 fails.

use std::net::SocketAddr;
use std::{fmt, fs, io};

use dns_lookup::{AddrFamily, AddrInfoHints, LookupErrorKind, SockType, getaddrinfo};

use crate::hosts;

/// An address family.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Family {
    /// IPv6.
    V6,
    /// IPv4.
    V4,
}

/// Why a host's addresses were not found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NotFound {
    /// There is no such name.
    NoName,
    /// The name has no address.
    NoAddress,
    /// The name server did not answer, or not about this name.
    NoAnswer,
    /// Any other error, as the system describes it.
    Failed(String),
}

impl NotFound {
    /// Whether the name server knows that the host has no such address.
    pub(crate) fn is_certain(&self) -> bool {
        matches!(self, Self::NoName | Self::NoAddress)
    }
}

impl fmt::Display for NotFound {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NoName => "no such name",
            Self::NoAddress => "the name has no address",
            Self::NoAnswer => "the name server gives no answer",
            Self::Failed(words) => words,
        })
    }
}

/// Looks in /etc/hosts, and then asks the name servers. Blocks the thread.
pub(crate) fn look_up(host: &str, port: u16, family: Family) -> Result<Vec<SocketAddr>, NotFound> {
    let file = fs::read("/etc/hosts").unwrap_or_default();
    let written = hosts::addresses(&file, host, port);
    let found = if written.is_empty() { ask(host, port, family)? } else { written };
    let mut addresses = Vec::new();
    for address in found {
        if address.is_ipv6() == (family == Family::V6) && !addresses.contains(&address) {
            addresses.push(address);
        }
    }
    if addresses.is_empty() { Err(NotFound::NoAddress) } else { Ok(addresses) }
}

fn ask(host: &str, port: u16, family: Family) -> Result<Vec<SocketAddr>, NotFound> {
    let address = match family {
        Family::V6 => AddrFamily::Inet6,
        Family::V4 => AddrFamily::Inet,
    };
    // Without AI_ADDRCONFIG: with it, glibc finds no address on a machine with only loopback.
    let hints = AddrInfoHints {
        address: address.into(),
        socktype: SockType::Stream.into(),
        ..AddrInfoHints::default()
    };
    let found = getaddrinfo(Some(host), None, Some(hints)).map_err(|error| match error.kind() {
        LookupErrorKind::NoName => NotFound::NoName,
        LookupErrorKind::NoData => NotFound::NoAddress,
        LookupErrorKind::Again => NotFound::NoAnswer,
        _ => NotFound::Failed(io::Error::from(error).to_string()),
    })?;
    let with_port = |mut address: SocketAddr| {
        address.set_port(port);
        address
    };
    Ok(found.flatten().map(|found| with_port(found.sockaddr)).collect())
}
