//! The grammar of a request's head (RFC 9112, sections 2 to 7). No I/O.

use std::mem::MaybeUninit;
use std::net::Ipv6Addr;

use httparse::Header;

use crate::framing::{self, Framing};
use crate::negotiate::{Form, Preferences};
use crate::response::Status;

/// The longest head, in bytes.
pub(crate) const MAX_HEAD: usize = 64 * 1024;
/// The longest request line, in bytes.
const MAX_LINE: usize = 16 * 1024;
/// The longest method, in bytes. The longest in IANA's registry has 17 (`UPDATEREDIRECTREF`).
const MAX_METHOD: usize = 32;
/// The most bytes of blank lines before the request line.
const MAX_BLANK: usize = 4;
/// The most headers.
const MAX_HEADERS: usize = 128;

/// What is passed on to the services behind: the context of a trace (W3C Trace Context and
/// Baggage, Envoy's and the load balancer's request ids), the header by which Service Connect
/// sends a request to the green tasks of a deployment that can be tried first, and no more,
/// because a leaf has room for 16 headers and two Envoys bring theirs.
const PASSED_ON: [&str; 6] = [
    "traceparent",
    "tracestate",
    "baggage",
    "x-request-id",
    "x-amzn-trace-id",
    "x-amzn-ecs-blue-green-test",
];
/// The most bytes passed on; a header that would exceed them stays behind.
const MAX_PASSED_ON: usize = 2048;

/// A request without its body.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Request {
    pub(crate) method: Method,
    pub(crate) target: Target,
    /// The form of answer that the client prefers.
    pub(crate) form: Form,
    /// HTTP/1.0, which closes unless asked not to.
    pub(crate) is_1_0: bool,
    /// Whether the client lets the connection live on.
    pub(crate) keep_alive: bool,
    /// Whether the client waits for `100 Continue` before it sends the body.
    pub(crate) expects_continue: bool,
    pub(crate) body: Framing,
    /// The lines of the headers that are passed on, each with its CR LF.
    pub(crate) passed_on: Vec<u8>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Method {
    Get,
    Head,
    Options,
    Other,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Target {
    Health,
    /// Any other path.
    Greeting,
}

/// Why a connection ends with an error: the status, and a word to the person who caused it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Refusal(pub(crate) Status, pub(crate) &'static str);

impl Refusal {
    const METHOD_TOO_LONG: Self = Self(Status::NOT_IMPLEMENTED, "method over 32 bytes");
    const LINE_TOO_LONG: Self = Self(Status::URI_TOO_LONG, "request line over 16 KiB");
    const HEAD_TOO_LARGE: Self =
        Self(Status::HEAD_TOO_LARGE, "head over 64 KiB, or more than 128 headers");
    pub(crate) const UNKNOWN_CODING: Self =
        Self(Status::NOT_IMPLEMENTED, "Transfer-Encoding other than chunked");
    const UNKNOWN_VERSION: Self = Self(Status::UNKNOWN_VERSION, "this is HTTP/1.1");
    const UNKNOWN_EXPECTATION: Self =
        Self(Status::EXPECTATION_FAILED, "Expect other than 100-continue");

    pub(crate) const fn malformed(what: &'static str) -> Self {
        Self(Status::BAD_REQUEST, what)
    }
}

/// Finds a head that comes in pieces. However it is cut, the result is the same.
#[derive(Debug, Default)]
pub(crate) struct Parser {
    /// Bytes that have been looked at and hold no whole head.
    seen: usize,
}

impl Parser {
    /// Looks at all that has come of a head so far, `input`: the request and the length of
    /// its head, or `None` while the end of the head is not there.
    ///
    /// Whole lines are parsed, and only when one has been added: a head that trickles in is
    /// not parsed from its start with every byte. What cannot be a request is refused with
    /// its first byte: no TLS hello waits for a line to end.
    pub(crate) fn parse(&mut self, input: &[u8]) -> Result<Option<(Request, usize)>, Refusal> {
        let input = &input[..input.len().min(MAX_HEAD)];
        let seen = std::mem::replace(&mut self.seen, input.len());
        // Blank lines: RFC 9112, 2.2 asks for patience with one.
        let blank = 2 * input.chunks(2).take_while(|pair| pair == b"\r\n").count();
        let line = &input[blank..];
        let method = line.iter().take(MAX_METHOD + 1).take_while(|&&b| is_token_byte(b)).count();
        if blank > MAX_BLANK || (method == 0 && !matches!(line, b"" | b"\r")) {
            return Err(Refusal::malformed("bad request line"));
        }
        if method > MAX_METHOD {
            return Err(Refusal::METHOD_TOO_LONG);
        }
        if input.len() > MAX_LINE && !input[blank..MAX_LINE].contains(&b'\n') {
            return Err(Refusal::LINE_TOO_LONG);
        }
        let from = seen.max(blank);
        if let Some(end) = input[from..].iter().rposition(|&b| b == b'\n') {
            let lines = &input[blank..=from + end];
            let parsed = match parse_lines(lines) {
                Err(Refusal::UNKNOWN_VERSION) => parse_lines_of_another_version(lines),
                parsed => parsed,
            };
            if let Some((request, length)) = parsed? {
                return Ok(Some((request, blank + length)));
            }
        }
        if input.len() < MAX_HEAD { Ok(None) } else { Err(Refusal::HEAD_TOO_LARGE) }
    }
}

// Apart, so that a connection that waits has none of its 4 KiB on the stack.
#[inline(never)]
fn parse_lines(lines: &[u8]) -> Result<Option<(Request, usize)>, Refusal> {
    let mut headers = [const { MaybeUninit::uninit() }; MAX_HEADERS];
    let mut parsed = httparse::Request::new(&mut []);
    match parsed.parse_with_uninit_headers(lines, &mut headers) {
        Ok(httparse::Status::Complete(length)) => {
            check_line_ends(&lines[..length])?;
            let (method, target) = (parsed.method.unwrap_or_default(), parsed.path);
            let is_1_0 = parsed.version == Some(0);
            let request =
                Request::read(method, target.unwrap_or_default(), is_1_0, parsed.headers)?;
            Ok(Some((request, length)))
        }
        Ok(httparse::Status::Partial) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// httparse knows HTTP/1.0 and HTTP/1.1 alone. Any other 1.x is served as 1.1 (RFC 9110,
/// section 2.5); 505 is for another major version, and what is no version at all is malformed.
// Apart and cold, for the same 4 KiB: nobody is known to send one.
#[cold]
#[inline(never)]
fn parse_lines_of_another_version(lines: &[u8]) -> Result<Option<(Request, usize)>, Refusal> {
    // The version is what httparse looks at last: the words before it are good ones.
    let mut words = lines.splitn(3, |&b| b == b' ');
    let mut word = || words.next().unwrap_or_default();
    let (method, target, version) = (word(), word(), word());
    let headers = match version.strip_prefix(b"HTTP/") {
        Some([b'1', b'.', b'0'..=b'9', b'\r', b'\n', headers @ ..]) => headers,
        Some([b'0'..=b'9', b'.', b'0'..=b'9', b'\r', b'\n', ..]) => {
            return Err(Refusal::UNKNOWN_VERSION);
        }
        _ => return Err(Refusal::malformed("no HTTP/1.1 behind the request target")),
    };
    let [method, target] = [method, target].map(|word| str::from_utf8(word).unwrap_or_default());
    match httparse::parse_headers(headers, &mut [httparse::EMPTY_HEADER; MAX_HEADERS]) {
        Ok(httparse::Status::Complete((length, parsed))) => {
            let length = lines.len() - headers.len() + length;
            check_line_ends(&lines[..length])?;
            Ok(Some((Request::read(method, target, false, parsed)?, length)))
        }
        Ok(httparse::Status::Partial) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

impl From<httparse::Error> for Refusal {
    fn from(error: httparse::Error) -> Self {
        match error {
            httparse::Error::TooManyHeaders => Self::HEAD_TOO_LARGE,
            httparse::Error::Version => Self::UNKNOWN_VERSION,
            httparse::Error::HeaderName => Self::malformed("bad header name"),
            httparse::Error::HeaderValue => Self::malformed("bad header value"),
            _ => Self::malformed("bad request line"),
        }
    }
}

/// RFC 9110, section 5.6.2.
pub(crate) fn is_token_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

/// Every line must end with CR LF. A bare LF is allowed to a recipient (RFC 9112, 2.2), but
/// those who disagree on it can be set against each other.
fn check_line_ends(head: &[u8]) -> Result<(), Refusal> {
    let mut last = b'\r';
    for &byte in head {
        if byte == b'\n' && last != b'\r' {
            return Err(Refusal::malformed("a line ends without CR"));
        }
        last = byte;
    }
    Ok(())
}

impl Request {
    fn read(method: &str, target: &str, is_1_0: bool, headers: &[Header]) -> Result<Self, Refusal> {
        let target = self::target(method, target)?;
        let method = match method {
            "GET" => Method::Get,
            "HEAD" => Method::Head,
            "OPTIONS" => Method::Options,
            _ => Method::Other,
        };

        let mut fields = Fields::default();
        for header in headers {
            fields.read(header)?;
        }
        if fields.hosts != 1 && !(is_1_0 && fields.hosts == 0) {
            return Err(Refusal::malformed("exactly one Host header is required"));
        }
        Ok(Self {
            method,
            target,
            form: fields.preferences.form(),
            is_1_0,
            keep_alive: fields.framing.keep_alive(is_1_0),
            // RFC 9110, 10.1.1: to be ignored in HTTP/1.0.
            expects_continue: fields.expects_continue && !is_1_0,
            body: fields.framing.framing(is_1_0)?.unwrap_or(Framing::Length(0)),
            passed_on: fields.passed_on,
        })
    }
}

/// What the headers say.
#[derive(Default)]
struct Fields {
    framing: framing::Fields,
    hosts: usize,
    expects_continue: bool,
    preferences: Preferences,
    passed_on: Vec<u8>,
    /// Those of `PASSED_ON` that are in it: one of each, or a client could fill a leaf's 16
    /// with tracestates.
    passed: [bool; PASSED_ON.len()],
}

impl Fields {
    fn read(&mut self, header: &Header) -> Result<(), Refusal> {
        let (name, value) = (header.name, header.value.trim_ascii());
        if self.framing.read(header)? {
            return Ok(());
        }
        if name.eq_ignore_ascii_case("host") {
            self.hosts += 1;
            host(value).ok_or(Refusal::malformed("bad Host"))?;
        } else if name.eq_ignore_ascii_case("expect") {
            if !value.eq_ignore_ascii_case(b"100-continue") {
                return Err(Refusal::UNKNOWN_EXPECTATION);
            }
            self.expects_continue = true;
        } else if name.eq_ignore_ascii_case("accept") {
            self.preferences.accept(value);
        } else if name.eq_ignore_ascii_case("accept-encoding") {
            self.preferences.accept_encoding(value);
        } else if let Some(which) = PASSED_ON.iter().position(|p| p.eq_ignore_ascii_case(name)) {
            self.pass_on(which, value);
        }
        Ok(())
    }

    fn pass_on(&mut self, which: usize, value: &[u8]) {
        let line = [PASSED_ON[which].as_bytes(), b": ", value, b"\r\n"];
        let length: usize = line.iter().map(|part| part.len()).sum();
        if !self.passed[which] && self.passed_on.len() + length <= MAX_PASSED_ON {
            self.passed[which] = true;
            for part in line {
                self.passed_on.extend_from_slice(part);
            }
        }
    }
}

/// What is asked for (RFC 9112, section 3.2).
fn target(method: &str, target: &str) -> Result<Target, Refusal> {
    let bad = Refusal::malformed("bad request target");
    // What readers disagree on: where a fragment begins, whether a backslash is a slash, and
    // which character a byte over 0x7F is part of. The rest of what RFC 3986 forbids (`"<>[]^`,
    // backtick, `{|}`, a bare `%`) is harmless to who only compares a path with one other, and
    // browsers do send some of it.
    if target.bytes().any(|b| b >= 0x80 || b == b'#' || b == b'\\') {
        return Err(bad);
    }
    let path = if target.starts_with('/') {
        target
    } else if let Some(rest) = absolute(target) {
        let (authority, path) = rest.split_at(rest.find(['/', '?']).unwrap_or(rest.len()));
        // It takes the place of Host; an empty one is forbidden (RFC 9110, section 4.2.1).
        if host(authority.as_bytes()).is_none_or(<[u8]>::is_empty) {
            return Err(Refusal::malformed("bad host in the request target"));
        }
        path
    } else if method == "CONNECT" || (method == "OPTIONS" && target == "*") {
        // CONNECT names an authority; whatever it is, it gets its 405.
        "/"
    } else {
        return Err(bad);
    };
    Ok(match path.split('?').next() {
        Some("/health") => Target::Health,
        _ => Target::Greeting,
    })
}

/// What follows the scheme of an absolute target, as a client sends it to a proxy.
fn absolute(target: &str) -> Option<&str> {
    let (scheme, rest) = target.split_once("://")?;
    let known = ["http", "https"].iter().any(|s| scheme.eq_ignore_ascii_case(s));
    known.then_some(rest)
}

/// The host of `uri-host [ ":" port ]` (RFC 9110, section 7.2), if both are good. It may be empty.
fn host(authority: &[u8]) -> Option<&[u8]> {
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

/// `reg-name`, of which `IPv4address` is a part.
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

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;
    use proptest::sample::select;

    use super::*;

    fn parse(input: &[u8]) -> Result<Option<(Request, usize)>, Refusal> {
        Parser::default().parse(input)
    }

    fn head(lines: &str) -> Result<Option<(Request, usize)>, Refusal> {
        parse(format!("{}\r\n\r\n", lines.replace('\n', "\r\n")).as_bytes())
    }

    fn request(lines: &str) -> Request {
        head(lines).unwrap().unwrap().0
    }

    #[test]
    fn a_plain_request() {
        assert_eq!(
            request("GET / HTTP/1.1\nHost: greeter.test:80"),
            Request {
                method: Method::Get,
                target: Target::Greeting,
                form: Form::Text,
                is_1_0: false,
                keep_alive: true,
                expects_continue: false,
                body: Framing::Length(0),
                passed_on: vec![],
            }
        );
    }

    #[test]
    fn every_prefix_of_a_head_is_partial() {
        let whole = b"POST /a?b HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\n";
        for length in 0..whole.len() {
            assert_eq!(parse(&whole[..length]), Ok(None), "{length} bytes");
        }
        assert_eq!(parse(whole).unwrap().unwrap().1, whole.len());
    }

    #[test]
    fn health_is_one_path() {
        for (target, expected) in [
            ("/health", Target::Health),
            ("/health?deep=1", Target::Health),
            ("http://greeter.test/health", Target::Health),
            ("HTTPS://[::1]:3000/health?deep=1", Target::Health),
            ("http://greeter.test?deep=/health", Target::Greeting),
            ("/health/", Target::Greeting),
            ("/healthy", Target::Greeting),
            ("/a/health", Target::Greeting),
            ("http://greeter.test", Target::Greeting),
        ] {
            assert_eq!(request(&format!("GET {target} HTTP/1.1\nHost: x")).target, expected);
        }
        let get = |target: &str| head(&format!("GET {target} HTTP/1.1\nHost: x"));
        for bad in [
            "health",
            "*",
            "ftp://x/",
            "://x",
            "/a#b",
            "http://x#/health",
            "/a\\b",
            "?\\",
            "/\u{e9}",
        ] {
            assert_eq!(get(bad), Err(Refusal::malformed("bad request target")), "{bad}");
        }
        assert!(head("POST x HTTP/1.1\nHost: x").is_err());
        assert_eq!(request("CONNECT x:443 HTTP/1.1\nHost: x").target, Target::Greeting);
        assert_eq!(request("OPTIONS * HTTP/1.1\nHost: x").target, Target::Greeting);
        for bad in ["http://", "http:///health", "http://?a", "http://:80/", "http://a@x/"] {
            assert_eq!(
                get(bad),
                Err(Refusal::malformed("bad host in the request target")),
                "{bad}"
            );
        }
        // What browsers and curl are known to send as it is.
        assert!(get("/\"<>[]^`{|}%?\"<>[]^`{|}%zz").is_ok());
        assert!(parse(b"GET /\xe9 HTTP/1.1\r\nHost: x\r\n\r\n").is_err());
    }

    #[test]
    fn the_connection_lives_on_or_not() {
        for (lines, keep_alive) in [
            ("GET / HTTP/1.1\nHost: x", true),
            ("GET / HTTP/1.1\nHost: x\nConnection: close", false),
            ("GET / HTTP/1.1\nHost: x\nConnection: Upgrade , CLOSE", false),
            ("GET / HTTP/1.1\nHost: x\nConnection: keep-alive\nConnection: close", false),
            ("GET / HTTP/1.0", false),
            ("GET / HTTP/1.0\nConnection: Keep-Alive", true),
            ("GET / HTTP/1.0\nConnection: keep-alive, close", false),
        ] {
            assert_eq!(request(lines).keep_alive, keep_alive, "{lines}");
        }
    }

    #[test]
    fn what_decides_where_a_body_ends_is_never_guessed() {
        let post = |fields: &str| head(&format!("POST / HTTP/1.1\nHost: x\n{fields}"));
        let body = |fields: &str| post(fields).unwrap().unwrap().0.body;
        assert_eq!(body("Content-Length: 5"), Framing::Length(5));
        assert_eq!(body("Content-Length: 5\nContent-Length: 5"), Framing::Length(5));
        for chunked in [
            "Transfer-Encoding: Chunked",
            "Transfer-Encoding: , chunked",
            "Transfer-Encoding: chunked,",
            "Transfer-Encoding: ,, \t chunked ,\nTransfer-Encoding:",
            "Transfer-Encoding: ,\nTransfer-Encoding: chunked",
        ] {
            assert_eq!(body(chunked), Framing::Chunked, "{chunked}");
        }
        for bad in [
            "Content-Length: 5\nContent-Length: 6",
            "Content-Length: 5, 5",
            "Content-Length: +5",
            "Content-Length: -5",
            "Content-Length: 0x5",
            "Content-Length: 5 5",
            "Content-Length:",
            "Content-Length: 18446744073709551616",
            "Content-Length: 5\nTransfer-Encoding: chunked",
            "Transfer-Encoding: gzip, chunked\nContent-Length: 5",
            "Transfer-Encoding:\nContent-Length: 5",
            "Transfer-Encoding: chunked\nTransfer-Encoding: chunked",
            "Transfer-Encoding: chunked\nTransfer-Encoding: gzip",
            "Transfer-Encoding: chunked, chunked",
            "Transfer-Encoding: gzip, chunked, chunked",
            "Transfer-Encoding: chunked, gzip",
            "Transfer-Encoding: chunked, gzip, chunked",
            "Transfer-Encoding: chunked;a=b",
            "Transfer-Encoding: gzip, chunked ;a=b",
            "Transfer-Encoding: chunk ed",
            "Transfer-Encoding: \"chunked\"",
            "Transfer-Encoding: ;a, chunked",
            "Transfer-Encoding: a;b=\", chunked",
            "Transfer-Encoding: xchunked",
            "Transfer-Encoding: identity",
            "Transfer-Encoding:",
            "Transfer-Encoding: ,",
            "Transfer-Encoding : chunked",
            "Transfer-Encoding:\n chunked",
        ] {
            assert!(
                matches!(post(bad), Err(Refusal(Status::BAD_REQUEST, _))),
                "{bad}: {:?}",
                post(bad)
            );
        }
        for unknown in [
            "gzip, chunked",
            "gzip;q=\"a, b\" ,, br, Chunked",
            "gzip\nTransfer-Encoding: ,\nTransfer-Encoding: chunked",
        ] {
            let fields = format!("Transfer-Encoding: {unknown}");
            assert_eq!(post(&fields), Err(Refusal::UNKNOWN_CODING), "{unknown}");
        }
        let to_1_0 = head("POST / HTTP/1.0\nTransfer-Encoding: gzip, chunked");
        assert_eq!(to_1_0, Err(Refusal::malformed("Transfer-Encoding in HTTP/1.0")));
    }

    #[test]
    fn one_host_and_a_good_one() {
        assert!(head("GET / HTTP/1.1").is_err());
        assert!(head("GET / HTTP/1.1\nHost: a\nHost: a").is_err());
        assert!(head("GET / HTTP/1.0\nHost: a\nHost: a").is_err());
        for good in [
            "",
            "x",
            "x:",
            "x:80",
            ":80",
            "a_b.example-1.test.",
            "%c3%A9~!$&'()*+,;=",
            "192.0.2.1:3000",
            "[::]",
            "[::1]:3000",
            "[2001:db8::192.0.2.1]",
            "[v1.fe80::a+en1]:80",
        ] {
            assert!(head(&format!("GET / HTTP/1.1\nHost: {good}")).is_ok(), "{good}");
        }
        for bad in [
            "a:b",
            "a:80:80",
            "a:-1",
            "a/b",
            "a?b",
            "a#b",
            "a@b",
            "a@b:80",
            "a b",
            "a,b c",
            "a\\b",
            "a%",
            "a%z",
            "a%zz",
            "a%4",
            "a%4z",
            "\u{e9}",
            "a\"b",
            "<a>",
            "[",
            "]",
            "[]",
            "[]:80",
            "[::1",
            "::1",
            "[::1]80",
            "[::1]a",
            "[::1%eth0]",
            "[1::2::3]",
            "[::12345]",
            "[1:2:3:4:5:6:7]",
            "[192.0.2.1]",
            "[::192.0.2.256]",
            "[x]",
            "[v.a]",
            "[vx.a]",
            "[v1.]",
            "[v1.a/b]",
            "[v1]",
            "a[::1]",
        ] {
            let refused = Err(Refusal::malformed("bad Host"));
            assert_eq!(head(&format!("GET / HTTP/1.1\nHost: {bad}")), refused, "{bad}");
        }
    }

    #[test]
    fn any_minor_version_is_served_and_any_other_major_refused() {
        for minor in 2..=9 {
            let lines = format!("OPTIONS * HTTP/1.{minor}\nHost: x\nConnection: close");
            let expected = request(&lines.replace(&format!("1.{minor}"), "1.1"));
            assert_eq!(request(&lines), expected);
            assert!(!expected.is_1_0);
        }
        // With all that HTTP/1.1 is refused for, and the same limits.
        for bad in ["", "\nHost: x\nHost: x", "\nHost: x\nA : b", "\nHost: x\nA: b\0"] {
            assert_eq!(
                head(&format!("GET / HTTP/1.2{bad}")),
                head(&format!("GET / HTTP/1.1{bad}")),
                "{bad}"
            );
        }
        let headers = |count: usize| {
            head(&format!("\nGET / HTTP/1.2\nHost: x{}", "\nX: y".repeat(count - 1)))
        };
        assert!(headers(128).is_ok());
        assert_eq!(headers(129), Err(Refusal::HEAD_TOO_LARGE));
        assert!(parse(b"GET / HTTP/1.2\r\nHost: x\n\r\n").is_err());

        for other in ["HTTP/0.9", "HTTP/2.0", "HTTP/9.9"] {
            assert_eq!(head(&format!("GET / {other}")), Err(Refusal::UNKNOWN_VERSION), "{other}");
        }
        for bad in [
            "",
            "HTTP",
            "HTTP/",
            "HTTP/1",
            "HTTP/1.",
            "HTTP/.1",
            "HTTP/01.01",
            "HTTP/1.10",
            "HTTP/1.x",
            "HTTP/11",
            "HTTP/1,1",
            "HTTP/ 1.1",
            "HTTP /1.1",
            "HTTP/a.b",
            "HTTP/2.x",
            "http/1.1",
            "HTTPS/1.1",
            "x HTTP/1.1",
            " HTTP/1.1",
            "HTTP/1.2 ",
            "HTTP/1.1x",
            "HTTP/1.2x",
            "\tHTTP/1.1",
        ] {
            assert!(
                matches!(head(&format!("GET / {bad}")), Err(Refusal(Status::BAD_REQUEST, _))),
                "{bad}"
            );
        }
        assert!(matches!(parse(b"GET / HTTP/2.0\n"), Err(Refusal(Status::BAD_REQUEST, _))));
    }

    #[test]
    fn what_is_no_http_1_is_refused_at_once() {
        assert_eq!(parse(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"), Err(Refusal::UNKNOWN_VERSION));
        assert_eq!(head("GET / HTTP/9.9\nHost: x"), Err(Refusal::UNKNOWN_VERSION));
        assert!(parse(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03").is_err());
        assert!(parse(b"GET / HTTP/1.1\r\nHost: x\r\nA: b\0c\r\n\r\n").is_err());
        assert!(parse(b"GET / HTTP/1.1\r\nHost: x\r\nA: b\rc\r\n\r\n").is_err());
        assert!(parse(b"GET / HTTP/1.1\nHost: x\n\n").is_err());
    }

    #[test]
    fn limits_are_where_they_are_said_to_be() {
        let headers =
            |count: usize| head(&format!("GET / HTTP/1.1\nHost: x{}", "\nX: y".repeat(count - 1)));
        assert!(headers(128).is_ok());
        assert_eq!(headers(129), Err(Refusal::HEAD_TOO_LARGE));

        let line = |length: usize| parse(format!("GET /{}", "a".repeat(length - 5)).as_bytes());
        assert_eq!(line(16 * 1024), Ok(None));
        assert_eq!(line(16 * 1024 + 1), Err(Refusal::LINE_TOO_LONG));

        let method = |length: usize| head(&format!("{} / HTTP/1.1\nHost: x", "A".repeat(length)));
        assert!(method(32).is_ok());
        assert_eq!(method(33), Err(Refusal::METHOD_TOO_LONG));
        assert_eq!(method(100_000), Err(Refusal::METHOD_TOO_LONG));

        let large = |length: usize| {
            let start = "GET / HTTP/1.1\r\nHost: x\r\nX: ";
            parse(format!("{start}{}\r\n\r\n", "a".repeat(length - start.len() - 4)).as_bytes())
        };
        assert!(large(64 * 1024).is_ok());
        assert_eq!(large(64 * 1024 + 1), Err(Refusal::HEAD_TOO_LARGE));

        assert!(parse(b"\r\n\r\nGET / HTTP/1.1\r\nHost: x\r\n\r\n").unwrap().is_some());
        assert!(parse(b"\r\n\r\n\r\n").is_err());
        assert_eq!(parse(b"\r"), Ok(None));
        assert!(parse(b"\r\r\n").is_err());
        assert!(parse(b"\nGET / HTTP/1.1\r\nHost: x\r\n\r\n").is_err());
    }

    #[test]
    fn the_form_is_what_the_client_prefers() {
        for (fields, form) in [
            ("accept: application/json", Form::Json),
            ("Accept: text/html", Form::Page { gzip: false }),
            ("Accept: text/html\nAccept-Encoding: gzip", Form::Page { gzip: true }),
            ("Accept: text/html;q=0.5\nACCEPT: application/json", Form::Json),
        ] {
            let request = request(&format!("GET / HTTP/1.1\nHost: x\n{fields}"));
            assert_eq!(request.form, form, "{fields}");
        }
    }

    #[test]
    fn the_trace_is_passed_on_and_nothing_else() {
        let long = "x".repeat(MAX_PASSED_ON);
        let request = request(&format!(
            "GET / HTTP/1.1\nHost: x\nCookie: secret\nTraceParent: 00-a-b-01\n\
             X-Request-Id: 7\nBaggage: {long}\nX-Request-Id: 8\nX-Forwarded-For: 1.2.3.4"
        ));
        assert_eq!(request.passed_on, b"traceparent: 00-a-b-01\r\nx-request-id: 7\r\n");
    }

    /// The result of a head that comes in pieces of these sizes.
    fn parse_in_pieces(input: &[u8], sizes: &[usize]) -> Result<Option<(Request, usize)>, Refusal> {
        let mut parser = Parser::default();
        let mut sizes = sizes.iter().cycle();
        let mut end = 0;
        while end < input.len() {
            end = input.len().min(end + sizes.next().unwrap());
            if let Some(parsed) = parser.parse(&input[..end])? {
                return Ok(Some(parsed));
            }
        }
        Ok(None)
    }

    /// Pieces of requests, good and bad, in any order.
    fn fragments() -> impl Strategy<Value = Vec<u8>> {
        const FRAGMENTS: &[&str] = &[
            "GET / HTTP/1.1\r\n",
            "POST http://x/health?q HTTP/1.0\r\n",
            "PRI * HTTP/2.0\r\n",
            "GET http://x?y HTTP/1.2\r\n",
            "GET / HTTP/1\r\n",
            "GET /#\u{e9} HTTP/1.1\r\n",
            "Host: x\r\n",
            "Host: [::1\r\n",
            "Content-Length: 5\r\n",
            "Content-Length: 6\r\n",
            "Transfer-Encoding: chunked\r\n",
            "Transfer-Encoding: ,\r\n",
            "Transfer-Encoding: gzip\r\n",
            "Transfer-Encoding : chunked\r\n",
            "Connection: close\r\n",
            "Expect: 100-continue\r\n",
            "Accept: text/html;q=\".5\",*/*\r\n",
            "X: a\n",
            " folded\r\n",
            "\0",
            "\r",
            "\r\n",
        ];
        let filled = |start: &'static str, end: &'static str| {
            (1..MAX_HEAD).prop_map(move |n| format!("{start}{}{end}", "a".repeat(n)))
        };
        let text = prop_oneof![
            4 => vec(select(FRAGMENTS), 0..8).prop_map(|fragments| fragments.concat()),
            4 => vec(select(FRAGMENTS), 0..8).prop_map(|fragments| fragments.concat() + "\r\n"),
            1 => filled("GET /", " HTTP/1.1\r\nHost: x\r\n\r\n"),
            1 => filled("G", " / HTTP/1.1\r\nHost: x\r\n\r\n"),
            1 => filled("GET / HTTP/1.1\r\nHost: x\r\nX: ", "\r\n\r\n"),
            1 => (0..200_usize).prop_map(|n| {
                format!("GET / HTTP/1.1\r\nHost: x\r\n{}\r\n", "X: y\r\n".repeat(n))
            }),
        ];
        prop_oneof![9 => text.prop_map(String::into_bytes), 1 => vec(any::<u8>(), 0..200)]
    }

    /// Pieces of hosts, in any order: some of what comes of it is one.
    fn hosts() -> impl Strategy<Value = String> {
        const PIECES: &[&str] =
            &["a", "1", ":", "::", "[", "]", ".", "192.0.2.1", "%c3", "%", "@", "v1.", "ffff", "/"];
        vec(select(PIECES), 0..8).prop_map(|pieces| pieces.concat())
    }

    proptest! {
        /// A second reading, by the grammar turned around: take the parts off the end.
        #[test]
        fn a_host_is_what_the_grammar_says(text in hosts()) {
            prop_assert_eq!(host(text.as_bytes()).is_some(), crate::fuzzing::is_host(&text), "{}", text);
        }

        #[test]
        fn a_head_means_the_same_however_it_is_cut(
            input in fragments(),
            sizes in vec(1..5000_usize, 1..8),
        ) {
            let whole = parse(&input);
            // Whoever is refused is refused for good, and nothing is found behind its end.
            if let Ok(Some((_, length))) = &whole {
                prop_assert_eq!(&parse(&input[..*length]), &whole);
                prop_assert_eq!(parse(&input[..length - 1]), Ok(None));
            }
            prop_assert_eq!(&parse_in_pieces(&input, &sizes), &whole);
            if input.len() < 300 {
                prop_assert_eq!(&parse_in_pieces(&input, &[1]), &whole);
            }
        }
    }
}
