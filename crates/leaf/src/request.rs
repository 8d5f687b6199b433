//! One request: what a handler sees of it, and whether another can follow.

use std::io::Read;

use http1::framing::{ConnectionOptions, ContentLength};
use http1::{Refusal, limits};
use httparse::Header;

use crate::answer::Answer;

/// What a handler is asked.
#[derive(Debug)]
pub struct Request<'a> {
    method: &'a str,
    target: &'a str,
    headers: &'a [Header<'a>],
    body: Option<&'a [u8]>,
}

#[allow(clippy::must_use_candidate)] // each is for its value
impl<'a> Request<'a> {
    pub(crate) fn new(request: &'a may_minihttp::Request, body: Option<&'a [u8]>) -> Self {
        Self { method: request.method(), target: request.path(), headers: request.headers(), body }
    }

    /// `GET`, as it was sent.
    pub fn method(&self) -> &'a str {
        self.method
    }

    /// Whether it is GET or HEAD. An answer to HEAD loses its body by itself.
    pub fn is_get(&self) -> bool {
        matches!(self.method, "GET" | "HEAD")
    }

    /// The path as it was sent, percent-encoded, without the query.
    pub fn path(&self) -> &'a str {
        self.target.split_once('?').map_or(self.target, |(path, _)| path)
    }

    /// What follows the `?`.
    pub fn query(&self) -> Option<&'a str> {
        self.target.split_once('?').map(|(_, query)| query)
    }

    /// The value of the first header with this name, in any case.
    pub fn header(&self, name: &str) -> Option<&'a [u8]> {
        self.headers().find(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, value)| value)
    }

    /// All headers, 16 at most.
    pub fn headers(&self) -> impl Iterator<Item = (&'a str, &'a [u8])> {
        self.headers.iter().map(|header| (header.name, header.value))
    }

    /// The body: 64 KiB at most, and whole. `None` where the client waits to be told to send it
    /// (`Expect: 100-continue`), which the library cannot do: whatever is answered is final.
    pub fn body(&self) -> Option<&'a [u8]> {
        self.body
    }
}

/// What decides whether another request can follow on the connection.
pub(crate) struct Framing {
    /// The client wants it to be the last (RFC 9112, section 9.3), or it has a body: while the
    /// library reads one it writes no answers.
    pub(crate) last: bool,
    pub(crate) length: u64,
    /// The client holds a body back until it is told to send it (RFC 9110, section 10.1.1).
    pub(crate) expects: bool,
}

impl Framing {
    /// Reads it from the head. The error answers a request whose body cannot be told from the next
    /// request (RFC 9112, section 6.3). The library panics on a length that is no number.
    pub(crate) fn of(request: &may_minihttp::Request) -> Result<Self, Answer> {
        let mut options = ConnectionOptions::default();
        let (mut expects, mut length) = (false, ContentLength::default());
        for header in request.headers() {
            let is = |name: &str| header.name.eq_ignore_ascii_case(name);
            if is("connection") {
                options.read(header.value);
            } else if is("content-length") {
                length.read(header.value).map_err(|_| Answer::text::<400>("bad Content-Length"))?;
            } else if is("transfer-encoding") {
                return Err(Answer::text::<400>("Transfer-Encoding is not supported here"));
            } else if is("expect") {
                expects = true;
            }
        }
        let length = length.get().unwrap_or(0);
        let last = length > 0 || !options.keep_alive(request.version() == 0);
        Ok(Self { last, length, expects })
    }

    /// The answer to a body that is too long.
    pub(crate) fn refuse(&self) -> Option<Answer> {
        let too_long =
            || Answer::with_reason(413, "Content Too Large", Refusal::BodyTooLarge.to_string());
        (self.length > limits::BODY).then(too_long)
    }
}

/// A request with its body. The head is a copy: the library's is gone once it reads the body.
pub(crate) struct Whole {
    method: String,
    target: String,
    headers: Vec<(String, Vec<u8>)>,
    body: Vec<u8>,
}

impl Whole {
    /// Reads the body, if all of it comes.
    pub(crate) fn read(request: may_minihttp::Request, framing: &Framing) -> Option<Self> {
        let copy = |header: &Header| (header.name.to_owned(), header.value.to_owned());
        let headers = request.headers().iter().map(copy).collect();
        let (method, target) = (request.method().to_owned(), request.path().to_owned());
        let length = usize::try_from(framing.length).ok()?;
        let mut body = Vec::with_capacity(length);
        // Framing has made sure that body() does not panic. What it reads ends with the body.
        let whole = request.body().read_to_end(&mut body).is_ok() && body.len() == length;
        whole.then_some(Self { method, target, headers, body })
    }

    pub(crate) fn ask(&self, handler: impl FnOnce(&Request) -> Answer) -> Answer {
        let headers: Vec<_> =
            self.headers.iter().map(|(name, value)| Header { name, value }).collect();
        let (method, target) = (&self.method, &self.target);
        handler(&Request { method, target, headers: &headers, body: Some(&self.body) })
    }
}
