//! What `name` promises, held against its real binary.

use harness::contract::Binary;

const BINARY: Binary = Binary { name: "name", path: env!("CARGO_BIN_EXE_name"), environment: &[] };

harness::test_every_promise!(BINARY);

#[test]
fn answers() {
    let names = include_str!("../names.txt");
    BINARY.answers_as_a_leaf(|word| names.lines().any(|line| line == word));
}

#[test]
fn header_limit() {
    BINARY.takes_sixteen_headers();
}

#[test]
fn malformed_requests() {
    BINARY.hangs_up_without_an_answer();
}
