//! Errors in the command line: one line that names the argument and the remedy.

use std::error::Error as _;
use std::ffi::OsString;

use clap::error::{ContextKind, ContextValue, ErrorKind};

use crate::escape;

/// An example of each command, for errors about its arguments.
pub(crate) const EXAMPLES: &[(&str, &str)] = &[
    ("status", "cargo mesh status"),
    ("trace", "cargo mesh trace, or cargo mesh trace --slowest 10"),
    ("scale", "cargo mesh scale name 4"),
    ("pause", "cargo mesh pause name-1"),
    ("resume", "cargo mesh resume name-1"),
    ("kill", "cargo mesh kill name-1"),
    ("fault", "cargo mesh fault name-1 20%503, or cargo mesh fault name-1 none"),
    ("release", "cargo mesh release name green"),
    ("promote", "cargo mesh promote name"),
    ("rollback", "cargo mesh rollback name"),
    ("load", "cargo mesh load --seconds 10"),
    ("check", "cargo mesh check --lab"),
];

/// Former commands that ECS users would take for something else, and what to use instead.
const OLD: &[(&str, &str)] = &[
    ("stop", "cargo mesh pause name-1 suspends a task, cargo mesh kill name-1 kills it"),
    ("start", "cargo mesh resume name-1 resumes a paused task"),
];

/// One line: the wrong argument, and what would be right.
pub(crate) fn what_is_wrong(error: &clap::Error, words: &[OsString]) -> String {
    let text = |kind| match error.get(kind) {
        Some(ContextValue::String(text)) => text.clone(),
        Some(ContextValue::Strings(texts)) => texts.join(" and "),
        Some(other) => other.to_string(),
        None => String::new(),
    };
    let (argument, value) = (text(ContextKind::InvalidArg), text(ContextKind::InvalidValue));
    // The option of `--port <N>`, or a positional argument such as `<TASK>`.
    let name = argument.split([' ', '=']).next().unwrap_or_default();
    let shown = if name.starts_with("--") {
        format!("{name} {}", escape::word(&value))
    } else {
        escape::word(&value)
    };
    let typed = || words.iter().skip(1).filter_map(|word| word.to_str());
    let example = typed().find_map(|word| EXAMPLES.iter().find(|(command, _)| *command == word));
    let as_in = example.map(|(_, example)| format!("as in {example}"));
    match error.kind() {
        ErrorKind::InvalidValue => match error.get(ContextKind::ValidValue) {
            Some(ContextValue::Strings(values)) if !values.is_empty() => {
                format!("{shown}: give one of {}", values.join(", "))
            }
            _ => format!("{name} needs a value"),
        },
        // The parsers of this file and of `Target` say what to give.
        ErrorKind::ValueValidation => {
            let why = error.source().map(ToString::to_string).unwrap_or_default();
            if name == "<TASKS>" || name == "[URL]" { why } else { format!("{shown}: {why}") }
        }
        ErrorKind::InvalidSubcommand => {
            let command = text(ContextKind::InvalidSubcommand);
            if let Some((_, now)) = OLD.iter().find(|(old, _)| *old == command) {
                return format!("there is no {command}: {now}");
            }
            let all: Vec<_> = EXAMPLES.iter().map(|(command, _)| *command).collect();
            let command = escape::word(&command);
            format!("there is no command {command}: give one of {}", all.join(", "))
        }
        ErrorKind::UnknownArgument => {
            let word = escape::word(&argument);
            let similar = text(ContextKind::SuggestedArg);
            match (argument.starts_with('-'), similar.is_empty(), as_in) {
                (true, false, _) => format!("there is no {word}: did you mean {similar}?"),
                (true, true, Some(as_in)) => {
                    format!("there is no {word} here: leave it out, {as_in}")
                }
                (false, _, Some(as_in)) => {
                    format!("{word} is one argument too many: leave it out, {as_in}")
                }
                _ => format!("there is no {word}: leave it out"),
            }
        }
        ErrorKind::MissingRequiredArgument => match (example, as_in) {
            (Some((command, _)), Some(as_in)) => {
                format!("{command} needs {argument}, {as_in}")
            }
            _ => format!("give {argument}"),
        },
        ErrorKind::ArgumentConflict => format!("{name} is given twice: leave one out"),
        ErrorKind::TooManyValues => {
            format!("{name} takes no value: leave out {}", escape::word(&value))
        }
        ErrorKind::InvalidUtf8 => {
            let word = words.iter().skip(1).find(|word| word.to_str().is_none());
            let word = word.map(|word| escape::word(&word.to_string_lossy())).unwrap_or_default();
            format!("{word} is not UTF-8: give plain text")
        }
        _ => escape::line(error.to_string().lines().next().unwrap_or_default()),
    }
}
