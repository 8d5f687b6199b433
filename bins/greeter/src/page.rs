//! The page that shows who greets: `page.html`, as it is and as `build.rs` packs it.
//!
//! It is one file that asks for nothing but greetings, and it is the same for everybody:
//! nothing of a request is in it, and no service is called for it.

use http::StatusCode;
use http1::Answer;

use crate::answer::{self, Content};

const PAGE: &[u8] = include_bytes!("page.html");
/// In gzip's format (RFC 1952).
const PACKED: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/page.html.gz"));

/// What protects the page: its own script and style run and no other, no text becomes a
/// script or markup, and nobody but greeter is asked for anything.
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

/// The page, compressed or not. The binary has it twice: a library that unpacks it takes 13 kB
/// of the binary as well, and time and memory besides.
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
