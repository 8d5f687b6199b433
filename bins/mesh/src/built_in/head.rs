//! Rewrites heads between the client's connection and the target's (RFC 9110, section 7.6; RFC 9112,
//! section 3.2); no I/O.

use hyper::header::{self, HeaderMap, HeaderName, HeaderValue};
use hyper::http::request::Parts;
use hyper::{StatusCode, Uri, Version};

/// Hop-by-hop headers, even if `Connection` does not name them (RFC 9110, section 7.6.1), and
/// `Trailer`, because trailers are not passed on.
const HOP_BY_HOP: [HeaderName; 7] = [
    header::CONNECTION,
    HeaderName::from_static("proxy-connection"),
    HeaderName::from_static("keep-alive"),
    header::TE,
    header::TRAILER,
    header::TRANSFER_ENCODING,
    header::UPGRADE,
];

/// Why a request is refused.
pub(super) type Refusal = (StatusCode, &'static str);

/// Rewrites a request's head for a target. `host` is for HTTP/1.0 requests without Host.
///
/// # Errors
///
/// Its host or the framing of its body is ambiguous.
pub(super) fn pass_on(head: &mut Parts, host: &'static str) -> Result<(), Refusal> {
    let bad = |text| Err((StatusCode::BAD_REQUEST, text));
    let hosts = head.headers.get_all(header::HOST).iter().count();
    if hosts > 1 || hosts == 0 && head.version != Version::HTTP_10 {
        return bad("exactly one Host header is required");
    }
    let schemes = [None, Some("http"), Some("https")];
    if !schemes.contains(&head.uri.scheme_str().map(str::to_ascii_lowercase).as_deref()) {
        return bad("a target that is neither http nor https");
    }
    // hyper decodes chunked, and would pass on any other coding without its header.
    let codings = head.headers.get_all(header::TRANSFER_ENCODING);
    if codings.iter().count() > 1 || !only(&head.headers, header::TRANSFER_ENCODING, "chunked") {
        return Err((StatusCode::NOT_IMPLEMENTED, "Transfer-Encoding other than chunked"));
    }
    // Removed first, in case Connection names it.
    let named = head.headers.remove(header::HOST);
    let host = match head.uri.authority() {
        Some(authority) if authority.as_str().contains('@') => {
            return bad("a user name in the target");
        }
        Some(authority) => match HeaderValue::from_str(authority.as_str()) {
            Ok(host) => host,
            Err(_) => return bad("a bad host in the target"),
        },
        None => named.unwrap_or(HeaderValue::from_static(host)),
    };
    remove_hop_by_hop(&mut head.headers);
    // The body is complete; hyper adds its length.
    head.headers.remove(header::CONTENT_LENGTH);
    // hyper has sent 100 Continue; other expectations are for the target to refuse.
    if only(&head.headers, header::EXPECT, "100-continue") {
        head.headers.remove(header::EXPECT);
    }
    head.headers.insert(header::HOST, host);
    head.version = Version::HTTP_11;
    if let Some(path) = head.uri.path_and_query() {
        head.uri = Uri::from(path.clone());
    }
    Ok(())
}

/// Whether all lines of a header have only this value, in any case.
fn only(headers: &HeaderMap, name: HeaderName, value: &str) -> bool {
    headers
        .get_all(name)
        .iter()
        .all(|found| found.as_bytes().eq_ignore_ascii_case(value.as_bytes()))
}

/// Removes hop-by-hop headers, including those that `Connection` names.
pub(super) fn remove_hop_by_hop(headers: &mut HeaderMap) {
    let lists = headers.get_all(header::CONNECTION).iter();
    let options = lists.flat_map(|list| list.as_bytes().split(|&byte| byte == b','));
    let named: Vec<_> =
        options.filter_map(|name| HeaderName::from_bytes(name.trim_ascii()).ok()).collect();
    for name in named.iter().chain(&HOP_BY_HOP) {
        headers.remove(name);
    }
}

#[cfg(test)]
mod tests {
    use hyper::Request;

    use super::*;

    /// The target and the headers of what is passed on, in order of their names.
    fn passed_on(version: Version, uri: &str, fields: &[(&str, &str)]) -> Result<String, Refusal> {
        let mut request = Request::builder().version(version).uri(uri);
        for (name, value) in fields {
            request = request.header(*name, *value);
        }
        let (mut head, ()) = request.body(()).unwrap().into_parts();
        pass_on(&mut head, "greeter-service")?;
        assert_eq!(head.version, Version::HTTP_11);
        let lines =
            head.headers.iter().map(|(name, value)| format!("{name}: {}", value.to_str().unwrap()));
        let mut lines: Vec<_> = lines.collect();
        lines.sort();
        Ok(format!("{} {}", head.uri, lines.join(", ")))
    }

    #[test]
    fn everything_else_is_passed_on() {
        let fields = [("host", "x"), ("accept", "*/*"), ("cookie", "a"), ("cookie", "b")];
        let expected = "/path?query accept: */*, cookie: a, cookie: b, host: x";
        assert_eq!(passed_on(Version::HTTP_11, "/path?query", &fields), Ok(expected.to_owned()));
    }

    #[test]
    fn what_belongs_to_the_connection_is_not() {
        let fields = [
            ("host", "x"),
            ("connection", "close, X-One ,,x-two,not a name"),
            ("connection", "X-THREE, host"),
            ("x-one", "1"),
            ("x-one", "1"),
            ("X-Two", "2"),
            ("x-three", "3"),
            ("x-four", "4"),
            ("proxy-connection", "keep-alive"),
            ("keep-alive", "timeout=5"),
            ("te", "trailers"),
            ("trailer", "x"),
            ("transfer-encoding", "chunked"),
            ("upgrade", "h2c"),
            ("content-length", "5"),
            ("expect", "100-continue"),
        ];
        let expected = Ok("/ host: x, x-four: 4".to_owned());
        assert_eq!(passed_on(Version::HTTP_11, "/", &fields), expected);
    }

    #[test]
    fn the_target_says_the_host_before_the_header_does() {
        let host = [("host", "other")];
        for (uri, expected) in [
            ("http://a.test:80/x?y", "/x?y host: a.test:80"),
            ("http://a.test?y", "/?y host: a.test"),
            ("http://[::1]/", "/ host: [::1]"),
            ("*", "* host: other"),
        ] {
            assert_eq!(passed_on(Version::HTTP_11, uri, &host), Ok(expected.to_owned()));
        }
        let user = passed_on(Version::HTTP_11, "http://user@a.test/", &host);
        assert_eq!(user, Err((StatusCode::BAD_REQUEST, "a user name in the target")));
    }

    #[test]
    fn what_the_target_has_to_refuse_comes_there() {
        for expected in ["a-miracle", "100-continue, x"] {
            let fields = [("host", "x"), ("expect", expected)];
            let passed = passed_on(Version::HTTP_11, "/", &fields);
            assert_eq!(passed, Ok(format!("/ expect: {expected}, host: x")));
        }
    }

    #[test]
    fn what_may_be_read_in_two_ways_is_not_passed_on() {
        let host = ("host", "x");
        let unknown = (StatusCode::NOT_IMPLEMENTED, "Transfer-Encoding other than chunked");
        let chunked = ("transfer-encoding", "chunked");
        for fields in
            [vec![host, ("transfer-encoding", "gzip, chunked")], vec![host, chunked, chunked]]
        {
            assert_eq!(passed_on(Version::HTTP_11, "/", &fields), Err(unknown));
        }
        let scheme = (StatusCode::BAD_REQUEST, "a target that is neither http nor https");
        assert_eq!(passed_on(Version::HTTP_11, "ftp://x/", &[host]), Err(scheme));
        assert!(passed_on(Version::HTTP_11, "HTTPS://x/", &[host]).is_ok());
    }

    #[test]
    fn one_host_is_needed_and_http_1_0_may_do_without() {
        let one = Err((StatusCode::BAD_REQUEST, "exactly one Host header is required"));
        let two = [("host", "x"), ("host", "x")];
        assert_eq!(passed_on(Version::HTTP_11, "/", &[]), one);
        assert_eq!(passed_on(Version::HTTP_11, "http://a.test/", &[]), one);
        assert_eq!(passed_on(Version::HTTP_11, "/", &two), one);
        assert_eq!(passed_on(Version::HTTP_10, "/", &two), one);
        let expected = Ok("/ host: greeter-service".to_owned());
        assert_eq!(passed_on(Version::HTTP_10, "/", &[]), expected);
    }
}
