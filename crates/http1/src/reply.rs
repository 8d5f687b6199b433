//! Reads the answer to a call, which has to be short, and HTTP/1 (RFC 9112).

use std::fmt;
use std::mem::MaybeUninit;

use http::StatusCode;
use httparse::Status::{Complete, Partial};

use crate::body::Decoder;
use crate::framing::{Fields, Framing};
use crate::limits;
use crate::refusal::Refusal;

/// What is wrong with an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Error {
    /// See [`limits::ANSWER_HEAD`].
    HeadTooLong,
    /// See [`limits::ANSWER`].
    TooLong,
    /// Its head is not HTTP.
    Head(httparse::Error),
    /// Its framing, or its body, is not HTTP.
    Framing(Refusal),
    /// Its status is not 200, but this one.
    Status(u16),
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::HeadTooLong => {
                write!(f, "the answer's head is over {} KiB", limits::ANSWER_HEAD / 1024)
            }
            Self::TooLong => write!(f, "the answer is over {} KiB", limits::ANSWER / 1024),
            Self::Head(error) => write!(f, "not an HTTP answer: {error}"),
            Self::Framing(refusal) => write!(f, "not an HTTP answer: {refusal}"),
            Self::Status(code) => {
                write!(f, "answered {code}")?;
                // The standard reason phrase: the answer's own may say anything.
                let status = StatusCode::from_u16(*code).ok();
                match status.and_then(|status| status.canonical_reason()) {
                    Some(reason) => write!(f, " {reason}"),
                    None => Ok(()),
                }
            }
        }
    }
}

impl std::error::Error for Error {}

impl From<Refusal> for Error {
    fn from(refusal: Refusal) -> Self {
        Self::Framing(refusal)
    }
}

/// Reads an answer to its end. The result does not depend on how the input is split.
#[derive(Debug, Default)]
pub struct Reader {
    /// `None` until it is complete.
    head: Option<ReplyHead>,
    content: Vec<u8>,
}

#[derive(Debug)]
struct ReplyHead {
    body: Decoder,
    /// The body ends with the connection.
    until_close: bool,
    /// Whether the connection may be used again.
    keep_alive: bool,
}

impl Reader {
    /// Continues with `input`, of which it needs [`limits::ANSWER_INPUT`] bytes at most. Returns how
    /// many bytes it used. If the answer is not complete then, the next input is the rest of this
    /// one, and more.
    ///
    /// # Errors
    ///
    /// The answer is not HTTP, is too long, or has another status than 200.
    pub fn advance(&mut self, input: &[u8]) -> Result<usize, Error> {
        let mut used = 0;
        while self.head.is_none() {
            let Some((head, length)) = head(&input[used..])? else {
                return Ok(used);
            };
            self.head = head;
            used += length;
        }
        if let Some(head) = &mut self.head {
            let content = &mut self.content;
            let result = head.body.advance(&input[used..], |more| content.extend_from_slice(more));
            // First, so that the error does not depend on how the input is split.
            if content.len() > limits::ANSWER {
                return Err(Error::TooLong);
            }
            used += result?;
        }
        Ok(used)
    }

    /// Whether the whole answer has been read.
    #[must_use]
    pub fn is_done(&self) -> bool {
        self.head.as_ref().is_some_and(|head| !head.until_close && head.body.is_done())
    }

    /// Whether the answer ends where the input ends.
    #[must_use]
    pub fn ends_with_input(&self) -> bool {
        self.head.as_ref().is_some_and(|head| head.until_close)
    }

    /// Whether the connection may be used again, once the answer is done.
    #[must_use]
    pub fn keeps_alive(&self) -> bool {
        self.head.as_ref().is_some_and(|head| head.keep_alive)
    }

    /// The content of the answer.
    #[must_use]
    pub fn into_content(self) -> Vec<u8> {
        self.content
    }
}

/// The head, and its length; `None` while it is incomplete. For an interim head (RFC 9110, section 15.2)
/// the length alone.
// Not inlined, so that a call that waits has none of its 2 KiB on the stack.
#[inline(never)]
fn head(input: &[u8]) -> Result<Option<(Option<ReplyHead>, usize)>, Error> {
    let input = &input[..input.len().min(limits::ANSWER_HEAD)];
    let mut headers = [const { MaybeUninit::uninit() }; limits::ANSWER_HEADERS];
    let mut parsed = httparse::Response::new(&mut []);
    let config = httparse::ParserConfig::default();
    let length = match config.parse_response_with_uninit_headers(&mut parsed, input, &mut headers) {
        Ok(Complete(length)) => length,
        Ok(Partial) if input.len() < limits::ANSWER_HEAD => return Ok(None),
        Ok(Partial) => return Err(Error::HeadTooLong),
        Err(error) => return Err(Error::Head(error)),
    };
    match parsed.code {
        Some(200) => {}
        // 101 is not one of them: it answers an Upgrade, which nobody asked for.
        Some(100 | 102..=199) => return Ok(Some((None, length))),
        code => return Err(Error::Status(code.unwrap_or_default())),
    }
    let mut fields = Fields::default();
    for header in parsed.headers.iter() {
        fields.read(header)?;
    }
    let is_1_0 = parsed.version == Some(0);
    let framing = fields.framing(is_1_0)?;
    if matches!(framing, Some(Framing::Length(length)) if length > limits::ANSWER as u64) {
        return Err(Error::TooLong);
    }
    let head = ReplyHead {
        // Without a length the content ends with the connection, or exceeds limits::ANSWER first.
        body: Decoder::new(framing.unwrap_or(Framing::Length(limits::BODY)))?,
        until_close: framing.is_none(),
        keep_alive: framing.is_some() && fields.keep_alive(is_1_0),
    };
    Ok(Some((Some(head), length)))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A whole answer.
    #[derive(Debug, PartialEq, Eq)]
    struct Whole {
        content: Vec<u8>,
        keeps_alive: bool,
        /// Where it ends.
        end: usize,
    }

    /// Reads an answer that comes in pieces of `size`; `None` if it is not complete.
    fn read(input: &[u8], size: usize) -> Result<Option<Whole>, Error> {
        let mut reader = Reader::default();
        let (mut start, mut end) = (0, 0);
        while !reader.is_done() && end < input.len() {
            end = input.len().min(end.saturating_add(size));
            start += reader.advance(&input[start..end])?;
        }
        let keeps_alive = reader.keeps_alive();
        let is_whole = reader.is_done() || reader.ends_with_input();
        Ok(is_whole.then(|| Whole { content: reader.into_content(), keeps_alive, end: start }))
    }

    fn whole(input: &str) -> Result<Option<Whole>, Error> {
        read(input.replace('\n', "\r\n").as_bytes(), usize::MAX)
    }

    fn content(input: &str) -> String {
        String::from_utf8(whole(input).unwrap().unwrap().content).unwrap()
    }

    fn refused(input: &str) -> String {
        whole(input).unwrap_err().to_string()
    }

    #[test]
    fn one_content_in_any_framing() {
        for (input, keeps_alive, rest) in [
            ("HTTP/1.1 200 OK\ncontent-length: 6\n\nEmelia", true, ""),
            ("HTTP/1.1 200\nContent-Length: 6\nContent-Length: 6\n\nEmeliaHTTP", true, "HTTP"),
            (
                "HTTP/1.1 200 OK\nTransfer-Encoding: chunked\n\n2\nEm\n4;x\nelia\n0\nA: b\n\n",
                true,
                "",
            ),
            ("HTTP/1.1 200 OK\nContent-Length: 6\nConnection: x, Close\n\nEmelia", false, ""),
            ("HTTP/1.0 200 OK\nContent-Length: 6\n\nEmelia", false, ""),
            ("HTTP/1.0 200 OK\nContent-Length: 6\nConnection: keep-alive\n\nEmelia", true, ""),
            ("HTTP/1.1 200 OK\n\nEmelia", false, ""),
            (
                "HTTP/1.1 100 Continue\n\nHTTP/1.1 103 Early Hints\nLink: x\n\nHTTP/1.1 200 OK\nContent-Length: 6\n\nEmelia",
                true,
                "",
            ),
        ] {
            let end = input.replace('\n', "\r\n").len() - rest.len();
            let expected = Whole { content: b"Emelia".into(), keeps_alive, end };
            assert_eq!(whole(input), Ok(Some(expected)), "{input}");
        }
    }

    #[test]
    fn half_an_answer_is_none() {
        let answer = b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nEmelia";
        for length in 0..answer.len() {
            assert_eq!(read(&answer[..length], 1), Ok(None), "{length} bytes");
        }
        assert_eq!(
            whole("HTTP/1.1 200 OK\nTransfer-Encoding: chunked\n\n6\nEmelia\n0\n"),
            Ok(None)
        );
    }

    #[test]
    fn what_is_wrong_is_said() {
        for (input, fault) in [
            ("HTTP/1.1 404 Made Up\nContent-Length: 0\n\n", "answered 404 Not Found"),
            ("HTTP/1.1 299 Made Up\nContent-Length: 0\n\n", "answered 299"),
            ("HTTP/1.1 000 Made Up\n\n", "answered 0"),
            (
                "HTTP/1.1 101 Switching Protocols\nUpgrade: x\n\n",
                "answered 101 Switching Protocols",
            ),
            ("HTTP/1.1 200 OK\nContent-Length: 4097\n\n", "the answer is over 4 KiB"),
            ("HTTP/1.1 200 OK\nContent-Length: 99999999\n\n", "the answer is over 4 KiB"),
            ("HTTP/1.1 200 OK\nContent-Length: x\n\n", "not an HTTP answer: bad Content-Length"),
            (
                "HTTP/1.1 200 OK\nContent-Length: 1\nTransfer-Encoding: chunked\n\n",
                "not an HTTP answer: both Transfer-Encoding and Content-Length",
            ),
            (
                "HTTP/1.1 200 OK\nTransfer-Encoding: gzip, chunked\n\n",
                "not an HTTP answer: Transfer-Encoding other than chunked",
            ),
            (
                "HTTP/1.1 200 OK\nTransfer-Encoding: gzip\n\n",
                "not an HTTP answer: the last Transfer-Encoding is not chunked",
            ),
            (
                "HTTP/1.1 200 OK\nTransfer-Encoding: chunked\n\nx\n",
                "not an HTTP answer: bad chunk size or extension",
            ),
            ("HTTP/2.0 200 OK\n\n", "not an HTTP answer: invalid HTTP version"),
        ] {
            assert_eq!(refused(input), fault, "{input}");
        }
    }

    #[test]
    fn limits_are_where_they_are_said_to_be() {
        let text = "x".repeat(4096);
        assert_eq!(content(&format!("HTTP/1.1 200 OK\n\n{text}")), text);
        assert_eq!(refused(&format!("HTTP/1.1 200 OK\n\n{text}x")), "the answer is over 4 KiB");
        let chunks = "1\nx\n".repeat(4096);
        let chunked = |end: &str| {
            format!("HTTP/1.1 200 OK\nTransfer-Encoding: chunked\n\n{chunks}{end}0\n\n")
        };
        assert_eq!(content(&chunked("")), text);
        assert_eq!(refused(&chunked("1\nx\n")), "the answer is over 4 KiB");

        let start = "HTTP/1.1 200 OK\nContent-Length: 1\nX: ";
        // Three line ends have become two bytes each, and so will the last two.
        let head =
            |length: usize| format!("{start}{}\n\nx", "x".repeat(length - start.len() - 2 - 4));
        assert_eq!(content(&head(4096)), "x");
        assert_eq!(refused(&head(4097)), "the answer's head is over 4 KiB");
    }
}
