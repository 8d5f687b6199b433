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
    pub(crate) content: Content,
    pub(crate) body: Cow<'static, [u8]>,
}

impl Answer {
    /// A word of the edge's own, whatever the client prefers.
    pub(crate) const fn plain(status: Status, text: &'static str) -> Self {
        Self { status, content: Content::PLAIN, body: Cow::Borrowed(text.as_bytes()) }
    }
}

/// What a body is: its type, and the header lines it comes with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Content(pub(crate) &'static str, pub(crate) &'static str);

impl Content {
    /// Never negotiated.
    pub(crate) const PLAIN: Self = Self("text/plain; charset=utf-8", "");
    pub(crate) const TEXT: Self = Self("text/plain; charset=utf-8", "Vary: Accept\r\n");
    pub(crate) const JSON: Self = Self("application/json", "Vary: Accept\r\n");
}

/// A status the edge knows (RFC 9110, section 15): its line, and the headers it comes with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Status(&'static str, &'static str);

impl Status {
    pub(crate) const OK: Self = Self("200 OK", "");
    pub(crate) const NO_CONTENT: Self = Self("204 No Content", ALLOW);
    pub(crate) const BAD_REQUEST: Self = Self("400 Bad Request", "");
    pub(crate) const METHOD_NOT_ALLOWED: Self = Self("405 Method Not Allowed", ALLOW);
    pub(crate) const REQUEST_TIMEOUT: Self = Self("408 Request Timeout", "");
    pub(crate) const CONTENT_TOO_LARGE: Self = Self("413 Content Too Large", "");
    pub(crate) const URI_TOO_LONG: Self = Self("414 URI Too Long", "");
    pub(crate) const EXPECTATION_FAILED: Self = Self("417 Expectation Failed", "");
    pub(crate) const HEAD_TOO_LARGE: Self = Self("431 Request Header Fields Too Large", "");
    pub(crate) const NOT_IMPLEMENTED: Self = Self("501 Not Implemented", "");
    pub(crate) const BAD_GATEWAY: Self = Self("502 Bad Gateway", "");
    pub(crate) const UNAVAILABLE: Self = Self("503 Service Unavailable", "Retry-After: 1\r\n");
    pub(crate) const GATEWAY_TIMEOUT: Self = Self("504 Gateway Timeout", "");
    pub(crate) const UNKNOWN_VERSION: Self = Self("505 HTTP Version Not Supported", "");
}

impl Status {
    /// Its three digits.
    pub(crate) fn code(self) -> &'static str {
        self.0.split(' ').next().unwrap_or_default()
    }
}

const ALLOW: &str = "Allow: GET, HEAD, OPTIONS\r\n";

impl From<Refusal> for Answer {
    fn from(Refusal(status, text): Refusal) -> Self {
        Self::plain(status, text)
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
    let Answer { status, content, body } = answer;
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
    put(&["HTTP/1.1 ", status.0, "\r\nDate: ", date, "\r\n"]);
    // 204 has no content, and so neither type nor length (RFC 9110, 8.6).
    if *status != Status::NO_CONTENT {
        let mut length = String::with_capacity(20);
        // Writing to a String does not fail.
        let _ = write!(length, "{}", body.len());
        put(&["Content-Type: ", content.0, "\r\nContent-Length: ", &length, "\r\n"]);
    }
    put(&["X-Content-Type-Options: nosniff\r\nCache-Control: no-store\r\n", content.1]);
    put(&[status.1, connection, "\r\n"]);
    if !head_only {
        out.extend_from_slice(body);
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
        let answer = Answer::plain(Status::OK, "Héllo");
        let head = "HTTP/1.1 200 OK\r\nDate: DATE\r\n\
            Content-Type: text/plain; charset=utf-8\r\nContent-Length: 6\r\n\
            X-Content-Type-Options: nosniff\r\nCache-Control: no-store\r\n";
        assert_eq!(bytes(&answer, false, Connection::Open), format!("{head}\r\nHéllo"));
        assert_eq!(bytes(&answer, true, Connection::Open), format!("{head}\r\n"));
        assert_eq!(
            bytes(&answer, true, Connection::Close),
            format!("{head}Connection: close\r\n\r\n")
        );
        let negotiated = Answer { content: Content::TEXT, ..answer };
        assert_eq!(
            bytes(&negotiated, false, Connection::KeepAlive),
            format!("{head}Vary: Accept\r\nConnection: keep-alive\r\n\r\nHéllo")
        );
    }

    #[test]
    fn no_content_has_no_length() {
        let answer = Answer::plain(Status::NO_CONTENT, "");
        assert_eq!(answer.status.code(), "204");
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
