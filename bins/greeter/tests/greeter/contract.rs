//! What `greeter` promises as a service, held against its real binary.

use harness::contract::Binary;
use harness::run;

const BINARY: Binary = Binary {
    name: "greeter",
    path: env!("CARGO_BIN_EXE_greeter"),
    // Nobody is there: none of this asks for a greeting.
    environment: &[("GREETING_URL", "http://127.0.0.1:1"), ("NAME_URL", "http://127.0.0.1:1")],
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
}
