//! The requests of one connection, one after the other. No I/O: it is shown what has come,
//! and says what it makes of it. The connection drives it, and so do the fuzzer and its
//! second reading (`fuzzing`).

use crate::body::Decoder;
use crate::request::{self, Parser, Refusal, Request};

/// The most input held at a time, in bytes: the longest head.
pub(crate) const MAX_INPUT: usize = request::MAX_HEAD;

/// Follows requests to their ends. However they are cut, the result is the same.
#[derive(Debug)]
pub(crate) enum Requests {
    /// Looking for the end of a head.
    Head(Parser),
    /// Looking for the end of a body, which nobody wants.
    Body(Request, Decoder),
}

/// What comes next.
#[derive(Debug)]
pub(crate) enum Next {
    /// More input, of this; until there is more, what was not used stays.
    Input(Awaited),
    /// A head is there, see [`Requests::head`]. Its body may be still to come.
    Head,
    /// A whole request is there.
    Request(Request),
}

/// What the next input is part of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Awaited {
    /// A request that has not begun.
    Request,
    /// The rest of a head.
    Head,
    /// The rest of a body.
    Body,
}

impl Default for Requests {
    fn default() -> Self {
        Self::Head(Parser::default())
    }
}

impl Requests {
    /// Goes on through `input`, what has come and was not yet used: how much of it is used up
    /// now, and what comes next.
    ///
    /// # Errors
    ///
    /// It is no request, or too much of one.
    pub(crate) fn advance(&mut self, input: &[u8]) -> Result<(usize, Next), Refusal> {
        match std::mem::take(self) {
            Self::Head(_) if input.is_empty() => Ok((0, Next::Input(Awaited::Request))),
            Self::Head(mut parser) => match parser.parse(input)? {
                None => {
                    *self = Self::Head(parser);
                    Ok((0, Next::Input(Awaited::Head)))
                }
                Some((request, length)) => {
                    let body = Decoder::new(request.body)?;
                    *self = Self::Body(request, body);
                    Ok((length, Next::Head))
                }
            },
            Self::Body(request, mut body) => {
                let used = body.advance(input, |_| {})?;
                if body.is_done() {
                    return Ok((used, Next::Request(request)));
                }
                *self = Self::Body(request, body);
                Ok((used, Next::Input(Awaited::Body)))
            }
        }
    }

    /// The request whose body is looked for.
    pub(crate) fn head(&self) -> Option<&Request> {
        match self {
            Self::Head(_) => None,
            Self::Body(request, _) => Some(request),
        }
    }

    /// The input is over: `rest` is what is left of it.
    ///
    /// # Errors
    ///
    /// It ends within a request.
    pub(crate) fn end(&self, rest: &[u8]) -> Result<(), Refusal> {
        match self {
            // A blank line behind the last body is an old client's habit, no request.
            Self::Head(_) if rest.trim_ascii().is_empty() => Ok(()),
            Self::Head(_) => Err(Refusal::malformed("the request ends within its head")),
            Self::Body(..) => Err(Refusal::malformed("the request ends within its body")),
        }
    }
}
