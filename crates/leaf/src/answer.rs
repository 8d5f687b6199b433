//! What a leaf answers: given to the library, or, where a connection ends, written by itself.

use std::fmt::Write;
use std::time::SystemTime;

use may_minihttp::Response;

const CLOSE: &str = "Connection: close";
const ALLOW: &str = "Allow: GET, HEAD";

/// Of every answer, behind those two. It has no more headers, unlike greeter's, which browsers
/// read: a leaf is asked by greeter only, which reads none, and each costs every proxy between.
const CONTENT_TYPE: &str = "Content-Type: text/plain; charset=utf-8";

/// An answer. Small, for those of a row of requests are remembered.
#[derive(Clone, Copy)]
pub(super) struct Answer {
    status: usize,
    reason: &'static str,
    text: &'static str,
    /// Whether ` (host)` follows the text.
    host: bool,
    /// Whether it is the connection's last.
    pub(super) last: bool,
}

impl Answer {
    pub(super) const fn new(status: usize, reason: &'static str, text: &'static str) -> Self {
        Self { status, reason, text, host: false, last: false }
    }

    /// 200 and this text. The reason is the library's own for 200.
    pub(super) const fn ok(text: &'static str) -> Self {
        Self::new(200, "Ok", text)
    }

    /// 200 and `WORD (host)`.
    pub(super) const fn word(word: &'static str) -> Self {
        Self { host: true, ..Self::ok(word) }
    }

    /// The same without its body, as HEAD wants it. The library takes Content-Length from
    /// the body, so that is 0.
    pub(super) const fn without_body(self) -> Self {
        Self { text: "", host: false, ..self }
    }

    /// Hands it to the library, which adds Server, Date and Content-Length.
    pub(super) fn give(self, response: &mut Response, host: &str) {
        if self.status != 200 {
            response.status_code(self.status, self.reason);
        }
        if self.last {
            response.header(CLOSE);
        }
        if self.status == 405 {
            response.header(ALLOW);
        }
        response.header(CONTENT_TYPE);
        let body = response.body_mut();
        for part in self.body(host) {
            body.extend_from_slice(part.as_bytes());
        }
    }

    /// Writes it as the library would, to the byte.
    pub(super) fn write(self, out: &mut String, host: &str) {
        let (status, reason) = (self.status, self.reason);
        let date = httpdate::HttpDate::from(SystemTime::now());
        let length: usize = self.body(host).iter().map(|part| part.len()).sum();
        // Writing to a String does not fail.
        let _ = write!(
            out,
            "HTTP/1.1 {status} {reason}\r\nServer: M\r\nDate: {date}\r\nContent-Length: {length}"
        );
        let close = self.last.then_some(CLOSE);
        let allow = (self.status == 405).then_some(ALLOW);
        for header in close.into_iter().chain(allow).chain([CONTENT_TYPE]) {
            out.push_str("\r\n");
            out.push_str(header);
        }
        out.push_str("\r\n\r\n");
        out.extend(self.body(host));
    }

    fn body(self, host: &str) -> [&str; 2] {
        [self.text, if self.host { host } else { "" }]
    }
}
