//! Content negotiation: which form of a greeting a client gets. The default is text.

use http1::negotiate::{Offer, Preferences};

/// The forms of a greeting.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Form {
    /// One line, `text/plain`.
    Text,
    Json,
    /// The page, which requests JSON and draws it.
    Page {
        /// Compressed.
        gzip: bool,
    },
}

/// In order of precedence, for equal preferences: text, JSON, the page.
const FORMS: [Offer; 3] = [
    Offer(&["*/*", "text/*", "text/plain"]),
    Offer(&["*/*", "application/*", "application/json"]),
    Offer(&["*/*", "text/*", "text/html"]),
];
const JSON: usize = 1;
const PAGE: usize = 2;
/// gzip and identity.
const CODINGS: [Offer; 2] = [Offer(&["*", "x-gzip", "gzip"]), Offer(&["*", "identity"])];

/// The client's preferences, from the headers of one request.
#[derive(Debug)]
pub(crate) struct Accepted {
    forms: Preferences<3>,
    codings: Preferences<2>,
}

impl Accepted {
    pub(crate) fn nothing() -> Self {
        Self { forms: Preferences::of(&FORMS), codings: Preferences::of(&CODINGS) }
    }

    /// Reads a header, and returns whether it is one of these.
    pub(crate) fn read(&mut self, name: &str, value: &[u8]) -> bool {
        if name.eq_ignore_ascii_case("accept") {
            self.forms.read(value);
        } else if name.eq_ignore_ascii_case("accept-encoding") {
            self.codings.read(value);
        } else {
            return false;
        }
        true
    }

    /// The form that the client prefers. The page is compressed only if the client asks for
    /// it: one that sends no `Accept-Encoding` may print the body to a terminal.
    pub(crate) fn form(&self) -> Form {
        match self.forms.best() {
            Some(JSON) => Form::Json,
            Some(PAGE) => {
                let [gzip, identity] = self.codings.qualities();
                Form::Page { gzip: gzip > 0 && gzip >= identity }
            }
            _ => Form::Text,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn form(headers: &[(&str, &str)]) -> Form {
        let mut accepted = Accepted::nothing();
        for (name, value) in headers {
            assert!(accepted.read(name, value.as_bytes()), "{name}");
        }
        accepted.form()
    }

    #[test]
    fn the_form_is_what_the_client_prefers() {
        for (accept, expected) in [
            ("*/*", Form::Text),
            ("text/html", Form::Page { gzip: false }),
            // Of equal quality: text, JSON, page.
            ("text/html, application/json, text/plain", Form::Text),
            ("text/html, application/json", Form::Json),
            // Nothing is acceptable: text all the same.
            ("*/*;q=0", Form::Text),
        ] {
            assert_eq!(form(&[("Accept", accept)]), expected, "{accept}");
        }
        assert_eq!(form(&[]), Form::Text);
        let several = [("Accept", "text/html;q=0.5"), ("ACCEPT", "application/json")];
        assert_eq!(form(&several), Form::Json);
        assert!(!Accepted::nothing().read("Accept-Language", b"de"));
    }

    #[test]
    fn the_page_is_compressed_if_the_client_asks_for_it() {
        for (accept_encoding, gzip) in [
            ("", false),
            ("gzip, deflate, br, zstd", true),
            ("x-gzip", true),
            ("GZIP", true),
            ("*", true),
            ("br, deflate", false),
            ("identity", false),
            ("gzip;q=0", false),
            ("gzip;q=0, *", false),
            ("*;q=0, gzip;q=0.1", true),
            ("gzip;q=0.5, identity", false),
            ("gzip, identity", true),
            ("gzip;q=0.5, *;q=0.8", false),
            ("identity;q=0.5, gzip;q=0.6", true),
            ("br, identity;q=0", false),
            ("gzip;q=high", false),
        ] {
            let headers = [("accept", "text/html"), ("accept-encoding", accept_encoding)];
            assert_eq!(form(&headers), Form::Page { gzip }, "{accept_encoding}");
        }
        assert_eq!(form(&[("Accept", "text/html")]), Form::Page { gzip: false });
    }
}
