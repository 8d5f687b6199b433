//! What a leaf answers, as the library takes it.

use http1::limits;
use may_minihttp::Response;

/// A header `Content-Type` as a whole: the library takes no header that is put together.
#[derive(Clone, Copy, Debug)]
pub struct ContentType(&'static str);

impl ContentType {
    /// Plain text.
    pub const TEXT: Self = Self::new("Content-Type: text/plain; charset=utf-8");
    /// JSON.
    pub const JSON: Self = Self::new("Content-Type: application/json");

    /// Another one, for a `const`: `ContentType::new("Content-Type: image/png")`.
    ///
    /// # Panics
    ///
    /// It is not such a header; in a `const` it does not compile.
    #[must_use]
    pub const fn new(header: &'static str) -> Self {
        let (text, name) = (header.as_bytes(), b"Content-Type: ");
        let mut at = 0;
        while at < text.len() {
            assert!(at >= name.len() || text[at] == name[at], "begin with `Content-Type: `");
            assert!(matches!(text[at], b' '..=b'~'), "a header is one line of ASCII");
            at += 1;
        }
        assert!(at > name.len(), "a type is missing");
        Self(header)
    }
}

/// The content of an answer, static or owned.
#[derive(Debug)]
pub enum Body {
    /// Not copied before it is sent.
    Static(&'static str),
    /// Given away.
    Owned(Vec<u8>),
}

/// One answer.
#[derive(Debug)]
pub struct Answer {
    status: u16,
    reason: &'static str,
    allow: Option<&'static str>,
    content_type: ContentType,
    body: Body,
    /// Whether ` (host)` follows the body.
    host: bool,
}

impl Answer {
    /// An answer with this status. A body over 64 KiB becomes a 500 that says so.
    ///
    /// The status is a final one that may have a body: the library adds `Content-Length` to each,
    /// which 204 and 304 must not have. Others do not compile:
    ///
    /// ```compile_fail
    /// leaf::Answer::new::<204>(leaf::ContentType::TEXT, "");
    /// ```
    #[must_use]
    pub fn new<const STATUS: u16>(content_type: ContentType, body: impl Into<Body>) -> Self {
        const { assert!(matches!(STATUS, 200..=203 | 205..=303 | 305..=599), "no such answer") };
        let body = body.into();
        if body.bytes().len() as u64 > limits::BODY {
            return Self::text::<500>("the answer is too long: it may have 64 KiB");
        }
        let status = http::StatusCode::from_u16(STATUS).ok();
        let reason = status.and_then(|status| status.canonical_reason()).unwrap_or("-");
        Self { status: STATUS, reason, allow: None, content_type, body, host: false }
    }

    /// An answer in plain text.
    #[must_use]
    pub fn text<const STATUS: u16>(body: impl Into<Body>) -> Self {
        Self::new::<STATUS>(ContentType::TEXT, body)
    }

    /// 200 and `TEXT (host)`: the line that greeter puts into a greeting.
    #[must_use]
    pub fn line(text: impl Into<Body>) -> Self {
        Self { host: true, ..Self::text::<200>(text) }
    }

    /// To a method that is none of these, for a `const`: `Allow: GET, HEAD`.
    #[must_use]
    pub fn not_allowed(allow: &'static str, body: impl Into<Body>) -> Self {
        Self { allow: Some(allow), ..Self::text::<405>(body) }
    }

    /// To a method other than GET and HEAD.
    #[must_use]
    pub fn get_only() -> Self {
        Self::not_allowed("Allow: GET, HEAD", "method not allowed: GET or HEAD")
    }

    /// With a reason of its own.
    pub(crate) fn with_reason(status: u16, reason: &'static str, text: &'static str) -> Self {
        Self { status, reason, ..Self::text::<500>(text) }
    }

    /// The same without its body, as HEAD wants it. The library takes Content-Length from
    /// the body, so that is 0.
    pub(crate) fn without_body(self) -> Self {
        Self { body: Body::Static(""), host: false, ..self }
    }

    pub(crate) const fn is_error(&self) -> bool {
        self.status >= 400
    }

    /// Bytes of its body, but for ` (host)`.
    pub(crate) fn len(&self) -> usize {
        self.body.bytes().len()
    }

    /// Hands it to the library, which adds Server, Date and Content-Length. There are no headers
    /// besides, unlike greeter's, which browsers read: each costs every proxy between.
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
        response.header(self.content_type.0);
        match self.body {
            body if self.host => {
                let buffer = response.body_mut();
                buffer.extend_from_slice(body.bytes());
                buffer.extend_from_slice(host.as_bytes());
            }
            Body::Static(text) => response.body(text),
            Body::Owned(bytes) => response.body_vec(bytes),
        }
    }
}

impl Body {
    fn bytes(&self) -> &[u8] {
        match self {
            Self::Static(text) => text.as_bytes(),
            Self::Owned(bytes) => bytes,
        }
    }
}

impl From<&'static str> for Body {
    fn from(text: &'static str) -> Self {
        Self::Static(text)
    }
}

impl From<String> for Body {
    fn from(text: String) -> Self {
        Self::Owned(text.into_bytes())
    }
}

impl From<Vec<u8>> for Body {
    fn from(bytes: Vec<u8>) -> Self {
        Self::Owned(bytes)
    }
}
