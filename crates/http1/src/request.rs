//! The head of a request (RFC 9112, sections 2 to 7).

use std::mem::MaybeUninit;

use httparse::Header;

use crate::authority::host;
use crate::framing::{Fields, Framing};
use crate::grammar::is_token_byte;
use crate::limits;
use crate::refusal::Refusal;

/// A request without its body. `T` is what the service keeps of the head; its `From<&Head>` is called
/// once the head is valid.
#[derive(Debug, PartialEq, Eq)]
pub struct Request<T> {
    /// What the client asks for.
    pub method: Method,
    /// Whether it is HTTP/1.0, where a connection closes unless the client asks for `keep-alive`.
    pub is_1_0: bool,
    /// Whether the connection may stay open after the answer.
    pub keep_alive: bool,
    /// Whether the client waits for `100 Continue` before it sends the body.
    pub expects_continue: bool,
    /// Where the body ends.
    pub body: Framing,
    /// What the service keeps.
    pub info: T,
}

/// The methods that a service can tell apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)] // the names are RFC 9110's
pub enum Method {
    Get,
    Head,
    Options,
    /// Any other token.
    Other,
}

/// The head of a request, from which a service takes what it keeps.
#[derive(Clone, Copy, Debug)]
pub struct Head<'a> {
    /// The target's path without its query. It is empty if an absolute target has none, and `/`
    /// for `OPTIONS *` and `CONNECT`.
    pub path: &'a str,
    headers: &'a [Header<'a>],
}

impl<'a> Head<'a> {
    /// The headers: names as they were written, values without the space around them.
    pub fn headers(&self) -> impl Iterator<Item = (&'a str, &'a [u8])> {
        self.headers.iter().map(|header| (header.name, header.value.trim_ascii()))
    }
}

/// A request, and the length of its head in bytes.
pub(crate) type Parsed<T> = (Request<T>, usize);

/// Reads a head that comes in pieces. The result does not depend on how it is split.
#[derive(Debug, Default)]
pub(crate) struct Parser {
    /// How many bytes were searched without finding the end of the head.
    seen: usize,
}

impl Parser {
    /// Looks at `input`, all that has come of the head so far. `None` while it is incomplete.
    ///
    /// It parses whole lines, and only when there is a new one: a head that comes byte by byte is not
    /// parsed again with every byte. What cannot be a request is refused at its first byte, so that
    /// a TLS hello does not wait for the end of a line.
    pub(crate) fn parse<T>(&mut self, input: &[u8]) -> Result<Option<Parsed<T>>, Refusal>
    where
        T: for<'h> From<&'h Head<'h>>,
    {
        let input = &input[..input.len().min(limits::HEAD)];
        let seen = std::mem::replace(&mut self.seen, input.len());
        let empty = empty_lines(input);
        let line = &input[empty..];
        let method =
            line.iter().take(limits::METHOD + 1).take_while(|&&b| is_token_byte(b)).count();
        if empty > limits::EMPTY_LINES || (method == 0 && !matches!(line, b"" | b"\r")) {
            return Err(Refusal::Malformed("bad request line"));
        }
        if method > limits::METHOD {
            return Err(Refusal::MethodTooLong);
        }
        if input.len() > limits::REQUEST_LINE
            && !input[empty..limits::REQUEST_LINE].contains(&b'\n')
        {
            return Err(Refusal::LineTooLong);
        }
        let from = seen.max(empty);
        if let Some(end) = input[from..].iter().rposition(|&b| b == b'\n') {
            let lines = &input[empty..=from + end];
            let parsed = match parse_lines(lines) {
                Err(Refusal::UnknownVersion) => parse_lines_of_another_version(lines),
                parsed => parsed,
            };
            if let Some((request, length)) = parsed? {
                return Ok(Some((request, empty + length)));
            }
        }
        if input.len() < limits::HEAD { Ok(None) } else { Err(Refusal::HeadTooLarge) }
    }
}

/// Whether the request is a HEAD, as far as it has come.
pub(crate) fn is_head(input: &[u8]) -> bool {
    input[empty_lines(input)..].starts_with(b"HEAD ")
}

/// The bytes of leading empty lines.
fn empty_lines(input: &[u8]) -> usize {
    2 * input.chunks(2).take_while(|pair| pair == b"\r\n").count()
}

// Not inlined, so that a connection that waits has none of its 4 KiB on the stack.
#[inline(never)]
fn parse_lines<T>(lines: &[u8]) -> Result<Option<Parsed<T>>, Refusal>
where
    T: for<'h> From<&'h Head<'h>>,
{
    let mut headers = [const { MaybeUninit::uninit() }; limits::HEADERS];
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

/// httparse knows only HTTP/1.0 and HTTP/1.1. Any other 1.x is served as 1.1 (RFC 9110, section
/// 2.5). Another major version gets 505; what is no version at all is malformed.
// Not inlined, for the same 4 KiB, and cold: we know of no client that sends one.
#[cold]
#[inline(never)]
fn parse_lines_of_another_version<T>(lines: &[u8]) -> Result<Option<Parsed<T>>, Refusal>
where
    T: for<'h> From<&'h Head<'h>>,
{
    // httparse checks the version last, so what is before it is valid.
    let mut words = lines.splitn(3, |&b| b == b' ');
    let mut word = || words.next().unwrap_or_default();
    let (method, target, version) = (word(), word(), word());
    let headers = match version.strip_prefix(b"HTTP/") {
        Some([b'1', b'.', b'0'..=b'9', b'\r', b'\n', headers @ ..]) => headers,
        Some([b'0'..=b'9', b'.', b'0'..=b'9', b'\r', b'\n', ..]) => {
            return Err(Refusal::UnknownVersion);
        }
        _ => return Err(Refusal::Malformed("no HTTP/1.1 behind the request target")),
    };
    let [method, target] = [method, target].map(|word| str::from_utf8(word).unwrap_or_default());
    match httparse::parse_headers(headers, &mut [httparse::EMPTY_HEADER; limits::HEADERS]) {
        Ok(httparse::Status::Complete((length, parsed))) => {
            let length = lines.len() - headers.len() + length;
            check_line_ends(&lines[..length])?;
            Ok(Some((Request::read(method, target, false, parsed)?, length)))
        }
        Ok(httparse::Status::Partial) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// Every line must end with CR LF. A recipient may accept a bare LF (RFC 9112, section 2.2), but where
/// one parser does and the next does not, requests can be smuggled.
fn check_line_ends(head: &[u8]) -> Result<(), Refusal> {
    let mut last = b'\r';
    for &byte in head {
        if byte == b'\n' && last != b'\r' {
            return Err(Refusal::Malformed("a line ends without CR"));
        }
        last = byte;
    }
    Ok(())
}

impl<T: for<'h> From<&'h Head<'h>>> Request<T> {
    fn read(method: &str, target: &str, is_1_0: bool, headers: &[Header]) -> Result<Self, Refusal> {
        let path = path(method, target)?;
        let mut framing = Fields::default();
        let (mut hosts, mut expects_continue) = (0, false);
        for header in headers {
            if framing.read(header)? {
                continue;
            }
            let value = header.value.trim_ascii();
            if header.name.eq_ignore_ascii_case("host") {
                hosts += 1;
                host(value).ok_or(Refusal::Malformed("bad Host"))?;
            } else if header.name.eq_ignore_ascii_case("expect") {
                if !value.eq_ignore_ascii_case(b"100-continue") {
                    return Err(Refusal::UnknownExpectation);
                }
                expects_continue = true;
            }
        }
        if hosts != 1 && !(is_1_0 && hosts == 0) {
            return Err(Refusal::Malformed("exactly one Host header is required"));
        }
        Ok(Self {
            method: match method {
                "GET" => Method::Get,
                "HEAD" => Method::Head,
                "OPTIONS" => Method::Options,
                _ => Method::Other,
            },
            is_1_0,
            keep_alive: framing.keep_alive(is_1_0),
            // RFC 9110, section 10.1.1: ignored in HTTP/1.0.
            expects_continue: expects_continue && !is_1_0,
            body: framing.framing(is_1_0)?.unwrap_or(Framing::NONE),
            info: T::from(&Head { path, headers }),
        })
    }
}

/// The path of the target, without a query (RFC 9112, section 3.2).
fn path<'a>(method: &str, target: &'a str) -> Result<&'a str, Refusal> {
    let bad = Refusal::Malformed("bad request target");
    // Parsers disagree on these: where a fragment begins, whether a backslash is a slash, and which
    // character a byte over 0x7F belongs to. The other characters that RFC 3986 forbids
    // (`"<>[]^`, backtick, `{|}`, a bare `%`) do no harm to a service that only compares paths,
    // and browsers do send some of them.
    if target.bytes().any(|b| b >= 0x80 || b == b'#' || b == b'\\') {
        return Err(bad);
    }
    let path = if target.starts_with('/') {
        target
    } else if let Some(rest) = absolute(target) {
        let (authority, path) = rest.split_at(rest.find(['/', '?']).unwrap_or(rest.len()));
        // This host overrides `Host`; it must not be empty (RFC 9110, section 4.2.1).
        if host(authority.as_bytes()).is_none_or(<[u8]>::is_empty) {
            return Err(Refusal::Malformed("bad host in the request target"));
        }
        path
    } else if method == "CONNECT" || (method == "OPTIONS" && target == "*") {
        // CONNECT names an authority, which has no path.
        "/"
    } else {
        return Err(bad);
    };
    Ok(path.split('?').next().unwrap_or_default())
}

/// What follows the scheme of an absolute target, which clients send to a proxy.
fn absolute(target: &str) -> Option<&str> {
    let (scheme, rest) = target.split_once("://")?;
    let known = ["http", "https"].iter().any(|s| scheme.eq_ignore_ascii_case(s));
    known.then_some(rest)
}

/// `docs/http.md` lists what is valid, and its test sends that; here are the limits, and what a test
/// over a socket cannot split.
#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;
    use proptest::sample::select;

    use super::*;

    /// Keeps the path.
    #[derive(Debug, PartialEq, Eq)]
    struct Path(String);

    impl From<&Head<'_>> for Path {
        fn from(head: &Head) -> Self {
            Self(head.path.to_owned())
        }
    }

    type Result = std::result::Result<Option<Parsed<Path>>, Refusal>;

    fn parse(input: &[u8]) -> Result {
        Parser::default().parse(input)
    }

    fn head(lines: &str) -> Result {
        parse(format!("{}\r\n\r\n", lines.replace('\n', "\r\n")).as_bytes())
    }

    fn request(lines: &str) -> Request<Path> {
        head(lines).unwrap().unwrap().0
    }

    #[test]
    fn a_plain_request() {
        assert_eq!(
            request("GET / HTTP/1.1\nHost: greeter.test:80"),
            Request {
                method: Method::Get,
                is_1_0: false,
                keep_alive: true,
                expects_continue: false,
                body: Framing::NONE,
                info: Path("/".to_owned()),
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

    /// For HTTP/1.2, which is parsed in another way, as for 1.1.
    #[test]
    fn limits_are_where_they_are_said_to_be() {
        for version in ["1.1", "1.2"] {
            let headers = |count: usize| {
                let start = format!("GET / HTTP/{version}\nHost: x");
                head(&format!("{start}{}", "\nX: y".repeat(count - 1)))
            };
            assert!(headers(128).is_ok());
            assert_eq!(headers(129), Err(Refusal::HeadTooLarge));
        }

        let line = |length: usize| parse(format!("GET /{}", "a".repeat(length - 5)).as_bytes());
        assert_eq!(line(16 * 1024), Ok(None));
        assert_eq!(line(16 * 1024 + 1), Err(Refusal::LineTooLong));

        let method = |length: usize| head(&format!("{} / HTTP/1.1\nHost: x", "A".repeat(length)));
        assert!(method(32).is_ok());
        assert_eq!(method(33), Err(Refusal::MethodTooLong));
        assert_eq!(method(100_000), Err(Refusal::MethodTooLong));

        let large = |length: usize| {
            let start = "GET / HTTP/1.1\r\nHost: x\r\nX: ";
            parse(format!("{start}{}\r\n\r\n", "a".repeat(length - start.len() - 4)).as_bytes())
        };
        assert!(large(64 * 1024).is_ok());
        assert_eq!(large(64 * 1024 + 1), Err(Refusal::HeadTooLarge));

        assert!(parse(b"\r\n\r\nGET / HTTP/1.1\r\nHost: x\r\n\r\n").unwrap().is_some());
        assert!(parse(b"\r\n\r\n\r\n").is_err());
        assert_eq!(parse(b"\r"), Ok(None));
        assert!(parse(b"\r\r\n").is_err());
    }

    /// The result of a head that comes in pieces of these sizes.
    fn parse_in_pieces(input: &[u8], sizes: &[usize]) -> Result {
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
            (1..limits::HEAD).prop_map(move |n| format!("{start}{}{end}", "a".repeat(n)))
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

    proptest! {
        #[test]
        fn a_head_means_the_same_however_it_is_cut(
            input in fragments(),
            sizes in vec(1..5000_usize, 1..8),
        ) {
            let whole = parse(&input);
            // With one byte less there is no head.
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
