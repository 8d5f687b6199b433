//! A line of a process's log, shortened for reading: `start, version 0.1.0, 127.0.0.1:36629`.

use serde_json::{Map, Value};

use crate::escape;

/// The fields of an event in the order in which they are shown, with the text before and after the
/// value. Other fields follow, with their names.
const FIELDS: &[(&str, &str, &str)] = &[
    ("version", "version ", ""),
    ("address", "", ""),
    ("fault", "fault ", ""),
    ("upstream", "", ""),
    ("url", "", ""),
    ("cause", "", ""),
    ("requests", "", " requests"),
    ("left_out", "", " more left out"),
    ("dropped", "", " lines dropped before"),
];
/// Not shown: the prefix names the process, and the line is new.
const HIDDEN: [&str; 3] = ["time", "service", "event"];

/// Shortens the line of an event or of an Envoy; other lines stay unchanged.
pub(crate) fn shorten(line: &str) -> String {
    let fields = serde_json::from_str::<Map<String, Value>>(line).ok();
    let short = fields.and_then(|fields| event(&fields).or_else(|| envoy(&fields)));
    escape::line(short.as_deref().unwrap_or(line))
}

fn event(fields: &Map<String, Value>) -> Option<String> {
    let mut words = vec![fields.get("event")?.as_str()?.to_owned()];
    for (name, before, behind) in FIELDS {
        words.extend(fields.get(*name).map(|value| format!("{before}{}{behind}", plain(value))));
    }
    for (name, value) in fields {
        let name = name.as_str();
        if HIDDEN.contains(&name) || FIELDS.iter().any(|(known, _, _)| *known == name) {
            continue;
        }
        words.push(match plain(value).as_str() {
            "true" => name.to_owned(),
            "false" => format!("not {name}"),
            value => format!("{name} {value}"),
        });
    }
    Some(words.join(", "))
}

/// The format is set in `child`.
fn envoy(fields: &Map<String, Value>) -> Option<String> {
    Some(format!("{}: {}", fields.get("level")?.as_str()?, fields.get("text")?.as_str()?))
}

fn plain(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_event_is_said_in_a_few_words() {
        for (fields, expected) in [
            (
                r#""event":"start","version":"0.1.0","address":"127.0.0.1:3000","fault":"1%503""#,
                "start, version 0.1.0, 127.0.0.1:3000, fault 1%503",
            ),
            (r#""event":"drain""#, "drain"),
            (r#""event":"stop","requests":"12","quiet":"true""#, "stop, 12 requests, quiet"),
            (r#""event":"stop","requests":"0","quiet":"false""#, "stop, 0 requests, not quiet"),
            (
                r#""event":"upstream failed","dropped":"2","upstream":"name","url":"http://127.0.0.1:1","cause":"connection refused","left_out":"7""#,
                "upstream failed, name, http://127.0.0.1:1, connection refused, 7 more left out, \
                 2 lines dropped before",
            ),
            (
                r#""event":"refused","cause":"bad\u001b[31m\nheader""#,
                "refused, bad\\u{1b}[31m\\nheader",
            ),
            (r#""event":"new","count":3,"of":["a"]"#, r#"new, count 3, of ["a"]"#),
        ] {
            let line = format!(r#"{{"time":"2026","service":"name",{fields}}}"#);
            assert_eq!(shorten(&line), expected);
        }
        let envoy = r#"{"level":"warning","text":"a \"b\""}"#;
        assert_eq!(shorten(envoy), r#"warning: a "b""#);
    }

    #[test]
    fn what_is_no_event_stays_as_it_is() {
        for line in ["", "name: PORT=3000: in use", "{", "[1]", r#"{"a":1}"#, r#"{"event":1}"#] {
            assert_eq!(shorten(line), line);
        }
        assert_eq!(shorten("a\u{1b}[31mb\tc"), "a\\u{1b}[31mb\\tc");
    }
}
