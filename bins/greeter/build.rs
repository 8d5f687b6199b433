//! Packs the page: compresses it, and writes the policy that lets its own script and style
//! run and nothing else.

use std::io::Write as _;
use std::path::Path;
use std::{env, fs};

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use flate2::Compression;
use flate2::write::GzEncoder;
use hmac_sha256::Hash;

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

/// In gzip's format. It says no time and no name: the same page gives the same bytes.
fn gzip(data: &[u8]) -> Vec<u8> {
    // The highest level of its Rust backend.
    let mut encoder = GzEncoder::new(Vec::new(), Compression::new(10));
    encoder.write_all(data).and_then(|()| encoder.finish()).expect("memory takes it")
}
