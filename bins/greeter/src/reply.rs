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
const MAX_HEADERS: usize = 128;
/// The longest line, in bytes.
const MAX_LINE: usize = 4096;

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
            let result = head.body.advance(&input[used..], |content| {
                // What is over the limit is not kept.
                let room = (MAX_LINE + 1).saturating_sub(line.len());
                line.extend_from_slice(&content[..content.len().min(room)]);
            });
            used += result.map_err(malformed)?;
            if line.len() > MAX_LINE {
                return Err("the answer is over 4 KiB".into());
            }
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

    /// Whether the connection may be used again.
    pub(crate) fn keeps_alive(&self) -> bool {
        self.is_done() && self.head.as_ref().is_some_and(|head| head.keep_alive)
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
fn head(input: &[u8]) -> Result<Option<(Option<Head>, usize)>, Fault> {
    let mut headers = [const { MaybeUninit::uninit() }; MAX_HEADERS];
    let mut parsed = httparse::Response::new(&mut []);
    let config = httparse::ParserConfig::default();
    let length = match config.parse_response_with_uninit_headers(&mut parsed, input, &mut headers) {
        Ok(Status::Complete(length)) if length <= MAX_HEAD => length,
        Ok(Status::Partial) if input.len() < MAX_HEAD => return Ok(None),
        Ok(_) => return Err("the answer's head is over 4 KiB".into()),
        Err(error) => return Err(format!("not an HTTP answer: {error}").into()),
    };
    match parsed.code {
        Some(200) => {}
        // 101 would be the answer to an Upgrade.
        Some(100 | 102..=199) => return Ok(Some((None, length))),
        code => {
            let status = code.and_then(|code| StatusCode::from_u16(code).ok()).unwrap_or_default();
            return Err(format!("answered {status}").into());
        }
    }
    let mut fields = framing::Fields::default();
    for header in parsed.headers.iter() {
        fields.read(header).map_err(malformed)?;
    }
    let is_1_0 = parsed.version == Some(0);
    let framing = fields.framing(is_1_0).map_err(malformed)?;
    // A body until the connection's end has no length: the longest is longer than any line.
    let body = Decoder::new(framing.unwrap_or(Framing::Length(MAX_BODY)));
    let head = Head {
        body: body.map_err(|_| "the answer is over 4 KiB")?,
        until_close: framing.is_none(),
        keep_alive: fields.keep_alive(is_1_0),
    };
    Ok(Some((Some(head), length)))
}

fn malformed(Refusal(_, what): Refusal) -> Fault {
    format!("not an HTTP answer: {what}").into()
}
