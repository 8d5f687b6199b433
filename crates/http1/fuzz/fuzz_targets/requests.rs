//! Any input at all to greeter's HTTP parser: `just fuzz`.

#![no_main]

libfuzzer_sys::fuzz_target!(|file: &[u8]| greeter::fuzzing::connection(file));
