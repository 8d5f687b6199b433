//! A host and perhaps a port: what `Host` holds, and an absolute target (RFC 3986, section 3.2).

use std::net::Ipv6Addr;

/// The host in `uri-host [ ":" port ]` (RFC 9110, section 7.2), if host and port are good. It may
/// be empty.
pub(crate) fn host(authority: &[u8]) -> Option<&[u8]> {
    let end = if authority.starts_with(b"[") {
        authority.iter().position(|&b| b == b']')? + 1
    } else {
        authority.iter().position(|&b| b == b':').unwrap_or(authority.len())
    };
    let (host, port) = authority.split_at(end);
    let good_port = match port {
        [] => true,
        [colon, digits @ ..] => *colon == b':' && digits.iter().all(u8::is_ascii_digit),
    };
    let good_host = match host {
        [b'[', literal @ .., b']'] => is_ip_literal(literal),
        name => is_name(name),
    };
    (good_host && good_port).then_some(host)
}

/// `IPv6address` or `IPvFuture` (RFC 3986, section 3.2.2).
fn is_ip_literal(literal: &[u8]) -> bool {
    if let [b'v' | b'V', future @ ..] = literal {
        let mut parts = future.splitn(2, |&b| b == b'.');
        let mut part = || parts.next().unwrap_or_default();
        let (version, address) = (part(), part());
        return !version.is_empty()
            && version.iter().all(u8::is_ascii_hexdigit)
            && !address.is_empty()
            && address.iter().all(|&b| is_name_byte(b) || b == b':');
    }
    str::from_utf8(literal).is_ok_and(|literal| literal.parse::<Ipv6Addr>().is_ok())
}

/// `reg-name`; every `IPv4address` is one too.
fn is_name(mut name: &[u8]) -> bool {
    loop {
        name = match name {
            [] => return true,
            [b'%', high, low, rest @ ..] if high.is_ascii_hexdigit() && low.is_ascii_hexdigit() => {
                rest
            }
            [byte, rest @ ..] if is_name_byte(*byte) => rest,
            _ => return false,
        }
    }
}

/// `unreserved` or `sub-delims`.
fn is_name_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-._~!$&'()*+,;=".contains(&byte)
}
