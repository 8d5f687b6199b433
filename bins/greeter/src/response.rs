//! The bytes of an answer (RFC 9112, section 4). No I/O.

use std::borrow::Cow;
use std::fmt::Write as _;
use std::time::{SystemTime, UNIX_EPOCH};

use crate::request::Refusal;

/// Tells a client to go on and send its body.
pub(crate) const CONTINUE: &[u8] = b"HTTP/1.1 100 Continue\r\n\r\n";

/// An answer, without what belongs to its connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Answer {
    pub(crate) status: Status,
    pub(crate) body: Cow<'static, str>,
}

/// The statuses the edge knows (RFC 9110, section 15).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Status {
    Ok,
    NoContent,
    BadRequest,
    MethodNotAllowed,
    RequestTimeout,
    ContentTooLarge,
    UriTooLong,
    ExpectationFailed,
    HeaderFieldsTooLarge,
    NotImplemented,
    BadGateway,
    ServiceUnavailable,
    GatewayTimeout,
    VersionNotSupported,
}

impl Status {
    fn line(self) -> &'static str {
        match self {
            Self::Ok => "200 OK",
            Self::NoContent => "204 No Content",
            Self::BadRequest => "400 Bad Request",
            Self::MethodNotAllowed => "405 Method Not Allowed",
            Self::RequestTimeout => "408 Request Timeout",
            Self::ContentTooLarge => "413 Content Too Large",
            Self::UriTooLong => "414 URI Too Long",
            Self::ExpectationFailed => "417 Expectation Failed",
            Self::HeaderFieldsTooLarge => "431 Request Header Fields Too Large",
            Self::NotImplemented => "501 Not Implemented",
            Self::BadGateway => "502 Bad Gateway",
            Self::ServiceUnavailable => "503 Service Unavailable",
            Self::GatewayTimeout => "504 Gateway Timeout",
            Self::VersionNotSupported => "505 HTTP Version Not Supported",
        }
    }

    /// Headers that come with the status.
    fn headers(self) -> &'static str {
        match self {
            Self::NoContent | Self::MethodNotAllowed => "Allow: GET, HEAD, OPTIONS\r\n",
            Self::ServiceUnavailable => "Retry-After: 1\r\n",
            _ => "",
        }
    }
}

impl From<Refusal> for Answer {
    fn from(refusal: Refusal) -> Self {
        let (status, body) = match refusal {
            Refusal::Malformed(what) => (Status::BadRequest, what),
            Refusal::LineTooLong => (Status::UriTooLong, "request line over 16 KiB"),
            Refusal::HeadTooLarge => {
                (Status::HeaderFieldsTooLarge, "head over 64 KiB, or more than 128 headers")
            }
            Refusal::BodyTooLarge => (Status::ContentTooLarge, "body over 64 KiB"),
            Refusal::UnknownCoding => {
                (Status::NotImplemented, "Transfer-Encoding other than chunked")
            }
            Refusal::UnknownVersion => (Status::VersionNotSupported, "this is HTTP/1.1"),
            Refusal::UnknownExpectation => {
                (Status::ExpectationFailed, "Expect other than 100-continue")
            }
            Refusal::TooSlow => (Status::RequestTimeout, "the request took more than 10 s"),
            Refusal::TooManyConnections => (Status::ServiceUnavailable, "too many connections"),
        };
        Self { status, body: Cow::Borrowed(body) }
    }
}

/// What the `Connection` header says, if there is one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Connection {
    /// HTTP/1.1's default needs no word.
    Open,
    /// For HTTP/1.0, which needs one.
    KeepAlive,
    Close,
}

/// Writes an answer to the end of `out`; `head_only` leaves the body out and nothing else.
pub(crate) fn write(
    out: &mut Vec<u8>,
    answer: &Answer,
    head_only: bool,
    connection: Connection,
    date: &str,
) {
    let Answer { status, body } = answer;
    let connection = match connection {
        Connection::Open => "",
        Connection::KeepAlive => "Connection: keep-alive\r\n",
        Connection::Close => "Connection: close\r\n",
    };
    let mut put = |parts: &[&str]| {
        for part in parts {
            out.extend_from_slice(part.as_bytes());
        }
    };
    put(&["HTTP/1.1 ", status.line(), "\r\nDate: ", date, "\r\n"]);
    // 204 has no content, and so neither type nor length (RFC 9110, 8.6).
    if *status != Status::NoContent {
        let mut length = String::with_capacity(20);
        // Writing to a String does not fail.
        let _ = write!(length, "{}", body.len());
        put(&["Content-Type: text/plain; charset=utf-8\r\nContent-Length: ", &length, "\r\n"]);
    }
    put(&["X-Content-Type-Options: nosniff\r\nCache-Control: no-store\r\n"]);
    put(&[status.headers(), connection, "\r\n"]);
    if !head_only {
        put(&[body]);
    }
}

/// The time of the last `Date` header: it is written once a second.
#[derive(Debug, Default)]
pub(crate) struct Date {
    second: u64,
    text: String,
}

impl Date {
    /// The header's value at `now`.
    pub(crate) fn at(&mut self, now: SystemTime) -> &str {
        let second = now.duration_since(UNIX_EPOCH).map_or(0, |d| d.as_secs());
        if self.text.is_empty() || second != self.second {
            self.second = second;
            self.text = httpdate::fmt_http_date(now);
        }
        &self.text
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn bytes(answer: &Answer, head_only: bool, connection: Connection) -> String {
        let mut out = Vec::new();
        write(&mut out, answer, head_only, connection, "DATE");
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn every_byte_of_an_answer() {
        let answer = Answer { status: Status::Ok, body: "Héllo".into() };
        let head = "HTTP/1.1 200 OK\r\nDate: DATE\r\n\
            Content-Type: text/plain; charset=utf-8\r\nContent-Length: 6\r\n\
            X-Content-Type-Options: nosniff\r\nCache-Control: no-store\r\n";
        assert_eq!(bytes(&answer, false, Connection::Open), format!("{head}\r\nHéllo"));
        assert_eq!(bytes(&answer, true, Connection::Open), format!("{head}\r\n"));
        assert_eq!(
            bytes(&answer, true, Connection::Close),
            format!("{head}Connection: close\r\n\r\n")
        );
    }

    #[test]
    fn no_content_has_no_length() {
        let answer = Answer { status: Status::NoContent, body: "".into() };
        assert_eq!(
            bytes(&answer, false, Connection::KeepAlive),
            "HTTP/1.1 204 No Content\r\nDate: DATE\r\nX-Content-Type-Options: nosniff\r\n\
             Cache-Control: no-store\r\nAllow: GET, HEAD, OPTIONS\r\nConnection: keep-alive\r\n\r\n"
        );
    }

    #[test]
    fn the_date_moves_with_the_second() {
        let mut date = Date::default();
        let at = |ms| UNIX_EPOCH + Duration::from_millis(ms);
        assert_eq!(date.at(at(784_111_777_000)), "Sun, 06 Nov 1994 08:49:37 GMT");
        assert_eq!(date.at(at(784_111_777_999)), "Sun, 06 Nov 1994 08:49:37 GMT");
        assert_eq!(date.at(at(784_111_778_000)), "Sun, 06 Nov 1994 08:49:38 GMT");
    }
}
