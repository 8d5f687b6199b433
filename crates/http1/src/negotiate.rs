//! Which form of a greeting a client prefers (RFC 9110, sections 12.4 and 12.5). No I/O.
//!
//! What is malformed, or names what the edge does not have, counts as not said: nobody is
//! refused for it, and who prefers nothing gets the line of text.

use std::cmp::Reverse;

/// The forms a greeting has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Form {
    /// One line, `text/plain`.
    Text,
    Json,
    /// The page that asks for JSON and draws it.
    Page {
        /// Compressed.
        gzip: bool,
    },
}

/// Each form by its names, from the widest to its own. In the order that decides when a
/// client likes two as much.
const MEDIA: [&[&[u8]]; 3] = [
    &[b"*/*", b"text/*", b"text/plain"],
    &[b"*/*", b"application/*", b"application/json"],
    &[b"*/*", b"text/*", b"text/html"],
];
const CODINGS: [&[&[u8]]; 2] = [&[b"*", b"x-gzip", b"gzip"], &[b"*", b"identity"]];

/// How much a client likes something: how closely it was named, 0 if not at all, and its
/// quality in thousandths. The closest name counts, and the best quality said of it.
type Liking = (usize, u16);

/// What the headers of one request say.
#[derive(Debug, Default)]
pub(crate) struct Preferences {
    media: [Liking; 3],
    codings: [Liking; 2],
}

impl Preferences {
    /// Reads an `Accept`; several are one list.
    pub(crate) fn accept(&mut self, value: &[u8]) {
        read(value, &MEDIA, &mut self.media);
    }

    /// Reads an `Accept-Encoding`.
    pub(crate) fn accept_encoding(&mut self, value: &[u8]) {
        read(value, &CODINGS, &mut self.codings);
    }

    /// The form liked best; of those liked as much the one named most closely, and then the
    /// first. gzip only for who names it or `*`: who says nothing may show what it gets.
    pub(crate) fn form(&self) -> Form {
        let [gzip, identity] = self.codings.map(|(_, quality)| quality);
        let forms = [Form::Text, Form::Json, Form::Page { gzip: gzip > 0 && gzip >= identity }];
        let liked = |&(_, (closeness, quality)): &(Form, Liking)| Reverse((quality, closeness));
        let best = forms.into_iter().zip(self.media).min_by_key(liked);
        // None is never the case, and a quality of 0 is a refusal of all there is.
        best.filter(|(_, (_, quality))| *quality > 0).map_or(Form::Text, |(form, _)| form)
    }
}

/// Adds what a list says of `things` to `likings`.
fn read(list: &[u8], things: &[&[&[u8]]], likings: &mut [Liking]) {
    for (name, quality) in split(list, b',').filter_map(member) {
        for (names, liking) in things.iter().zip(&mut *likings) {
            if let Some(width) = names.iter().position(|n| n.eq_ignore_ascii_case(name)) {
                *liking = (*liking).max((width + 1, quality));
            }
        }
    }
}

/// A member of a list, and its quality. One with other parameters asks for something else;
/// but a charset is no more than what text has anyway.
fn member(member: &[u8]) -> Option<(&[u8], u16)> {
    let mut parts = split(member, b';');
    let name = parts.next()?;
    let mut quality = 1000;
    for parameter in parts.filter(|parameter| !parameter.is_empty()) {
        let equals = parameter.iter().position(|&b| b == b'=')?;
        let (key, value) = (&parameter[..equals], &parameter[equals + 1..]);
        if key.eq_ignore_ascii_case(b"q") {
            quality = thousandths(value)?;
        } else if !key.eq_ignore_ascii_case(b"charset") {
            return None;
        }
    }
    Some((name, quality))
}

/// `0` to `1`, with up to three digits behind a point (RFC 9110, section 12.4.2).
fn thousandths(quality: &[u8]) -> Option<u16> {
    let (whole, fraction) = match quality {
        [whole] | [whole, b'.'] => (whole, &[][..]),
        [whole, b'.', fraction @ ..] if fraction.len() <= 3 => (whole, fraction),
        _ => return None,
    };
    let mut digits = [b'0'; 4];
    digits[0] = *whole;
    digits[1..=fraction.len()].copy_from_slice(fraction);
    let number = digits.iter().try_fold(0, |number, digit| {
        digit.is_ascii_digit().then(|| number * 10 + u16::from(digit - b'0'))
    })?;
    (number <= 1000).then_some(number)
}

/// The parts between separators. One in a quoted string is none (RFC 9110, section 5.6.4).
pub(crate) fn split(text: &[u8], separator: u8) -> impl Iterator<Item = &[u8]> {
    let (mut quoted, mut escaped) = (false, false);
    let separates = move |&byte: &u8| {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if quoted => escaped = true,
            b'"' => quoted = !quoted,
            _ => return !quoted && byte == separator,
        }
        false
    };
    text.split(separates).map(<[u8]>::trim_ascii)
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;
    use proptest::sample::select;

    use super::*;

    const PAGE: Form = Form::Page { gzip: false };

    /// The form for these `Accept` headers.
    fn form(accepts: &[&str]) -> Form {
        let mut preferences = Preferences::default();
        for accept in accepts {
            preferences.accept(accept.as_bytes());
        }
        preferences.form()
    }

    #[test]
    fn the_form_liked_best() {
        for (accept, expected) in [
            // curl, Chromium's and Firefox's address bars, fetch, axios, an image.
            ("*/*", Form::Text),
            (
                "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,\
                 image/apng,*/*;q=0.8,application/signed-exchange;v=b3;q=0.7",
                PAGE,
            ),
            ("text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8", PAGE),
            ("application/json", Form::Json),
            ("application/json, text/plain, */*", Form::Text),
            ("image/avif,image/webp,image/*;q=0.8", Form::Text),
            // Qualities.
            ("text/html;q=0.5, application/json;q=0.6", Form::Json),
            ("text/html;q=0.6, application/json;q=0.5", PAGE),
            ("text/html;q=0.001, application/json;q=0", PAGE),
            ("text/html;q=0.5, */*;q=0.8", Form::Text),
            ("text/plain;q=0, application/json;q=0.1", Form::Json),
            ("text/plain;q=0.9, text/html;q=0.999, application/json;q=0.99", PAGE),
            ("text/html; Q=1.000 , text/plain;q=0.999", PAGE),
            ("text/html;q=1., text/plain;q=0.", PAGE),
            // As much: the closest name, then text, JSON, page.
            ("application/json, */*", Form::Json),
            ("text/html, text/*", PAGE),
            ("text/html, application/json, text/plain", Form::Text),
            ("text/html, application/json", Form::Json),
            ("text/*", Form::Text),
            ("application/*", Form::Json),
            // The closest name counts, wherever it stands (RFC 9110, section 12.5.1).
            ("*/*, text/plain;q=0.1, application/json;q=0.2, text/html;q=0.3", PAGE),
            ("text/plain;q=0, */*;q=0.5", Form::Json),
            ("text/*;q=0.1, */*;q=0.5, text/html;q=0", Form::Json),
            (
                "text/*;q=0.3, text/plain;q=0.7, text/plain;format=flowed, \
                 text/plain;format=fixed;q=0.4, */*;q=0.5",
                Form::Text,
            ),
            // Names have no case; a charset changes nothing, another parameter everything.
            ("TEXT/HTML", PAGE),
            ("application/json; charset=utf-8", Form::Json),
            ("application/json;version=2", Form::Text),
            ("text/html;charset=\"a,b;q=0\\\",c\";q=0.5, text/plain;q=0.4", PAGE),
            // Nothing is acceptable: text all the same.
            ("text/plain;q=0", Form::Text),
            ("*/*;q=0", Form::Text),
            ("text/html;q=0, application/json;q=0.000", Form::Text),
            // No list at all, or one with holes.
            ("", Form::Text),
            (",", Form::Text),
            (" , text/html ;; ,, ", PAGE),
            // Malformed: not said.
            ("text/html;q=2", Form::Text),
            ("text/html;q=1.001", Form::Text),
            ("text/html;q=0.0001", Form::Text),
            ("text/html;q=-1", Form::Text),
            ("text/html;q=", Form::Text),
            ("text/html;q", Form::Text),
            ("text/html;q=0.5x, application/json;q=0.1", Form::Json),
            ("text/html;q = 1", Form::Text),
            ("text/html/x", Form::Text),
            ("*", Form::Text),
            ("\"text/html", Form::Text),
            ("application/json, \"text/html", Form::Json),
        ] {
            assert_eq!(form(&[accept]), expected, "{accept}");
        }
        assert_eq!(form(&[]), Form::Text);
    }

    #[test]
    fn several_headers_are_one_list() {
        assert_eq!(form(&["text/html;q=0.5", "application/json;q=0.6"]), Form::Json);
        assert_eq!(form(&["*/*", "text/html"]), PAGE);
        // The best that was said of a name.
        assert_eq!(form(&["text/html;q=0", "text/html"]), PAGE);
        // A quote ends with its header.
        assert_eq!(form(&["\"", "text/html"]), PAGE);
    }

    #[test]
    fn the_page_is_compressed_for_who_says_so() {
        for (accept_encoding, expected) in [
            (None, false),
            (Some(""), false),
            (Some("gzip, deflate, br, zstd"), true),
            (Some("x-gzip"), true),
            (Some("GZIP"), true),
            (Some("*"), true),
            (Some("br, deflate"), false),
            (Some("identity"), false),
            (Some("gzip;q=0"), false),
            (Some("gzip;q=0, *"), false),
            (Some("*;q=0, gzip;q=0.1"), true),
            (Some("gzip;q=0.5, identity"), false),
            (Some("gzip, identity"), true),
            (Some("gzip;q=0.5, *;q=0.8"), false),
            (Some("identity;q=0.5, gzip;q=0.6"), true),
            (Some("br, identity;q=0"), false),
            (Some("gzip;q=high"), false),
        ] {
            let mut preferences = Preferences::default();
            preferences.accept(b"text/html");
            if let Some(value) = accept_encoding {
                preferences.accept_encoding(value.as_bytes());
            }
            assert_eq!(preferences.form(), Form::Page { gzip: expected }, "{accept_encoding:?}");
        }
    }

    proptest! {
        /// Any bytes at all, and any order of what they list.
        #[test]
        fn order_means_nothing(
            mut members in vec(select(&[
                "*/*", "text/*;q=0.5", "text/html", "text/html;q=0", "text/plain;q=0.25",
                "application/json;q=0.5", "application/*", "x;y=\",\"", "text/plain;v=1", "",
            ][..]), 0..8),
            noise in vec(any::<u8>(), 0..40),
        ) {
            Preferences::default().accept(&noise);
            Preferences::default().accept_encoding(&noise);
            let forward = form(&[&members.join(",")]);
            prop_assert_eq!(form(&members), forward);
            members.reverse();
            prop_assert_eq!(form(&[&members.join(", ")]), forward);
        }
    }
}
