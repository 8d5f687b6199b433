//! What a service behind says: one short line of text, in an answer of HTTP/1 (RFC 9112).
//! No I/O.

use std::borrow::Cow;
use std::mem::MaybeUninit;

use httparse::Status;
use ureq::http::StatusCode;

use crate::body::{Decoder, MAX_BODY};
use crate::framing::{self, Framing};
use crate::request::Refusal;

/// The longest head of an answer, in bytes.
const MAX_HEAD: usize = 4096;
/// The most headers in it.
const MAX_HEADERS: usize = 64;
/// The longest line, in bytes.
const MAX_LINE: usize = 4096;
const TOO_LONG: &str = "the answer is over 4 KiB";

/// What is wrong with an answer.
pub(crate) type Fault = Cow<'static, str>;

/// Follows an answer to its end. However it is cut, the result is the same.
#[derive(Debug, Default)]
pub(crate) struct Reader {
    /// Once it is there.
    head: Option<Head>,
    line: Vec<u8>,
}

#[derive(Debug)]
struct Head {
    body: Decoder,
    /// The end of the connection is the end of the body.
    until_close: bool,
    /// Whether the connection may be used again.
    keep_alive: bool,
}

impl Reader {
    /// Goes on through `input`. Says how much of it was used; what is left, unless the
    /// answer is done, is to be shown again when there is more.
    pub(crate) fn advance(&mut self, input: &[u8]) -> Result<usize, Fault> {
        let mut used = 0;
        while self.head.is_none() {
            let Some((head, length)) = head(&input[used..])? else {
                return Ok(used);
            };
            self.head = head;
            used += length;
        }
        if let Some(head) = &mut self.head {
            let line = &mut self.line;
            let result = head.body.advance(&input[used..], |more| line.extend_from_slice(more));
            // What was too long stays so, whatever came behind it.
            if line.len() > MAX_LINE {
                return Err(TOO_LONG.into());
            }
            used += result.map_err(malformed)?;
        }
        Ok(used)
    }

    /// Whether all of it is there.
    pub(crate) fn is_done(&self) -> bool {
        self.head.as_ref().is_some_and(|head| !head.until_close && head.body.is_done())
    }

    /// Whether the end of the input is its end.
    pub(crate) fn ends_with_input(&self) -> bool {
        self.head.as_ref().is_some_and(|head| head.until_close)
    }

    /// Whether the connection may be used again, once the answer is done.
    pub(crate) fn keeps_alive(&self) -> bool {
        self.head.as_ref().is_some_and(|head| head.keep_alive)
    }

    /// The line, without the newline some put at its end.
    pub(crate) fn line(self) -> Result<String, Fault> {
        let mut line = String::from_utf8(self.line).map_err(|_| "the answer is not UTF-8")?;
        line.truncate(line.trim_end_matches(['\r', '\n']).len());
        if line.is_empty() {
            return Err("the answer is empty".into());
        }
        if line.contains(char::is_control) {
            return Err("the answer holds control characters".into());
        }
        Ok(line)
    }
}

/// The head at the front and its length, once it is there; no head if it only says that
/// another will follow (RFC 9110, section 15.2).
// Apart, so that a call that waits has none of its 2 KiB on the stack.
#[inline(never)]
fn head(input: &[u8]) -> Result<Option<(Option<Head>, usize)>, Fault> {
    let input = &input[..input.len().min(MAX_HEAD)];
    let mut headers = [const { MaybeUninit::uninit() }; MAX_HEADERS];
    let mut parsed = httparse::Response::new(&mut []);
    let config = httparse::ParserConfig::default();
    let length = match config.parse_response_with_uninit_headers(&mut parsed, input, &mut headers) {
        Ok(Status::Complete(length)) => length,
        Ok(Status::Partial) if input.len() < MAX_HEAD => return Ok(None),
        Ok(_) => return Err("the answer's head is over 4 KiB".into()),
        Err(error) => return Err(format!("not an HTTP answer: {error}").into()),
    };
    match parsed.code {
        Some(200) => {}
        // 101 would be the answer to an Upgrade.
        Some(100 | 102..=199) => return Ok(Some((None, length))),
        code => {
            let code = code.unwrap_or_default();
            // The reason in our words: theirs may say anything.
            let reason = StatusCode::from_u16(code).ok().and_then(|s| s.canonical_reason());
            let reason = reason.map(|reason| format!(" {reason}")).unwrap_or_default();
            return Err(format!("answered {code}{reason}").into());
        }
    }
    let mut fields = framing::Fields::default();
    for header in parsed.headers.iter() {
        fields.read(header).map_err(malformed)?;
    }
    let is_1_0 = parsed.version == Some(0);
    let framing = fields.framing(is_1_0).map_err(malformed)?;
    if matches!(framing, Some(Framing::Length(length)) if length > MAX_LINE as u64) {
        return Err(TOO_LONG.into());
    }
    // Until the connection's end: no line is as long as the longest body.
    let body = Decoder::new(framing.unwrap_or(Framing::Length(MAX_BODY)));
    let head = Head {
        body: body.map_err(malformed)?,
        until_close: framing.is_none(),
        keep_alive: framing.is_some() && fields.keep_alive(is_1_0),
    };
    Ok(Some((Some(head), length)))
}

fn malformed(Refusal(_, what): Refusal) -> Fault {
    format!("not an HTTP answer: {what}").into()
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;
    use proptest::sample::select;

    use super::*;
    use crate::fuzzing::reply::{Outcome, answer, read};

    fn whole(input: &str) -> Result<Option<Outcome>, Fault> {
        read(input.replace('\n', "\r\n").as_bytes(), &[0])
    }

    fn line(input: &str) -> String {
        whole(input).unwrap().unwrap().line.unwrap()
    }

    fn refused(input: &str) -> String {
        match whole(input) {
            Err(fault) => fault.into(),
            Ok(outcome) => outcome.unwrap().line.unwrap_err().into(),
        }
    }

    #[test]
    fn one_line_in_any_framing() {
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
                "HTTP/1.1 100 Continue\n\nHTTP/1.1 103 Early Hints\nLink: x\n\nHTTP/1.1 200 OK\nContent-Length: 8\n\nEmelia\n",
                true,
                "",
            ),
        ] {
            let end = input.replace('\n', "\r\n").len() - rest.len();
            let expected = Outcome { line: Ok("Emelia".into()), keeps_alive, end };
            assert_eq!(whole(input), Ok(Some(expected)), "{input}");
        }
    }

    #[test]
    fn half_an_answer_is_none() {
        let answer = b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nEmelia";
        for length in 0..answer.len() {
            assert_eq!(read(&answer[..length], &[1]), Ok(None), "{length} bytes");
        }
        assert_eq!(
            whole("HTTP/1.1 200 OK\nTransfer-Encoding: chunked\n\n6\nEmelia\n0\n"),
            Ok(None)
        );
    }

    #[test]
    fn what_is_not_one_line_is_said_to_be_what_it_is() {
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
            ("HTTP/1.1 200 OK\nContent-Length: 2\n\n\n", "the answer is empty"),
            ("HTTP/1.1 200 OK\n\na\tb", "the answer holds control characters"),
        ] {
            assert_eq!(refused(input), fault, "{input}");
        }
    }

    #[test]
    fn limits_are_where_they_are_said_to_be() {
        let text = "x".repeat(4096);
        assert_eq!(line(&format!("HTTP/1.1 200 OK\n\n{text}")), text);
        assert_eq!(refused(&format!("HTTP/1.1 200 OK\n\n{text}x")), "the answer is over 4 KiB");
        let chunks = "1\nx\n".repeat(4096);
        let chunked = |end: &str| {
            format!("HTTP/1.1 200 OK\nTransfer-Encoding: chunked\n\n{chunks}{end}0\n\n")
        };
        assert_eq!(line(&chunked("")), text);
        assert_eq!(refused(&chunked("1\nx\n")), "the answer is over 4 KiB");

        let start = "HTTP/1.1 200 OK\nContent-Length: 1\nX: ";
        // Three line ends have become two bytes each, and so will the last two.
        let head =
            |length: usize| format!("{start}{}\n\nx", "x".repeat(length - start.len() - 2 - 4));
        assert_eq!(line(&head(4096)), "x");
        assert_eq!(refused(&head(4097)), "the answer's head is over 4 KiB");
    }

    /// Pieces of answers, good and bad, in any order.
    fn fragments() -> impl Strategy<Value = Vec<u8>> {
        const FRAGMENTS: &[&str] = &[
            "HTTP/1.1 200 OK\r\n",
            "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
            "HTTP/1.1 100 Continue\r\n\r\n",
            "HTTP/1.0 200 OK\r\n",
            "Content-Length: 5\r\n",
            "Connection: close\r\n",
            "5\r\nhello\r\n",
            "0\r\n\r\n",
            "hello",
            "\r\n",
            "é",
        ];
        let text = vec(select(FRAGMENTS), 0..6).prop_map(|fragments| fragments.concat());
        let long = (0..9000_usize)
            .prop_map(|n| format!("HTTP/1.1 200 OK\r\nX: {}\r\n\r\nhello", "x".repeat(n)));
        prop_oneof![
            8 => text.prop_map(String::into_bytes),
            1 => long.prop_map(String::into_bytes),
            1 => vec(any::<u8>(), 0..200),
        ]
    }

    proptest! {
        #[test]
        fn an_answer_means_the_same_however_it_is_cut(
            input in fragments(),
            sizes in vec(b'1'..b'z', 1..8),
        ) {
            answer(&[&sizes[..], b"\n", &input].concat());
        }
    }
}
