//! What a leaf answers, as the library takes it.

use std::borrow::Cow;

use http1::limits;
use may_minihttp::Response;

/// The whole header of plain text: the library takes only static ones.
pub const TEXT: &str = "Content-Type: text/plain; charset=utf-8";
/// The header of JSON.
pub const JSON: &str = "Content-Type: application/json";

/// One answer.
#[must_use]
#[derive(Debug)]
pub struct Answer {
    pub(crate) status: u16,
    reason: &'static str,
    allow: Option<&'static str>,
    content_type: &'static str,
    pub(crate) body: Cow<'static, str>,
    /// Whether ` (host)` follows the body.
    host: bool,
}

impl Answer {
    /// An answer with this status and header, such as [`JSON`]. A body over 64 KiB becomes a 500
    /// that says so.
    ///
    /// The status is a final one that may have a body: the library adds `Content-Length` to each,
    /// which 204 and 304 must not have. Others do not compile:
    ///
    /// ```compile_fail
    /// leaf::Answer::new::<204>(leaf::TEXT, "");
    /// ```
    pub fn new<const STATUS: u16>(
        content_type: &'static str,
        body: impl Into<Cow<'static, str>>,
    ) -> Self {
        const { assert!(matches!(STATUS, 200..=203 | 205..=303 | 305..=599), "no such answer") };
        let body = body.into();
        if body.len() as u64 > limits::BODY {
            return Self::text::<500>("the answer is too long: it may have 64 KiB");
        }
        let status = http::StatusCode::from_u16(STATUS).ok();
        let reason = status.and_then(|status| status.canonical_reason()).unwrap_or("-");
        Self { status: STATUS, reason, allow: None, content_type, body, host: false }
    }

    /// An answer in plain text.
    pub fn text<const STATUS: u16>(body: impl Into<Cow<'static, str>>) -> Self {
        Self::new::<STATUS>(TEXT, body)
    }

    /// 200 and `TEXT (host)`: the line that greeter puts into a greeting.
    pub fn line(text: impl Into<Cow<'static, str>>) -> Self {
        Self { host: true, ..Self::text::<200>(text) }
    }

    /// 405: the method is not one of the header's, such as `Allow: GET, HEAD`.
    pub fn not_allowed(allow: &'static str, body: impl Into<Cow<'static, str>>) -> Self {
        Self { allow: Some(allow), ..Self::text::<405>(body) }
    }

    /// 405: the method is neither GET nor HEAD.
    pub fn get_only() -> Self {
        Self::not_allowed("Allow: GET, HEAD", "method not allowed: GET or HEAD")
    }

    /// With a reason of its own.
    pub(crate) fn with_reason(
        status: u16,
        reason: &'static str,
        text: impl Into<Cow<'static, str>>,
    ) -> Self {
        Self { status, reason, ..Self::text::<500>(text) }
    }

    /// The same without its body, for HEAD. The library takes Content-Length from the body: 0.
    pub(crate) fn without_body(self) -> Self {
        Self { body: "".into(), host: false, ..self }
    }

    /// Passes it to the library, which adds Server, Date and Content-Length. Unlike greeter, which
    /// browsers ask, a leaf sends no other headers: each costs every proxy between.
    pub(crate) fn give(self, response: &mut Response, host: &str, last: bool) {
        if self.status != 200 {
            // Without this it is 200 Ok, the library's own.
            response.status_code(self.status.into(), self.reason);
        }
        if last {
            response.header("Connection: close");
        }
        if let Some(allow) = self.allow {
            response.header(allow);
        }
        response.header(self.content_type);
        match self.body {
            body if self.host => {
                let buffer = response.body_mut();
                buffer.extend_from_slice(body.as_bytes());
                buffer.extend_from_slice(host.as_bytes());
            }
            Cow::Borrowed(text) => response.body(text),
            Cow::Owned(text) => response.body_vec(text.into_bytes()),
        }
    }
}
