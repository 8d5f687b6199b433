//! Host names in a file: hosts(5).
//!
//! musl reads it too, but compares names case-sensitively, and skips a last line without a newline.

use std::net::{IpAddr, SocketAddr};

/// The addresses that the lines of `file` give `host`, with this port. Lines without an address, or
/// with one that Rust cannot parse (`fe80::1%eth0`), are skipped.
pub(crate) fn addresses(file: &[u8], host: &str, port: u16) -> Vec<SocketAddr> {
    // A dot at the end means that no search domain is added, and none is here.
    let host = host.strip_suffix('.').unwrap_or(host).as_bytes();
    let mut found = Vec::new();
    for line in file.split(|&byte| byte == b'\n') {
        let line = line.split(|&byte| byte == b'#').next().unwrap_or_default();
        let mut words = line.split(u8::is_ascii_whitespace).filter(|word| !word.is_empty());
        let ip = words.next().and_then(|word| str::from_utf8(word).ok()?.parse::<IpAddr>().ok());
        if words.any(|name| name.eq_ignore_ascii_case(host)) {
            found.extend(ip.map(|ip| SocketAddr::new(ip, port)));
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(host: &str) -> String {
        let file = "# 192.0.2.9 name\n\
                    127.0.0.1\tlocalhost  local # one 192.0.2.9 two\r\n\
                    ::1 localhost\n\
                    127.0.0.2 LOCALHOST\n\
                    \n  \t\n192.0.2.8\n\
                    name 192.0.2.7\n\
                    fe80::1%eth0 name\n\
                    \u{fffd} name\n\
                    \t192.0.2.1 Name-Service#name\n\
                    192.0.2.2 a.name name.a  name";
        let found = addresses(file.as_bytes(), host, 0);
        let found: Vec<_> = found.iter().map(|address| address.ip().to_string()).collect();
        found.join(" ")
    }

    #[test]
    fn a_name_is_found_wherever_it_stands() {
        for (host, addresses) in [
            ("localhost", "127.0.0.1 ::1 127.0.0.2"),
            ("LocalHost.", "127.0.0.1 ::1 127.0.0.2"),
            ("local", "127.0.0.1"),
            ("name-service", "192.0.2.1"),
            ("name", "192.0.2.2"),
            ("name.", "192.0.2.2"),
        ] {
            assert_eq!(found(host), addresses, "{host}");
        }
        for host in ["one", "two", "nam", "a", "192.0.2.8", "192.0.2.7", "#", ""] {
            assert_eq!(found(host), "", "{host}");
        }
    }
}
