//! Any answer at all to a call: `just fuzz`.

#![no_main]

libfuzzer_sys::fuzz_target!(|file: &[u8]| http1::fuzzing::reply::answer(file));
