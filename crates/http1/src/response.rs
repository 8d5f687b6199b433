//! The bytes of an answer (RFC 9112, section 4).

use std::borrow::Cow;
use std::time::{SystemTime, UNIX_EPOCH};

use http::StatusCode;

/// Tells a client to go on and send its body.
pub const CONTINUE: &[u8] = b"HTTP/1.1 100 Continue\r\n\r\n";

/// An answer, without what belongs to its connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// The status.
    pub status: StatusCode,
    /// The value of `Content-Type`.
    pub media_type: &'static str,
    /// Further header lines, each with its CR LF, written in this order.
    pub headers: [&'static str; 3],
    /// The content; none with [`StatusCode::NO_CONTENT`].
    pub body: Cow<'static, [u8]>,
}

/// What happens to the connection after an answer, as its `Connection` header says (RFC 9112, section
/// 9.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Persistence {
    /// It stays open. HTTP/1.1 needs no header for that.
    Open,
    /// It stays open. An HTTP/1.0 client has to be told so.
    KeepAlive,
    /// It is closed.
    Close,
}

/// Appends the head of an answer to `out`. What follows it is the body, except after HEAD. `date`
/// is the value of `Date`: see [`Date`].
pub fn write_head(out: &mut Vec<u8>, answer: &Answer, persistence: Persistence, date: &str) {
    let Answer { status, media_type, headers, body } = answer;
    let connection = match persistence {
        Persistence::Open => "",
        Persistence::KeepAlive => "Connection: keep-alive\r\n",
        Persistence::Close => "Connection: close\r\n",
    };
    let mut put = |parts: &[&str]| {
        for part in parts {
            out.extend_from_slice(part.as_bytes());
        }
    };
    put(&["HTTP/1.1 ", status.as_str(), " ", reason(*status), "\r\nDate: ", date, "\r\n"]);
    // 204 has no content, so neither type nor length (RFC 9110, section 8.6).
    if *status != StatusCode::NO_CONTENT {
        let length = body.len().to_string();
        put(&["Content-Type: ", media_type, "\r\nContent-Length: ", &length, "\r\n"]);
    }
    put(headers);
    put(&[connection, "\r\n"]);
}

/// The reason phrase.
fn reason(status: StatusCode) -> &'static str {
    match status {
        // RFC 9110 has given it this name.
        StatusCode::PAYLOAD_TOO_LARGE => "Content Too Large",
        status => status.canonical_reason().unwrap_or_default(),
    }
}

/// Formats the value of the `Date` header, at most once a second.
#[derive(Debug, Default)]
pub struct Date {
    second: u64,
    text: String,
}

impl Date {
    /// The value at `now`.
    pub fn at(&mut self, now: SystemTime) -> &str {
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

    fn head(answer: &Answer, persistence: Persistence) -> String {
        let mut out = Vec::new();
        write_head(&mut out, answer, persistence, "DATE");
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn every_byte_of_a_head() {
        let answer = Answer {
            status: StatusCode::OK,
            media_type: "text/plain",
            headers: ["A: b\r\nC: d\r\n", "", "E: f\r\n"],
            body: Cow::Borrowed("Héllo".as_bytes()),
        };
        let expected = "HTTP/1.1 200 OK\r\nDate: DATE\r\nContent-Type: text/plain\r\n\
            Content-Length: 6\r\nA: b\r\nC: d\r\nE: f\r\n";
        for (persistence, line) in [
            (Persistence::Open, ""),
            (Persistence::KeepAlive, "Connection: keep-alive\r\n"),
            (Persistence::Close, "Connection: close\r\n"),
        ] {
            assert_eq!(head(&answer, persistence), format!("{expected}{line}\r\n"));
        }
    }

    #[test]
    fn no_content_has_no_length() {
        let answer = Answer {
            status: StatusCode::NO_CONTENT,
            media_type: "text/plain",
            headers: ["Allow: GET\r\n", "", ""],
            body: Cow::Borrowed(b""),
        };
        assert_eq!(
            head(&answer, Persistence::KeepAlive),
            "HTTP/1.1 204 No Content\r\nDate: DATE\r\nAllow: GET\r\n\
             Connection: keep-alive\r\n\r\n"
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
