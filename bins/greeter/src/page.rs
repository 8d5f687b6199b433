//! The HTML page: `page.html`, uncompressed and as `build.rs` compresses it.
//!
//! It is one file that requests only greetings. It is the same for every client: it contains nothing of
//! the request, and takes no call to a service.

use http::StatusCode;
use http1::Answer;

use crate::answer::{self, Content};

const PAGE: &[u8] = include_bytes!("page.html");
/// In gzip's format (RFC 1952).
const PACKED: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/page.html.gz"));

/// The content security policy: only the page's own script and style run, no text becomes script or
/// markup, and requests go only to greeter.
macro_rules! headers {
    ($coding:literal) => {
        concat!(
            "Vary: Accept, Accept-Encoding\r\n",
            $coding,
            "Content-Security-Policy: default-src 'none'; script-src '",
            env!("PAGE_SCRIPT_HASH"),
            "'; style-src '",
            env!("PAGE_STYLE_HASH"),
            "'; connect-src 'self'; img-src data:; base-uri 'none'; form-action 'none'; \
             frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'\r\n\
             X-Frame-Options: DENY\r\nReferrer-Policy: no-referrer\r\n"
        )
    };
}

const PLAIN: Content = Content { media_type: "text/html; charset=utf-8", headers: headers!("") };
const GZIP: Content = Content { headers: headers!("Content-Encoding: gzip\r\n"), ..PLAIN };

/// The page, compressed or not. The binary contains both: a library to decompress it would take 13 kB
/// of the binary too, and time and memory as well.
pub(crate) fn answer(gzip: bool) -> Answer {
    let (content, body) = if gzip { (GZIP, PACKED) } else { (PLAIN, PAGE) };
    answer::answer(StatusCode::OK, content, body)
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use flate2::read::GzDecoder;

    use super::*;

    #[test]
    fn the_page_is_packed_and_small() {
        let mut unpacked = Vec::new();
        GzDecoder::new(PACKED).read_to_end(&mut unpacked).unwrap();
        assert_eq!(unpacked, PAGE);
        assert!(PACKED.len() <= 12 * 1024, "{} bytes", PACKED.len());
        println!("{} bytes, packed {}", PAGE.len(), PACKED.len());
    }
}
