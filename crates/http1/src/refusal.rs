//! Why a message is refused.

use std::fmt;

use http::StatusCode;

use crate::limits;

/// Why a request is refused (its connection is then closed), or what is wrong with an answer to a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// It is not HTTP/1, for this reason.
    Malformed(&'static str),
    /// See [`limits::HEAD`] and [`limits::HEADERS`].
    HeadTooLarge,
    /// See [`limits::REQUEST_LINE`].
    LineTooLong,
    /// See [`limits::METHOD`].
    MethodTooLong,
    /// See [`limits::BODY`].
    BodyTooLarge,
    /// An unknown transfer coding, followed by chunked.
    UnknownCoding,
    /// HTTP of another major version.
    UnknownVersion,
    /// An `Expect` other than `100-continue`.
    UnknownExpectation,
}

impl Refusal {
    /// The status of the answer to such a request.
    #[must_use]
    pub const fn status(self) -> StatusCode {
        match self {
            Self::Malformed(_) => StatusCode::BAD_REQUEST,
            Self::HeadTooLarge => StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
            Self::LineTooLong => StatusCode::URI_TOO_LONG,
            Self::MethodTooLong | Self::UnknownCoding => StatusCode::NOT_IMPLEMENTED,
            Self::BodyTooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            Self::UnknownVersion => StatusCode::HTTP_VERSION_NOT_SUPPORTED,
            Self::UnknownExpectation => StatusCode::EXPECTATION_FAILED,
        }
    }
}

/// What was wrong, for the person who caused it.
impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Malformed(what) => what,
            Self::HeadTooLarge => {
                let (size, headers) = (limits::HEAD / 1024, limits::HEADERS);
                return write!(f, "head over {size} KiB, or more than {headers} headers");
            }
            Self::LineTooLong => {
                return write!(f, "request line over {} KiB", limits::REQUEST_LINE / 1024);
            }
            Self::MethodTooLong => return write!(f, "method over {} bytes", limits::METHOD),
            Self::BodyTooLarge => return write!(f, "body over {} KiB", limits::BODY / 1024),
            Self::UnknownCoding => "Transfer-Encoding other than chunked",
            Self::UnknownVersion => "this is HTTP/1.1",
            Self::UnknownExpectation => "Expect other than 100-continue",
        })
    }
}

impl std::error::Error for Refusal {}

impl From<httparse::Error> for Refusal {
    fn from(error: httparse::Error) -> Self {
        match error {
            httparse::Error::TooManyHeaders => Self::HeadTooLarge,
            httparse::Error::Version => Self::UnknownVersion,
            httparse::Error::HeaderName => Self::Malformed("bad header name"),
            httparse::Error::HeaderValue => Self::Malformed("bad header value"),
            _ => Self::Malformed("bad request line"),
        }
    }
}
