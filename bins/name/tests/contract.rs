//! What `name` promises, held against its real binary.

use harness::contract::Binary;

const BINARY: Binary = Binary { name: "name", path: env!("CARGO_BIN_EXE_name"), environment: &[] };

harness::test_every_promise!(BINARY);
harness::test_every_promise_of_a_leaf!(BINARY);

#[test]
fn answers() {
    let names = include_str!("../names.txt");
    BINARY.answers_as_a_leaf(|word| names.lines().any(|line| line == word));
}
