//! What `greeter` promises as a service, held against its real binary.

use application::LEAVES;
use harness::contract::Binary;
use harness::run;

const BINARY: Binary =
    Binary { name: "greeter", path: env!("CARGO_BIN_EXE_greeter"), environment: &NOWHERE };

/// A URL for each leaf. Nobody is there: none of this asks for a greeting.
const NOWHERE: [(&str, &str); LEAVES.len()] = {
    let mut environment = [("", "http://127.0.0.1:1"); LEAVES.len()];
    let mut number = 0;
    while number < LEAVES.len() {
        environment[number].0 = LEAVES[number].variable;
        number += 1;
    }
    environment
};

harness::test_every_promise!(BINARY);

#[test]
fn bad_settings() {
    for (variable, value, line) in [
        (
            "NAME_URL",
            "https://name-service",
            "NAME_URL=\"https://name-service\" is not http://host[:port][/path]: \
             set it, for example to http://name-service:3000",
        ),
        (
            "GREETING_URL",
            "",
            "GREETING_URL is not set: set it, for example to http://greeting-service:3000",
        ),
        ("MAX_CONNECTIONS", "0", r#"MAX_CONNECTIONS="0" is not a whole number from 1 to 20000"#),
    ] {
        BINARY.refuses(variable, value, line);
    }
}

#[test]
fn missing_settings() {
    let refused = run(BINARY.command().env_remove("NAME_URL"));
    assert_eq!(refused.code, Some(78));
    let line = "greeter: NAME_URL is not set: set it, for example to http://name-service:3000\n";
    assert_eq!(refused.stderr, line);
    // One message for all that are missing.
    let mut command = BINARY.command();
    for leaf in LEAVES {
        command.env_remove(leaf.variable);
    }
    let refused = run(&mut command);
    let missing = LEAVES
        .iter()
        .map(|leaf| format!("{} is not set: set it, for example to {}", leaf.variable, leaf.url()));
    let line = format!("greeter: {}\n", missing.collect::<Vec<_>>().join("; "));
    assert_eq!((refused.code, refused.stderr), (Some(78), line));
}
