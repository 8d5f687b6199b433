//! The requests of one connection: an incremental parser. Connections and the fuzzer (`fuzzing`) use the
//! same code, so what is fuzzed is what ships.

use crate::body::Decoder;
use crate::refusal::Refusal;
use crate::request::{Head, Method, Parser, Request, is_head};

/// Reads requests, and discards their bodies. The result does not depend on how the input is split. For
/// `T` see [`Request`].
///
/// ```
/// use http1::{Head, Method, Next, Requests};
///
/// struct Path(String);
///
/// impl From<&Head<'_>> for Path {
///     fn from(head: &Head) -> Self {
///         Self(head.path.to_owned())
///     }
/// }
///
/// let mut requests = Requests::<Path>::default();
/// let input = b"GET /a?b HTTP/1.1\r\nHost: x\r\n\r\nGET";
/// let (used, next) = requests.advance(input)?;
/// assert!(matches!(next, Next::Head));
/// let (more, next) = requests.advance(&input[used..])?;
/// let Next::Request(request) = next else { panic!("it has no body") };
/// assert_eq!((request.method, &*request.info.0), (Method::Get, "/a"));
/// assert_eq!(input[used + more..], *b"GET");
/// # Ok::<(), http1::Refusal>(())
/// ```
#[derive(Debug)]
pub struct Requests<T>(Reading<T>);

#[derive(Debug)]
enum Reading<T> {
    /// Looking for the end of a head.
    Head(Parser),
    /// Looking for the end of a body.
    Body(Request<T>, Decoder),
}

/// What comes next.
#[derive(Debug)]
pub enum Next<T> {
    /// More input is needed, for this part of a request. Unused input has to be passed again,
    /// with more after it.
    Input(Awaited),
    /// A head has been read, see [`Requests::head`]. Its body may still have to come.
    Head,
    /// A whole request has been read.
    Request(Request<T>),
}

/// The part of a request that the next input belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Awaited {
    /// A new request.
    Request,
    /// The rest of a head.
    Head,
    /// The rest of a body.
    Body,
}

impl<T> Default for Reading<T> {
    fn default() -> Self {
        Self::Head(Parser::default())
    }
}

impl<T> Default for Requests<T> {
    fn default() -> Self {
        Self(Reading::default())
    }
}

impl<T> Requests<T> {
    /// Continues with `input`, all that has come and was not used yet. It needs
    /// [`limits::HEAD`](crate::limits::HEAD) bytes of it at most. Returns how many bytes it used, and
    /// what comes next.
    ///
    /// # Errors
    ///
    /// The input is not a request, or exceeds a limit. Nothing after it can be read.
    pub fn advance(&mut self, input: &[u8]) -> Result<(usize, Next<T>), Refusal>
    where
        T: for<'h> From<&'h Head<'h>>,
    {
        match std::mem::take(&mut self.0) {
            Reading::Head(_) if input.is_empty() => Ok((0, Next::Input(Awaited::Request))),
            Reading::Head(mut parser) => match parser.parse(input)? {
                None => {
                    self.0 = Reading::Head(parser);
                    Ok((0, Next::Input(Awaited::Head)))
                }
                Some((request, length)) => {
                    let body = Decoder::new(request.body)?;
                    self.0 = Reading::Body(request, body);
                    Ok((length, Next::Head))
                }
            },
            Reading::Body(request, mut body) => {
                let used = body.advance(input, |_| {});
                if used.is_ok() && body.is_done() {
                    return Ok((used?, Next::Request(request)));
                }
                self.0 = Reading::Body(request, body);
                Ok((used?, Next::Input(Awaited::Body)))
            }
        }
    }

    /// The request whose head has been read, but not its body.
    #[must_use]
    pub fn head(&self) -> Option<&Request<T>> {
        match &self.0 {
            Reading::Head(_) => None,
            Reading::Body(request, _) => Some(request),
        }
    }

    /// Whether the request that is being read, or was refused, is a HEAD: no answer to it has a body.
    /// `input` is what was not used; false until it has the whole method.
    #[must_use]
    pub fn is_head(&self, input: &[u8]) -> bool {
        match &self.0 {
            Reading::Head(_) => is_head(input),
            Reading::Body(request, _) => request.method == Method::Head,
        }
    }

    /// Call it at the end of the input; `rest` is what was not used of it.
    ///
    /// # Errors
    ///
    /// The input ends within a request.
    pub fn end(&self, rest: &[u8]) -> Result<(), Refusal> {
        match self.0 {
            // Some old clients send an empty line after a body: it is no request.
            Reading::Head(_) if rest.trim_ascii().is_empty() => Ok(()),
            Reading::Head(_) => Err(Refusal::Malformed("the request ends within its head")),
            Reading::Body(..) => Err(Refusal::Malformed("the request ends within its body")),
        }
    }
}
