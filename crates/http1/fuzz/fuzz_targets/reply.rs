//! Any answer at all to greeter's calls: `just fuzz`.

#![no_main]

libfuzzer_sys::fuzz_target!(|file: &[u8]| greeter::fuzzing::reply::answer(file));
