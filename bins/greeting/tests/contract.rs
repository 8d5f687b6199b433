//! What `greeting` promises, held against its real binary.

use harness::contract::Binary;

const BINARY: Binary =
    Binary { name: "greeting", path: env!("CARGO_BIN_EXE_greeting"), environment: &[] };

harness::test_every_promise!(BINARY);

#[test]
fn bad_settings() {
    let line = r#"PORT="http" is not a whole number from 0 to 65535"#;
    BINARY.refuses("PORT", "http", line);
}

#[test]
fn answers() {
    let greetings = ["Hey", "Hi", "Hello", "Greetings"];
    BINARY.answers_as_a_leaf(|word| greetings.contains(&word));
}

#[test]
fn header_limit() {
    BINARY.takes_sixteen_headers();
}

#[test]
fn malformed_requests() {
    BINARY.hangs_up_without_an_answer();
}
