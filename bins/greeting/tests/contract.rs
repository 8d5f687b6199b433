//! What `greeting` promises, held against its real binary.

use harness::contract::Binary;

const BINARY: Binary =
    Binary { name: "greeting", path: env!("CARGO_BIN_EXE_greeting"), environment: &[] };

harness::test_every_promise!(BINARY);
harness::test_every_promise_of_a_leaf!(BINARY);

#[test]
fn answers() {
    let greetings = ["Hey", "Hi", "Hello", "Greetings"];
    BINARY.answers_as_a_leaf(|word| greetings.contains(&word));
}
