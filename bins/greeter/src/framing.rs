//! How the end of a message is found, and whether its connection lives on (RFC 9112,
//! sections 6.3 and 9.3): the headers that requests and answers have in common. No I/O.

use httparse::Header;

use crate::request::Refusal;

/// How the end of a body is found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Framing {
    /// After this many bytes; 0 is no body.
    Length(u64),
    Chunked,
}

/// What the headers say of it.
#[derive(Debug, Default)]
pub(crate) struct Fields {
    length: Option<u64>,
    chunked: bool,
    close: bool,
    keep_alive: bool,
}

impl Fields {
    /// Takes note of a header. Says whether it is one of these.
    pub(crate) fn read(&mut self, header: &Header) -> Result<bool, Refusal> {
        let (name, value) = (header.name, header.value.trim_ascii());
        if name.eq_ignore_ascii_case("content-length") {
            let length = content_length(value).ok_or(Refusal::malformed("bad Content-Length"))?;
            if self.length.is_some_and(|known| known != length) {
                return Err(Refusal::malformed("two values of Content-Length"));
            }
            self.length = Some(length);
        } else if name.eq_ignore_ascii_case("transfer-encoding") {
            if self.chunked {
                return Err(Refusal::malformed("chunked twice"));
            }
            if !value.eq_ignore_ascii_case(b"chunked") {
                return Err(Refusal::UNKNOWN_CODING);
            }
            self.chunked = true;
        } else if name.eq_ignore_ascii_case("connection") {
            for option in value.split(|&b| b == b',').map(<[u8]>::trim_ascii) {
                self.close |= option.eq_ignore_ascii_case(b"close");
                self.keep_alive |= option.eq_ignore_ascii_case(b"keep-alive");
            }
        } else {
            return Ok(false);
        }
        Ok(true)
    }

    /// The framing they ask for, if any.
    pub(crate) fn framing(&self, is_1_0: bool) -> Result<Option<Framing>, Refusal> {
        match (self.chunked, self.length) {
            (true, Some(_)) => Err(Refusal::malformed("both Transfer-Encoding and Content-Length")),
            (true, None) if is_1_0 => Err(Refusal::malformed("Transfer-Encoding in HTTP/1.0")),
            (true, None) => Ok(Some(Framing::Chunked)),
            (false, length) => Ok(length.map(Framing::Length)),
        }
    }

    /// Whether the connection lives on: HTTP/1.0's closes unless asked not to.
    pub(crate) fn keep_alive(&self, is_1_0: bool) -> bool {
        !self.close && (!is_1_0 || self.keep_alive)
    }
}

/// Digits alone, and no more than fit.
fn content_length(value: &[u8]) -> Option<u64> {
    if value.is_empty() || !value.iter().all(u8::is_ascii_digit) {
        return None;
    }
    str::from_utf8(value).ok()?.parse().ok()
}
