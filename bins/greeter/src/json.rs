//! A greeting, or the error, in JSON (`docs/openapi.json`).

use std::fmt::Write as _;
use std::time::Duration;

use chassis::log::Escaped;

use crate::greeting::Greeting;
use crate::upstream::Failure;
use crate::upstream::Outcome;

/// Each service with its answer or error, and the microseconds it took.
pub(crate) fn greeting(host: &str, greeting: &Greeting) -> String {
    // Long enough for most.
    let mut out = String::with_capacity(384);
    put(&mut out, r#"{"from":"#, Some(host));
    for Outcome { service, line, elapsed } in &greeting.outcomes {
        // Its name is an identifier.
        out.extend([",\"", service]);
        match line {
            Ok(line) => {
                let (text, from) = split(line);
                put(&mut out, r#"":{"text":"#, Some(text));
                put(&mut out, r#","from":"#, from);
            }
            Err(failure) => put(&mut out, r#"":{"error":"#, Some(&failure.cause)),
        }
        end(&mut out, *elapsed);
    }
    if let Some(Failure { status, service, url, cause }) = greeting.failure() {
        put(&mut out, r#","error":{"service":"#, Some(service));
        put(&mut out, r#","url":"#, Some(url));
        put(&mut out, r#","cause":"#, Some(cause));
        // Writing to a String does not fail.
        let _ = write!(out, r#","status":{}}}"#, status.as_u16());
    }
    end(&mut out, greeting.start.elapsed());
    out
}

/// Ends an object with its time.
fn end(out: &mut String, elapsed: Duration) {
    // Writing to a String does not fail.
    let _ = write!(out, r#","elapsed_us":{}}}"#, elapsed.as_micros());
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

    use application::LEAVES;
    use http::StatusCode;
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::*;

    fn parsed(host: &str, lines: [(&'static str, Result<&str, Failure>); 2]) -> Value {
        let elapsed = Duration::from_micros(7);
        let outcome = |(service, line): (_, Result<&str, _>)| Outcome {
            service,
            line: line.map(str::to_owned),
            elapsed,
        };
        let outcomes = lines.map(outcome).into();
        let mut value: Value = serde_json::from_str(&super::greeting(
            host,
            &Greeting { outcomes, start: Instant::now() },
        ))
        .unwrap();
        assert!(value["elapsed_us"].take().is_u64());
        value
    }

    #[test]
    fn a_greeting() {
        let value =
            parsed("greeter-1", [("greeting", Ok("Hello (greeting-1)")), ("name", Ok("Emelia"))]);
        let expected = json!({
            "from": "greeter-1",
            "greeting": { "text": "Hello", "from": "greeting-1", "elapsed_us": 7 },
            "name": { "text": "Emelia", "from": null, "elapsed_us": 7 },
            "elapsed_us": null,
        });
        assert_eq!(value, expected);
    }

    #[test]
    fn a_failure_stands_beside_what_the_others_said() {
        let failure = |service| Failure {
            status: StatusCode::GATEWAY_TIMEOUT,
            service,
            url: format!("http://{service}/"),
            cause: "no \"answer\"".to_owned(),
        };
        let error = |service: &str| {
            let url = format!("http://{service}/");
            json!({ "service": service, "url": url, "cause": "no \"answer\"", "status": 504 })
        };
        let failed = json!({ "error": "no \"answer\"", "elapsed_us": 7 });
        let value = parsed("a", [("greeting", Ok("Hello (b)")), ("name", Err(failure("name")))]);
        let said = json!({ "text": "Hello", "from": "b", "elapsed_us": 7 });
        let expected = json!({
            "from": "a", "greeting": said, "name": failed, "error": error("name"),
            "elapsed_us": null,
        });
        assert_eq!(value, expected);
        // Of two the first is told.
        let both = [("greeting", Err(failure("greeting"))), ("name", Err(failure("name")))];
        let expected = json!({
            "from": "a", "greeting": failed, "name": failed, "error": error("greeting"),
            "elapsed_us": null,
        });
        assert_eq!(parsed("a", both), expected);
    }

    /// The leaves' names are keys beside ours.
    #[test]
    fn no_leaf_has_the_name_of_another_key() {
        for leaf in LEAVES {
            assert!(!["from", "error", "elapsed_us"].contains(&leaf.name), "{}", leaf.name);
        }
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
        /// A leaf's settings and greeter have one rule: every host that a leaf may have is found
        /// again in its line.
        #[test]
        fn the_host_of_a_leaf_is_found(host in "[a-z( )\t\u{85}é.:-]{1,9}", word in ".{1,9}") {
            let set = |variable: &str| (variable == "HOSTNAME").then(|| (&host).into());
            if let Ok(host) = chassis::settings::host(&set) {
                let said = format!("{word} ({host})");
                let line = crate::line::line(said.clone().into_bytes());
                prop_assert!(line.is_ok() || word.contains(char::is_control));
                prop_assert_eq!(split(&said), (&*word, Some(&*host)));
            }
        }

        /// Whatever they say, it is JSON, and the line can be put together again.
        #[test]
        fn nothing_is_lost(host in any::<String>(), one in any::<String>(), other in ".* \\(.*\\)") {
            let lines = [("one", &*one), ("other", &*other)];
            let value = parsed(&host, lines.map(|(key, line)| (key, Ok(line))));
            prop_assert_eq!(value["from"].as_str(), Some(&*host));
            for (key, line) in lines {
                let text = value[key]["text"].as_str().unwrap().to_owned();
                let from = value[key]["from"].as_str().map(|from| format!(" ({from})"));
                prop_assert_eq!(text + &from.unwrap_or_default(), line);
            }
        }
    }
}
