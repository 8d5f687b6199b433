//! Any input at all to the reading of requests: `just fuzz`.

#![no_main]

libfuzzer_sys::fuzz_target!(|file: &[u8]| http1::fuzzing::requests(file));
