//! The grammar of a request's head (RFC 9112, sections 2 to 7). No I/O.

use std::mem::MaybeUninit;

use httparse::Header;

use crate::framing::{self, Framing};
use crate::negotiate::{Form, Preferences};
use crate::response::Status;

/// The longest head, in bytes.
pub(crate) const MAX_HEAD: usize = 64 * 1024;
/// The longest request line, in bytes.
const MAX_LINE: usize = 16 * 1024;
/// The most bytes of blank lines before the request line.
const MAX_BLANK: usize = 4;
/// The most headers.
const MAX_HEADERS: usize = 128;

/// What is passed on to the services behind: the context of a trace (W3C Trace Context and
/// Baggage, Envoy's and the load balancer's request ids), and no more, because a leaf has
/// room for 16 headers and two Envoys bring theirs.
const PASSED_ON: [&str; 5] =
    ["traceparent", "tracestate", "baggage", "x-request-id", "x-amzn-trace-id"];
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
        let starts_badly = line.first().is_some_and(|&b| !is_token_byte(b));
        if blank > MAX_BLANK || (starts_badly && line != b"\r") {
            return Err(Refusal::malformed("bad request line"));
        }
        if input.len() > MAX_LINE && !input[blank..MAX_LINE].contains(&b'\n') {
            return Err(Refusal::LINE_TOO_LONG);
        }
        if let Some(end) = input[seen..].iter().rposition(|&b| b == b'\n')
            && let Some(parsed) = parse_lines(&input[..=seen + end])?
        {
            return Ok(Some(parsed));
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
            Ok(Some((Request::read(&parsed)?, length)))
        }
        Ok(httparse::Status::Partial) => Ok(None),
        Err(httparse::Error::TooManyHeaders) => Err(Refusal::HEAD_TOO_LARGE),
        Err(httparse::Error::Version) => Err(Refusal::UNKNOWN_VERSION),
        Err(httparse::Error::HeaderName) => Err(Refusal::malformed("bad header name")),
        Err(httparse::Error::HeaderValue) => Err(Refusal::malformed("bad header value")),
        Err(_) => Err(Refusal::malformed("bad request line")),
    }
}

/// RFC 9110, section 5.6.2.
fn is_token_byte(byte: u8) -> bool {
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
    fn read(parsed: &httparse::Request) -> Result<Self, Refusal> {
        let is_1_0 = parsed.version == Some(0);
        let method = match parsed.method {
            Some("GET") => Method::Get,
            Some("HEAD") => Method::Head,
            Some("OPTIONS") => Method::Options,
            _ => Method::Other,
        };
        let target = target(method, parsed.path.unwrap_or_default())?;

        let mut fields = Fields::default();
        for header in parsed.headers.iter() {
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
            if !value.iter().all(|&b| is_host_byte(b)) {
                return Err(Refusal::malformed("bad Host"));
            }
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
fn target(method: Method, target: &str) -> Result<Target, Refusal> {
    let path = if target.starts_with('/') {
        target
    } else if let Some(rest) = absolute(target) {
        rest.find('/').map_or("/", |slash| &rest[slash..])
    } else if method == Method::Other || (method == Method::Options && target == "*") {
        // CONNECT names an authority; it gets its 405.
        "/"
    } else {
        return Err(Refusal::malformed("bad request target"));
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
    (known && !rest.is_empty()).then_some(rest)
}

/// uri-host [ ":" port ] (RFC 3986, section 3.2.2).
fn is_host_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-._~%!$&'()*+,;=:[]".contains(&byte)
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
            ("/health/", Target::Greeting),
            ("/healthy", Target::Greeting),
            ("/a/health", Target::Greeting),
            ("http://greeter.test", Target::Greeting),
        ] {
            assert_eq!(request(&format!("GET {target} HTTP/1.1\nHost: x")).target, expected);
        }
        for bad in ["health", "*", "ftp://x/", "://x", "http://"] {
            let refusal = Refusal::malformed("bad request target");
            assert_eq!(head(&format!("GET {bad} HTTP/1.1\nHost: x")), Err(refusal), "{bad}");
        }
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
        assert_eq!(body("Transfer-Encoding: Chunked"), Framing::Chunked);
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
            "Transfer-Encoding: chunked\nTransfer-Encoding: chunked",
            "Transfer-Encoding : chunked",
            "Transfer-Encoding:\n chunked",
        ] {
            assert!(
                matches!(post(bad), Err(Refusal(Status::BAD_REQUEST, _))),
                "{bad}: {:?}",
                post(bad)
            );
        }
        for unknown in ["gzip, chunked", "chunked, gzip", "xchunked", "identity", ""] {
            let fields = format!("Transfer-Encoding: {unknown}");
            assert_eq!(post(&fields), Err(Refusal::UNKNOWN_CODING), "{unknown}");
        }
        assert!(head("POST / HTTP/1.0\nTransfer-Encoding: chunked").is_err());
    }

    #[test]
    fn one_host_and_a_good_one() {
        assert!(head("GET / HTTP/1.1").is_err());
        assert!(head("GET / HTTP/1.1\nHost: a\nHost: a").is_err());
        assert!(head("GET / HTTP/1.1\nHost: a/b").is_err());
        assert!(head("GET / HTTP/1.0\nHost: a\nHost: a").is_err());
        assert!(head("GET / HTTP/1.1\nHost: [::1]:3000").is_ok());
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
            "Host: x\r\n",
            "Content-Length: 5\r\n",
            "Content-Length: 6\r\n",
            "Transfer-Encoding: chunked\r\n",
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
            1 => filled("GET / HTTP/1.1\r\nHost: x\r\nX: ", "\r\n\r\n"),
            1 => (0..200_usize).prop_map(|n| {
                format!("GET / HTTP/1.1\r\nHost: x\r\n{}\r\n", "X: y\r\n".repeat(n))
            }),
        ];
        prop_oneof![9 => text.prop_map(String::into_bytes), 1 => vec(any::<u8>(), 0..200)]
    }

    proptest! {
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
