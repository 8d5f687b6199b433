//! Packs the page: compresses it, and writes the policy that lets its own script and style
//! run and nothing else.

use std::path::Path;
use std::{env, fs};

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use hmac_sha256::Hash;
use miniz_oxide::deflate::compress_to_vec;

const PAGE: &str = "src/page.html";

fn main() {
    println!("cargo::rerun-if-changed={PAGE}");
    println!("cargo::rerun-if-changed=build.rs");
    let page = fs::read_to_string(PAGE).expect("the page is there, in UTF-8");
    let folder = env::var("OUT_DIR").expect("cargo sets it");
    fs::write(Path::new(&folder).join("page.html.gz"), gzip(page.as_bytes())).expect("writes");

    let hash = |element| BASE64_STANDARD.encode(Hash::hash(content(&page, element).as_bytes()));
    println!("cargo::rustc-env=PAGE_SCRIPT_HASH=sha256-{}", hash("script"));
    println!("cargo::rustc-env=PAGE_STYLE_HASH=sha256-{}", hash("style"));
}

/// What stands between the tags of the only element of its name.
fn content<'a>(page: &'a str, element: &str) -> &'a str {
    let [start, end] = [format!("<{element}>"), format!("</{element}>")];
    let parts: Vec<_> = page.split(&start).collect();
    let [_, rest] = parts[..] else { panic!("{PAGE} needs one {start}") };
    rest.split_once(&end).unwrap_or_else(|| panic!("{PAGE} needs a {end}")).0
}

/// RFC 1952: a header of ten bytes that says nothing, the data, its CRC-32 and length.
fn gzip(data: &[u8]) -> Vec<u8> {
    let mut crc = !0_u32;
    for byte in data {
        crc ^= u32::from(*byte);
        for _ in 0..8 {
            crc = (crc >> 1) ^ (0xedb8_8320 * (crc & 1));
        }
    }
    let length = u32::try_from(data.len()).expect("a page, no film");
    [
        &[0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 0xff][..],
        &compress_to_vec(data, 10),
        &(!crc).to_le_bytes(),
        &length.to_le_bytes(),
    ]
    .concat()
}
