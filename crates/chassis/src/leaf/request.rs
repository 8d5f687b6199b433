//! What a request's head says about its body, and about the end of its connection.

use may_minihttp::Request;

use super::answer::Answer;

/// The longest request body that is read away, in bytes.
const MAX_BODY: u64 = 64 * 1024;

/// What decides whether another request can follow on the connection.
pub(super) struct Framing {
    /// The client wants it to be the last (RFC 9112, section 9.3).
    pub(super) close: bool,
    /// It has a body.
    pub(super) body: bool,
    /// The client holds the body back until it is told to send it (RFC 9110, section
    /// 10.1.1). The library cannot say `100 Continue`.
    pub(super) withheld: bool,
}

impl Framing {
    /// Reads it from the head.
    ///
    /// # Errors
    ///
    /// The answer to a request whose body cannot be told from the next request (RFC 9112,
    /// section 6.3), or is too long.
    pub(super) fn of(request: &Request) -> Result<Self, Answer> {
        let bad = |text| Err(Answer::new(400, "Bad Request", text));
        let (mut close, mut keep_alive) = (false, request.version() == 1);
        let (mut expects, mut length) = (false, None);
        for header in request.headers() {
            let is = |name: &str| header.name.eq_ignore_ascii_case(name);
            if is("connection") {
                for token in header.value.split(|&b| b == b',').map(<[u8]>::trim_ascii) {
                    close |= token.eq_ignore_ascii_case(b"close");
                    keep_alive |= token.eq_ignore_ascii_case(b"keep-alive");
                }
            } else if is("content-length") {
                match number(header.value) {
                    Some(value) if length.is_none_or(|known| known == value) => {
                        length = Some(value);
                    }
                    _ => return bad("bad Content-Length"),
                }
            } else if is("transfer-encoding") {
                return bad("Transfer-Encoding is not supported here");
            } else if is("expect") {
                expects = true;
            }
        }
        let length = length.unwrap_or(0);
        if length > MAX_BODY {
            return Err(Answer::new(413, "Content Too Large", "body over 64 KiB"));
        }
        let body = length > 0;
        Ok(Self { close: close || !keep_alive, body, withheld: expects && body })
    }
}

/// Digits and nothing else: `parse` alone would take a sign.
fn number(value: &[u8]) -> Option<u64> {
    let digits = value.iter().all(u8::is_ascii_digit);
    std::str::from_utf8(value).ok().filter(|_| digits)?.parse().ok()
}
