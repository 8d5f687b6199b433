//! How the end of a message is found, and whether its connection stays open (RFC 9112, sections
//! 6.3 and 9.3). Requests and answers have these headers in common.

use httparse::Header;

use crate::grammar::{is_token_byte, split};
use crate::refusal::Refusal;

/// How the end of a body is found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Framing {
    /// After this many bytes; 0 is no body.
    Length(u64),
    /// At the last chunk.
    Chunked,
}

impl Framing {
    /// No body.
    pub const NONE: Self = Self::Length(0);
}

/// What the headers of a message say about its end, and about its connection.
#[derive(Debug, Default)]
pub struct Fields {
    length: ContentLength,
    codings: Codings,
    options: ConnectionOptions,
}

/// The value of one or more `Content-Length` lines.
#[derive(Clone, Copy, Debug, Default)]
pub struct ContentLength(Option<u64>);

impl ContentLength {
    /// Reads the value of one line, without the space around it.
    ///
    /// # Errors
    ///
    /// The value is not a number, or another line has a different one.
    #[inline] // smaller: a leaf is close to its budget
    pub fn read(&mut self, value: &[u8]) -> Result<(), Refusal> {
        let length = number(value).ok_or(Refusal::Malformed("bad Content-Length"))?;
        if self.0.is_some_and(|known| known != length) {
            return Err(Refusal::Malformed("two values of Content-Length"));
        }
        self.0 = Some(length);
        Ok(())
    }

    /// The length in bytes, if there is such a line.
    #[must_use]
    pub const fn get(self) -> Option<u64> {
        self.0
    }
}

/// The options of one or more `Connection` lines.
#[derive(Clone, Copy, Debug, Default)]
pub struct ConnectionOptions {
    close: bool,
    keep_alive: bool,
}

impl ConnectionOptions {
    /// Reads the value of one line.
    #[inline] // smaller: a leaf is close to its budget
    pub fn read(&mut self, value: &[u8]) {
        for option in value.split(|&b| b == b',').map(<[u8]>::trim_ascii) {
            self.close |= option.eq_ignore_ascii_case(b"close");
            self.keep_alive |= option.eq_ignore_ascii_case(b"keep-alive");
        }
    }

    /// Whether the connection stays open. One of HTTP/1.0 closes unless the message asks for
    /// `keep-alive`.
    #[must_use]
    pub const fn keep_alive(self, is_1_0: bool) -> bool {
        !self.close && (!is_1_0 || self.keep_alive)
    }
}

/// The codings in `Transfer-Encoding`. Several lines are one list.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Codings {
    #[default]
    NotThere,
    Empty,
    Chunked,
    /// Only unknown codings.
    Unknown,
    /// Unknown codings, followed by chunked.
    UnknownThenChunked,
    Malformed,
}

impl Codings {
    /// Adds a member of the list (RFC 9112, sections 6.1 and 7). Chunked must come last, only once,
    /// and without parameters.
    fn and(self, member: &[u8]) -> Self {
        let name = member.split(|&b| b == b';').next().unwrap_or_default().trim_ascii_end();
        let is_chunked = name.eq_ignore_ascii_case(b"chunked");
        let is_token = !name.is_empty() && name.iter().all(|&b| is_token_byte(b));
        match self {
            _ if !is_token || (is_chunked && name != member) => Self::Malformed,
            Self::NotThere | Self::Empty if is_chunked => Self::Chunked,
            Self::Unknown if is_chunked => Self::UnknownThenChunked,
            Self::NotThere | Self::Empty | Self::Unknown => Self::Unknown,
            Self::Chunked | Self::UnknownThenChunked | Self::Malformed => Self::Malformed,
        }
    }
}

impl Fields {
    /// Reads a header. Returns whether it is one of the three.
    ///
    /// # Errors
    ///
    /// The header is malformed, or contradicts one before it.
    pub fn read(&mut self, header: &Header) -> Result<bool, Refusal> {
        if header.name.eq_ignore_ascii_case("content-length") {
            self.length.read(header.value.trim_ascii())?;
        } else if header.name.eq_ignore_ascii_case("transfer-encoding") {
            if self.codings == Codings::NotThere {
                self.codings = Codings::Empty;
            }
            // Empty members mean nothing (RFC 9110, section 5.6.1).
            for member in split(header.value, b',').filter(|member| !member.is_empty()) {
                self.codings = self.codings.and(member);
            }
        } else if header.name.eq_ignore_ascii_case("connection") {
            self.options.read(header.value);
        } else {
            return Ok(false);
        }
        Ok(true)
    }

    /// The framing that the headers ask for, if any.
    ///
    /// # Errors
    ///
    /// The end of the message cannot be found, or is ambiguous.
    pub fn framing(&self, is_1_0: bool) -> Result<Option<Framing>, Refusal> {
        let malformed = |what| Err(Refusal::Malformed(what));
        match (self.codings, self.length.get()) {
            (Codings::NotThere, length) => Ok(length.map(Framing::Length)),
            (_, Some(_)) => malformed("both Transfer-Encoding and Content-Length"),
            _ if is_1_0 => malformed("Transfer-Encoding in HTTP/1.0"),
            (Codings::Chunked, None) => Ok(Some(Framing::Chunked)),
            (Codings::UnknownThenChunked, None) => Err(Refusal::UnknownCoding),
            // The end cannot be found (RFC 9112, section 6.3).
            (Codings::Unknown, None) => malformed("the last Transfer-Encoding is not chunked"),
            (Codings::Empty, None) => malformed("empty Transfer-Encoding"),
            (Codings::Malformed, None) => {
                malformed("bad Transfer-Encoding, or chunked more than once or not last")
            }
        }
    }

    /// Whether the connection stays open: see [`ConnectionOptions::keep_alive`].
    #[must_use]
    pub const fn keep_alive(&self, is_1_0: bool) -> bool {
        self.options.keep_alive(is_1_0)
    }
}

/// A number of digits only, which fits.
fn number(value: &[u8]) -> Option<u64> {
    // parse() alone would accept a sign. It refuses an empty value.
    let digits = value.iter().all(u8::is_ascii_digit);
    str::from_utf8(value).ok().filter(|_| digits)?.parse().ok()
}
