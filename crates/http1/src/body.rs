//! Reads the body of a message, and finds its end (RFC 9112, sections 6 and 7).

use crate::framing::Framing;
use crate::grammar::is_token_byte;
use crate::limits;
use crate::refusal::Refusal;

/// Reads a body to its end.
#[derive(Debug)]
pub(crate) struct Decoder {
    state: State,
    /// How many more bytes the body may have, chunk lines included.
    left: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// In the body, or in a chunk, which CR LF follows.
    Bytes {
        left: u64,
        then: Then,
    },
    ChunkSize,
    Trailer,
    Done,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Then {
    Done,
    ChunkEnd,
}

/// A piece of a body.
struct Step {
    /// Its length in bytes.
    used: usize,
    /// Whether it is content, not framing.
    is_content: bool,
}

impl Decoder {
    pub(crate) fn new(framing: Framing) -> Result<Self, Refusal> {
        let state = match framing {
            Framing::NONE => State::Done,
            Framing::Length(length) if length > limits::BODY => return Err(Refusal::BodyTooLarge),
            Framing::Length(left) => State::Bytes { left, then: Then::Done },
            Framing::Chunked => State::ChunkSize,
        };
        Ok(Self { state, left: limits::BODY })
    }

    pub(crate) fn is_done(&self) -> bool {
        self.state == State::Done
    }

    /// Continues with `input`, and calls `content` with each piece of the content. Returns how many
    /// bytes of the input belong to the body. If the body is not complete then, the next input is
    /// the rest of this one, and more.
    pub(crate) fn advance(
        &mut self,
        input: &[u8],
        mut content: impl FnMut(&[u8]),
    ) -> Result<usize, Refusal> {
        let mut used = 0;
        while let Some(step) = self.step(&input[used..])? {
            if step.is_content {
                content(&input[used..used + step.used]);
            }
            self.left = self.left.checked_sub(step.used as u64).ok_or(Refusal::BodyTooLarge)?;
            used += step.used;
        }
        Ok(used)
    }

    /// Takes one step. `None` if that needs more input, or the body is done.
    fn step(&mut self, input: &[u8]) -> Result<Option<Step>, Refusal> {
        let is_content = matches!(self.state, State::Bytes { left: 1.., .. });
        let (next, used) = match self.state {
            State::Done => return Ok(None),
            State::Bytes { left: 0, then: Then::Done } => (State::Done, 0),
            State::Bytes { left: 0, then: Then::ChunkEnd } => match line(input)? {
                None => return Ok(None),
                Some(b"") => (State::ChunkSize, 2),
                Some(_) => return Err(Refusal::Malformed("a chunk is longer than its size")),
            },
            State::Bytes { .. } if input.is_empty() => return Ok(None),
            State::Bytes { left, then } => {
                let used = input.len().min(usize::try_from(left).unwrap_or(usize::MAX));
                (State::Bytes { left: left - used as u64, then }, used)
            }
            State::ChunkSize => {
                let Some(line) = line(input)? else {
                    return Ok(None);
                };
                let used = line.len() + 2;
                match chunk_size(line).ok_or(Refusal::Malformed("bad chunk size or extension"))? {
                    0 => (State::Trailer, used),
                    left => (State::Bytes { left, then: Then::ChunkEnd }, used),
                }
            }
            State::Trailer => match line(input)? {
                None => return Ok(None),
                Some(b"") => (State::Done, 2),
                Some(line) if is_field(line) => (State::Trailer, line.len() + 2),
                Some(_) => return Err(Refusal::Malformed("bad trailer")),
            },
        };
        self.state = next;
        Ok(Some(Step { used, is_content }))
    }
}

/// The size in a chunk's first line: hex digits, and then any extensions (RFC 9112, section 7.1).
/// httparse has a parser too, but it takes no digits for 0, and accepts anything as an extension.
fn chunk_size(line: &[u8]) -> Option<u64> {
    let (digits, mut extensions) = split_run(line, |b| b.is_ascii_hexdigit());
    while !extensions.is_empty() {
        extensions = after_extension(extensions)?;
    }
    u64::from_str_radix(str::from_utf8(digits).ok()?, 16).ok()
}

/// What follows the first extension: `;name`, `;name=token` or `;name="quoted"`
/// (RFC 9112, section 7.1.1).
fn after_extension(text: &[u8]) -> Option<&[u8]> {
    let text = without_space(without_space(text).strip_prefix(b";")?);
    let text = after_token(text)?;
    match without_space(text).strip_prefix(b"=").map(without_space) {
        None => Some(text),
        Some([b'"', quoted @ ..]) => after_quoted(quoted),
        Some(value) => after_token(value),
    }
}

fn after_token(text: &[u8]) -> Option<&[u8]> {
    let (token, rest) = split_run(text, is_token_byte);
    (!token.is_empty()).then_some(rest)
}

/// What follows the closing quote (RFC 9110, section 5.6.4).
fn after_quoted(mut text: &[u8]) -> Option<&[u8]> {
    loop {
        text = match text {
            [b'"', rest @ ..] => return Some(rest),
            [b'\\', byte, rest @ ..] | [byte, rest @ ..] if is_text_byte(*byte) => rest,
            _ => return None,
        }
    }
}

/// name ":" value (RFC 9112, section 5).
fn is_field(line: &[u8]) -> bool {
    match after_token(line) {
        Some([b':', value @ ..]) => value.iter().all(|&b| is_text_byte(b)),
        _ => false,
    }
}

/// What is allowed in a field's value, and between quotes.
fn is_text_byte(byte: u8) -> bool {
    byte == b'\t' || (byte >= b' ' && byte != 0x7f)
}

fn without_space(text: &[u8]) -> &[u8] {
    split_run(text, |b| b == b' ' || b == b'\t').1
}

/// The leading bytes of that kind, and what follows them.
fn split_run(text: &[u8], is_of_it: impl Fn(u8) -> bool) -> (&[u8], &[u8]) {
    text.split_at(text.iter().position(|&b| !is_of_it(b)).unwrap_or(text.len()))
}

/// The first line, without its CR LF; `None` while it is incomplete.
fn line(input: &[u8]) -> Result<Option<&[u8]>, Refusal> {
    let bad = Refusal::Malformed("bad line in a chunked body");
    match input.iter().take(limits::CHUNK_LINE).position(|&b| b == b'\n') {
        Some(end) if end > 0 && input[end - 1] == b'\r' => {
            let line = &input[..end - 1];
            if line.contains(&b'\r') { Err(bad) } else { Ok(Some(line)) }
        }
        Some(_) => Err(bad),
        None if input.len() >= limits::CHUNK_LINE => Err(bad),
        None => Ok(None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The content, and what follows the body.
    type Decoded = (Vec<u8>, Vec<u8>);

    /// Feeds `input` in pieces of `size`, as reads would bring it; `None` if the body did
    /// not end.
    fn decode(framing: Framing, input: &[u8], size: usize) -> Result<Option<Decoded>, Refusal> {
        let mut decoder = Decoder::new(framing)?;
        let (mut content, mut pending) = (Vec::new(), Vec::new());
        let mut pieces = input.chunks(size);
        loop {
            let used = decoder.advance(&pending, |more| content.extend_from_slice(more))?;
            pending.drain(..used);
            if decoder.is_done() {
                pending.extend(pieces.flatten());
                return Ok(Some((content, pending)));
            }
            match pieces.next() {
                Some(piece) => pending.extend(piece),
                None => return Ok(None),
            }
        }
    }

    /// The same in one piece, byte by byte, and in threes.
    fn decode_all(framing: Framing, input: &[u8]) -> Result<Option<Decoded>, Refusal> {
        let whole = decode(framing, input, usize::MAX);
        assert_eq!(whole, decode(framing, input, 1), "{}", input.escape_ascii());
        assert_eq!(whole, decode(framing, input, 3), "{}", input.escape_ascii());
        whole
    }

    #[test]
    fn the_next_request_is_found_behind_the_body() {
        let next = b"GET / HTTP/1.1\r\n";
        for (framing, body, content) in [
            (Framing::NONE, &b""[..], &b""[..]),
            (Framing::Length(5), b"hello", b"hello"),
            (Framing::Chunked, b"0\r\n\r\n", b""),
            (Framing::Chunked, b"5\r\nhello\r\n0\r\n\r\n", b"hello"),
            (
                Framing::Chunked,
                b"1\r\n\n\r\n00A;name=value\r\n0123456789\r\n0\r\nTrailer: x\r\n\r\n",
                b"\n0123456789",
            ),
        ] {
            let input = [body, next].concat();
            assert_eq!(decode_all(framing, &input), Ok(Some((content.to_vec(), next.to_vec()))));
            for cut in 0..body.len() {
                assert_eq!(decode_all(framing, &body[..cut]), Ok(None));
            }
        }
    }

    #[test]
    fn a_body_has_an_end() {
        let over = usize::try_from(limits::BODY).unwrap() + 1;
        assert_eq!(decode(Framing::Length(limits::BODY + 1), b"", 1), Err(Refusal::BodyTooLarge));
        assert!(decode(Framing::Length(limits::BODY), &vec![b'x'; over], 999).unwrap().is_some());
        let endless = b"1\r\nx\r\n".repeat(over);
        assert_eq!(decode(Framing::Chunked, &endless, 999), Err(Refusal::BodyTooLarge));
        let line = vec![b'1'; limits::CHUNK_LINE];
        assert!(decode(Framing::Chunked, &line, 999).is_err());
        let trailers = [b"0\r\n".to_vec(), b"a: b\r\n".repeat(over)].concat();
        assert_eq!(decode(Framing::Chunked, &trailers, 999), Err(Refusal::BodyTooLarge));
    }
}
