//! Content negotiation: which of several offers a client prefers (RFC 9110, sections 12.4 and 12.5).
//!
//! List members that are malformed, or not offered, are ignored: no request is refused for them.

use std::cmp::Reverse;

use crate::grammar::split;

/// Something that a client can choose: its names, from the least specific to its own, as in `["*/*",
/// "text/*", "text/html"]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Offer(pub &'static [&'static str]);

/// A client's preferences among these offers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Preferences<const N: usize> {
    offers: &'static [Offer; N],
    preferences: [Preference; N],
}

/// A client's preference for an offer: the most specific name that it gives, and the best quality with
/// that name.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
struct Preference {
    /// 0 if it is not named, 1 if by the least specific of its names, and so on.
    specificity: usize,
    quality: u16,
}

impl<const N: usize> Preferences<N> {
    /// No preferences yet.
    #[must_use]
    pub const fn of(offers: &'static [Offer; N]) -> Self {
        Self { offers, preferences: [Preference { specificity: 0, quality: 0 }; N] }
    }

    /// Reads the value of a header. Several headers are one list.
    pub fn read(&mut self, list: &[u8]) {
        for (name, quality) in split(list, b',').filter_map(member) {
            for (offer, preference) in self.offers.iter().zip(&mut self.preferences) {
                let is_it = |known: &&str| known.as_bytes().eq_ignore_ascii_case(name);
                if let Some(width) = offer.0.iter().position(is_it) {
                    *preference = (*preference).max(Preference { specificity: width + 1, quality });
                }
            }
        }
    }

    /// The quality of each, in thousandths. 0 means that the client refuses it, or does not name
    /// it.
    #[must_use]
    pub fn qualities(&self) -> [u16; N] {
        self.preferences.map(|preference| preference.quality)
    }

    /// The offer with the best quality; among equals the one named most specifically, then the first. `None` if the client names none of them, or refuses all.
    #[must_use]
    pub fn best(&self) -> Option<usize> {
        let rank = |&(_, preference): &(usize, &Preference)| {
            Reverse((preference.quality, preference.specificity))
        };
        let best = self.preferences.iter().enumerate().min_by_key(rank);
        best.filter(|(_, preference)| preference.quality > 0).map(|(place, _)| place)
    }
}

/// The name in a member of a list, and its quality. A member with other parameters asks for
/// something that is not offered, so it is `None`. `charset` is ignored.
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

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;
    use proptest::sample::select;

    use super::*;

    const OFFERS: [Offer; 3] = [
        Offer(&["*/*", "text/*", "text/plain"]),
        Offer(&["*/*", "application/*", "application/json"]),
        Offer(&["*/*", "text/*", "text/html"]),
    ];
    const TEXT: Option<usize> = Some(0);
    const JSON: Option<usize> = Some(1);
    const PAGE: Option<usize> = Some(2);

    /// What these `Accept` headers prefer.
    fn best(accepts: &[&str]) -> Option<usize> {
        let mut preferences = Preferences::of(&OFFERS);
        for accept in accepts {
            preferences.read(accept.as_bytes());
        }
        preferences.best()
    }

    #[test]
    fn the_one_liked_best() {
        for (accept, expected) in [
            // curl, Chromium's and Firefox's address bars, fetch, axios, an image.
            ("*/*", TEXT),
            (
                "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,\
                 image/apng,*/*;q=0.8,application/signed-exchange;v=b3;q=0.7",
                PAGE,
            ),
            ("text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8", PAGE),
            ("application/json", JSON),
            ("application/json, text/plain, */*", TEXT),
            ("image/avif,image/webp,image/*;q=0.8", None),
            // Qualities.
            ("text/html;q=0.5, application/json;q=0.6", JSON),
            ("text/html;q=0.6, application/json;q=0.5", PAGE),
            ("text/html;q=0.001, application/json;q=0", PAGE),
            ("text/html;q=0.5, */*;q=0.8", TEXT),
            ("text/plain;q=0, application/json;q=0.1", JSON),
            ("text/plain;q=0.9, text/html;q=0.999, application/json;q=0.99", PAGE),
            ("text/html; Q=1.000 , text/plain;q=0.999", PAGE),
            ("text/html;q=1., text/plain;q=0.", PAGE),
            // Of equal quality: the most specific name, then text, JSON, page.
            ("application/json, */*", JSON),
            ("text/html, text/*", PAGE),
            ("text/html, application/json, text/plain", TEXT),
            ("text/html, application/json", JSON),
            ("text/*", TEXT),
            ("application/*", JSON),
            // The most specific name counts, in any order (RFC 9110, section 12.5.1).
            ("*/*, text/plain;q=0.1, application/json;q=0.2, text/html;q=0.3", PAGE),
            ("text/plain;q=0, */*;q=0.5", JSON),
            ("text/*;q=0.1, */*;q=0.5, text/html;q=0", JSON),
            (
                "text/*;q=0.3, text/plain;q=0.7, text/plain;format=flowed, \
                 text/plain;format=fixed;q=0.4, */*;q=0.5",
                TEXT,
            ),
            // Names have no case; a charset changes nothing, another parameter everything.
            ("TEXT/HTML", PAGE),
            ("application/json; charset=utf-8", JSON),
            ("application/json;version=2", None),
            ("text/html;charset=\"a,b;q=0\\\",c\";q=0.5, text/plain;q=0.4", PAGE),
            // Nothing is acceptable.
            ("text/plain;q=0", None),
            ("*/*;q=0", None),
            ("text/html;q=0, application/json;q=0.000", None),
            // Empty lists, and empty members.
            ("", None),
            (",", None),
            (" , text/html ;; ,, ", PAGE),
            // Malformed: ignored.
            ("text/html;q=2", None),
            ("text/html;q=1.001", None),
            ("text/html;q=0.0001", None),
            ("text/html;q=-1", None),
            ("text/html;q=", None),
            ("text/html;q", None),
            ("text/html;q=0.5x, application/json;q=0.1", JSON),
            ("text/html;q = 1", None),
            ("text/html/x", None),
            ("*", None),
            ("\"text/html", None),
            ("application/json, \"text/html", JSON),
        ] {
            assert_eq!(best(&[accept]), expected, "{accept}");
        }
        assert_eq!(best(&[]), None);
    }

    #[test]
    fn several_headers_are_one_list() {
        assert_eq!(best(&["text/html;q=0.5", "application/json;q=0.6"]), JSON);
        assert_eq!(best(&["*/*", "text/html"]), PAGE);
        // The best quality that is given for a name.
        assert_eq!(best(&["text/html;q=0", "text/html"]), PAGE);
        // A quote ends with its header.
        assert_eq!(best(&["\"", "text/html"]), PAGE);
    }

    proptest! {
        /// Any bytes cause no panic, and the order of a list changes nothing.
        #[test]
        fn order_means_nothing(
            mut members in vec(select(&[
                "*/*", "text/*;q=0.5", "text/html", "text/html;q=0", "text/plain;q=0.25",
                "application/json;q=0.5", "application/*", "x;y=\",\"", "text/plain;v=1", "",
            ][..]), 0..8),
            noise in vec(any::<u8>(), 0..40),
        ) {
            Preferences::of(&OFFERS).read(&noise);
            let forward = best(&[&members.join(",")]);
            prop_assert_eq!(best(&members), forward);
            members.reverse();
            prop_assert_eq!(best(&[&members.join(", ")]), forward);
        }
    }
}
