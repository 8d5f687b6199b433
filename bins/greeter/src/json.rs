//! A greeting, or why there is none, in JSON (`docs/openapi.json`).

use std::fmt::Write as _;

use chassis::log::Escaped;

use crate::greeting::{Greeting, Said};
use crate::upstream::Failure;

/// What was said, who said it, and the microseconds it took to ask them.
pub(crate) fn greeting(host: &str, Greeting { said, start }: &Greeting) -> String {
    let elapsed = start.elapsed().as_micros();
    let mut out = String::with_capacity(256);
    put(&mut out, r#"{"from":"#, Some(host));
    for Said { service, line } in said {
        let (text, from) = split(line);
        // Its name is an identifier.
        out.extend([",\"", service]);
        put(&mut out, r#"":{"text":"#, Some(text));
        put(&mut out, r#","from":"#, from);
        out.push('}');
    }
    // Writing to a String does not fail.
    let _ = write!(out, r#","elapsed_us":{elapsed}}}"#);
    out
}

/// Which service failed, and why.
pub(crate) fn failure(Failure { status, service, cause, .. }: &Failure) -> String {
    let mut out = String::new();
    put(&mut out, r#"{"error":{"service":"#, Some(service));
    put(&mut out, r#","cause":"#, Some(cause));
    let _ = write!(out, r#","status":{}}}}}"#, status.code());
    out
}

/// A line without its last ` (host)`, and that host if there is one.
fn split(line: &str) -> (&str, Option<&str>) {
    let split = line.strip_suffix(')').and_then(|line| line.rsplit_once(" ("));
    match split.filter(|(_, host)| !host.is_empty()) {
        Some((text, host)) => (text, Some(host)),
        None => (line, None),
    }
}

/// Writes what stands before a value, and the value.
fn put(out: &mut String, before: &str, value: Option<&str>) {
    out.push_str(before);
    match value {
        None => out.push_str("null"),
        Some(value) => {
            out.push('"');
            let _ = write!(Escaped(out), "{value}");
            out.push('"');
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::*;

    fn parsed(host: &str, lines: [(&'static str, &str); 2]) -> Value {
        let said = lines.map(|(service, line)| Said { service, line: line.to_owned() }).into();
        let greeting = Greeting { said, start: Instant::now() };
        serde_json::from_str(&super::greeting(host, &greeting)).unwrap()
    }

    #[test]
    fn a_greeting() {
        let mut value =
            parsed("greeter-1", [("greeting", "Hello (greeting-1)"), ("name", "Emelia")]);
        assert!(value["elapsed_us"].take().is_u64());
        let expected = json!({
            "from": "greeter-1",
            "greeting": { "text": "Hello", "from": "greeting-1" },
            "name": { "text": "Emelia", "from": null },
            "elapsed_us": null,
        });
        assert_eq!(value, expected);
    }

    #[test]
    fn a_line_is_split_at_its_last_host() {
        for (line, text, from) in [
            ("Hello (greeting-1)", "Hello", Some("greeting-1")),
            ("Ana Maria (name-1)", "Ana Maria", Some("name-1")),
            ("Bob (the builder) (name-1)", "Bob (the builder)", Some("name-1")),
            ("Bob (a host)", "Bob", Some("a host")),
            (" (name-1)", "", Some("name-1")),
            ("Bob", "Bob", None),
            ("Bob(name-1)", "Bob(name-1)", None),
            ("Bob (name-1) ", "Bob (name-1) ", None),
            ("Bob ()", "Bob ()", None),
            ("(name-1)", "(name-1)", None),
            (")", ")", None),
            (" (", " (", None),
        ] {
            assert_eq!(split(line), (text, from), "{line:?}");
        }
    }

    proptest! {
        /// Whatever they say, it is JSON, and the line can be put together again.
        #[test]
        fn nothing_is_lost(host in any::<String>(), one in any::<String>(), other in ".* \\(.*\\)") {
            let lines = [("one", &*one), ("other", &*other)];
            let value = parsed(&host, lines);
            prop_assert_eq!(value["from"].as_str(), Some(&*host));
            for (key, line) in lines {
                let text = value[key]["text"].as_str().unwrap().to_owned();
                let from = value[key]["from"].as_str().map(|from| format!(" ({from})"));
                prop_assert_eq!(text + &from.unwrap_or_default(), line);
            }
        }
    }
}
