//! The headers of greeter's answers.

use std::borrow::Cow;

use http::StatusCode;
use http1::Answer;

/// No content sniffing and no caching: every answer is different.
const EVERY: &str = "X-Content-Type-Options: nosniff\r\nCache-Control: no-store\r\n";
const ALLOW: &str = "Allow: GET, HEAD, OPTIONS\r\n";
const RETRY_AFTER: &str = "Retry-After: 1\r\n";

/// The type of a body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Content {
    pub(crate) media_type: &'static str,
    /// The header lines it comes with, each with its CR LF.
    pub(crate) headers: &'static str,
}

impl Content {
    /// Plain text, whatever the client prefers.
    pub(crate) const PLAIN: Self = Self { media_type: "text/plain; charset=utf-8", headers: "" };
    /// The greeting as text, if the client prefers that form.
    pub(crate) const TEXT: Self = Self { headers: "Vary: Accept\r\n", ..Self::PLAIN };
    pub(crate) const JSON: Self = Self { media_type: "application/json", ..Self::TEXT };
}

/// An answer, with the headers of its status.
pub(crate) fn answer(
    status: StatusCode,
    content: Content,
    body: impl Into<Cow<'static, [u8]>>,
) -> Answer {
    let of_status = match status {
        StatusCode::NO_CONTENT | StatusCode::METHOD_NOT_ALLOWED => ALLOW,
        StatusCode::SERVICE_UNAVAILABLE => RETRY_AFTER,
        _ => "",
    };
    Answer {
        status,
        media_type: content.media_type,
        headers: [EVERY, content.headers, of_status],
        body: body.into(),
    }
}

/// A plain text answer.
pub(crate) fn plain(status: StatusCode, text: &'static str) -> Answer {
    answer(status, Content::PLAIN, text.as_bytes())
}
