//! What a request's head says about its body, and about the end of its connection.

use http1::framing::{ConnectionOptions, ContentLength};
use http1::limits;
use may_minihttp::Request;

use crate::answer::Answer;

/// What decides whether another request can follow on the connection.
pub(super) struct Framing {
    /// The client wants it to be the last (RFC 9112, section 9.3), or it has a body. While the
    /// library reads one it writes no answer, and loses its place in what follows; nobody who
    /// asks for a word sends one.
    pub(super) last: bool,
    /// It has a body, and the client does not hold it back until it is told to send it (RFC
    /// 9110, section 10.1.1): the library cannot say `100 Continue`.
    pub(super) body_follows: bool,
}

impl Framing {
    /// Reads it from the head.
    ///
    /// # Errors
    ///
    /// The answer to a request whose body cannot be told from the next request (RFC 9112,
    /// section 6.3), or is too long.
    pub(super) fn of(request: &Request) -> Result<Self, Answer> {
        let bad = |text| Answer::new(400, "Bad Request", text);
        let mut options = ConnectionOptions::default();
        let (mut expects, mut length) = (false, ContentLength::default());
        for header in request.headers() {
            let is = |name: &str| header.name.eq_ignore_ascii_case(name);
            if is("connection") {
                options.read(header.value);
            } else if is("content-length") {
                length.read(header.value).map_err(|_| bad("bad Content-Length"))?;
            } else if is("transfer-encoding") {
                return Err(bad("Transfer-Encoding is not supported here"));
            } else if is("expect") {
                expects = true;
            }
        }
        let length = length.get().unwrap_or(0);
        if length > limits::BODY {
            return Err(Answer::new(413, "Content Too Large", limits::BODY_TEXT));
        }
        let (body, is_1_0) = (length > 0, request.version() == 0);
        Ok(Self { last: body || !options.keep_alive(is_1_0), body_follows: body && !expects })
    }
}
