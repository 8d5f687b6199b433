//! The page that shows who greets: `page.html`, packed by `build.rs`.
//!
//! It is one file that asks for nothing but greetings, and it is the same for everybody:
//! nothing of a request is in it, and no service is called for it.

use std::sync::OnceLock;

use http1::{Answer, Status};

use crate::answer::{self, Content};
use crate::inflate::inflate;

/// The page in gzip's format (RFC 1952).
const PACKED: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/page.html.gz"));
/// Bytes of that format before the compressed data, and behind it.
const PACKED_HEAD: usize = 10;
const PACKED_TAIL: usize = 8;

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

/// The page, compressed or not. It is kept compressed, as every browser takes it, and unpacked
/// once for all clients that do not accept gzip.
pub(crate) fn answer(gzip: bool) -> Answer {
    static UNPACKED: OnceLock<Vec<u8>> = OnceLock::new();
    let (content, body) = if gzip {
        (GZIP, PACKED)
    } else {
        let data = &PACKED[PACKED_HEAD..PACKED.len() - PACKED_TAIL];
        // build.rs has packed it: it can be unpacked, as the test below shows.
        (PLAIN, &UNPACKED.get_or_init(|| inflate(data).unwrap_or_default())[..])
    };
    answer::answer(Status::Ok, content, body)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_is_packed_and_small() {
        assert_eq!(answer(true).body, PACKED);
        assert_eq!(answer(false).body, include_bytes!("page.html").as_slice());
        assert!(PACKED.len() <= 12 * 1024, "{} bytes", PACKED.len());
        println!("{} bytes, packed {}", include_bytes!("page.html").len(), PACKED.len());
    }
}
