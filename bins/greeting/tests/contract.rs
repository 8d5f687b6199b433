//! What `greeting` promises, held against its real binary.

use harness::contract::Binary;

const BINARY: Binary =
    Binary { name: "greeting", path: env!("CARGO_BIN_EXE_greeting"), environment: &[] };

#[test]
fn command_line() {
    BINARY.has_a_command_line();
}

#[test]
fn bad_settings() {
    let line = r#"PORT="http" is not a whole number from 0 to 65535"#;
    BINARY.refuses("PORT", "http", line);
}

#[test]
fn port_in_use() {
    BINARY.refuses_a_port_in_use();
}

#[test]
fn health_check() {
    BINARY.checks_its_own_health();
}

#[test]
fn ipv6() {
    BINARY.speaks_ipv6();
}

#[test]
fn drain() {
    BINARY.drains();
}

#[test]
fn drain_and_health_checks() {
    BINARY.drains_despite_health_checks();
}

#[test]
fn second_signal() {
    BINARY.obeys_a_second_signal();
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
fn noise() {
    BINARY.survives();
}
