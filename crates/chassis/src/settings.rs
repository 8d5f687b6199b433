//! Settings from the environment.

use std::ffi::OsString;
use std::fmt;
use std::ops::RangeInclusive;

/// Where a variable's value comes from: the process's environment, or a test's.
pub type Env<'a> = &'a dyn Fn(&str) -> Option<OsString>;

/// A variable is missing or invalid: the process exits with code 78.
#[derive(Debug, PartialEq, Eq)]
pub struct Invalid(String);

impl Invalid {
    /// Names the variable, its value, and the remedy.
    #[must_use]
    pub fn new(variable: &str, value: &str, remedy: &str) -> Self {
        Self(format!("{variable}={value:?} {remedy}"))
    }
}

impl fmt::Display for Invalid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Invalid {}

/// A variable's value; `None` when it is not set or empty.
pub fn optional(env: Env, variable: &str) -> Result<Option<String>, Invalid> {
    let Some(value) = env(variable).filter(|v| !v.is_empty()) else {
        return Ok(None);
    };
    value.into_string().map(Some).map_err(|raw| {
        Invalid::new(variable, &raw.to_string_lossy(), "is not UTF-8: set it to plain text")
    })
}

/// A required variable's value; the error suggests `example`.
pub fn required(env: Env, variable: &str, example: &str) -> Result<String, Invalid> {
    optional(env, variable)?
        .ok_or_else(|| Invalid(format!("{variable} is not set: set it, for example to {example}")))
}

/// All of these values, or one message with all errors.
pub fn all<T>(settings: impl IntoIterator<Item = Result<T, Invalid>>) -> Result<Vec<T>, Invalid> {
    let (mut right, mut wrong) = (Vec::new(), Vec::new());
    for setting in settings {
        match setting {
            Ok(value) => right.push(value),
            Err(Invalid(text)) => wrong.push(text),
        }
    }
    if wrong.is_empty() { Ok(right) } else { Err(Invalid(wrong.join("; "))) }
}

/// A whole number within `range`; `default` when the variable is not set.
pub fn number(
    env: Env,
    variable: &str,
    default: usize,
    range: RangeInclusive<usize>,
) -> Result<usize, Invalid> {
    let Some(value) = optional(env, variable)? else {
        return Ok(default);
    };
    value.parse().ok().filter(|n| range.contains(n)).ok_or_else(|| {
        let remedy = format!("is not a whole number from {} to {}", range.start(), range.end());
        Invalid::new(variable, &value, &remedy)
    })
}

/// `PORT`: the port to listen on, [`application::PORT`] when not set. 0 takes any free one,
/// which the start line of the log then names.
///
/// # Errors
///
/// It is not a port number.
pub fn port(env: Env) -> Result<u16, Invalid> {
    let port = number(env, "PORT", application::PORT.into(), 0..=u16::MAX.into())?;
    // number() keeps to the range of a u16.
    Ok(u16::try_from(port).unwrap_or(application::PORT))
}

/// The host in the answers, followed by the version if there is one: `name-1`, or `name-1 green`.
pub fn host(env: Env) -> Result<String, Invalid> {
    let host = host_name(env)?;
    Ok(match version(env)? {
        None => host,
        Some(version) => format!("{host} {version}"),
    })
}

/// `VERSION`: distinguishes the tasks of different releases.
fn version(env: Env) -> Result<Option<String>, Invalid> {
    let version = optional(env, "VERSION")?;
    // It becomes part of every one-line answer, and of an HTML page's table.
    let is_word = |word: &String| word.len() <= 32 && word.bytes().all(|b| b.is_ascii_graphic());
    match version {
        Some(word) if !is_word(&word) || word.contains(['(', ')']) => {
            let remedy =
                "is not a version: at most 32 printable characters, no blanks or parentheses";
            Err(Invalid::new("VERSION", &word, remedy))
        }
        version => Ok(version),
    }
}

/// `HOSTNAME`, else gethostname(2).
fn host_name(env: Env) -> Result<String, Invalid> {
    let host = match optional(env, "HOSTNAME")? {
        Some(host) => host,
        None => nix::unistd::gethostname()
            .map_or_else(|_| "localhost".into(), |name| name.to_string_lossy().into_owned()),
    };
    // It becomes part of every one-line answer. 255: the longest name DNS knows (RFC 1035, 2.3.4).
    // Clients split the line at its last ` (host)`.
    if host.len() > 255 || host.contains(|c: char| c.is_control() || "()".contains(c)) {
        return Err(Invalid::new(
            "HOSTNAME",
            &host,
            "is not a host name: at most 255 bytes, no control characters or parentheses",
        ));
    }
    Ok(host)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(value: &'static str) -> impl Fn(&str) -> Option<OsString> {
        move |_| Some(value.into())
    }

    #[test]
    fn a_port_is_a_number_that_fits() {
        assert_eq!(port(&|_| None), Ok(application::PORT));
        assert_eq!(port(&set("")), Ok(application::PORT));
        assert_eq!(port(&set("8080")), Ok(8080));
        for bad in ["http", "-1", "65536", "99999999999999999999", " 80", "80.0"] {
            assert_eq!(
                port(&set(bad)).unwrap_err().to_string(),
                format!("PORT={bad:?} is not a whole number from 0 to 65535")
            );
        }
    }

    #[test]
    fn a_version_is_a_word_behind_the_host() {
        let host = |version: &'static str| {
            host(&move |variable| {
                Some(if variable == "VERSION" { version } else { "name-1" }.into())
            })
        };
        assert_eq!(host("").as_deref(), Ok("name-1"));
        assert_eq!(host("green").as_deref(), Ok("name-1 green"));
        assert_eq!(host("2.0-rc1").as_deref(), Ok("name-1 2.0-rc1"));
        for bad in ["a b", "(green)", "gr\u{fc}n", "a\n", "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"] {
            let error = host(bad).unwrap_err().to_string();
            assert!(error.starts_with(&format!("VERSION={bad:?} is not a version: ")), "{error}");
        }
    }

    #[test]
    fn the_host_is_hostname_or_the_machines() {
        assert_eq!(host_name(&set("name-1")).as_deref(), Ok("name-1"));
        assert!(!host_name(&|_| None).unwrap().is_empty());
        assert!(!host_name(&set("")).unwrap().is_empty());
        for bad in ["a\nb", "a\u{85}", "a (b)", "a)"] {
            let error = host_name(&set(bad)).unwrap_err().to_string();
            assert!(
                error.starts_with(&format!("HOSTNAME={bad:?} is not a host name: ")),
                "{error}"
            );
        }
    }

    #[test]
    fn a_missing_variable_is_named_with_an_example() {
        assert_eq!(
            required(&|_| None, "NAME_URL", "http://name-service:3000").unwrap_err().to_string(),
            "NAME_URL is not set: set it, for example to http://name-service:3000"
        );
    }

    #[test]
    fn all_that_is_wrong_is_named() {
        let bad = |variable| Err(Invalid::new(variable, "x", "is bad"));
        assert_eq!(all([Ok(1), Ok(2)]), Ok(vec![1, 2]));
        let error = all([bad("A"), Ok(2), bad("B")]).unwrap_err().to_string();
        assert_eq!(error, r#"A="x" is bad; B="x" is bad"#);
    }

    #[test]
    fn bytes_that_are_no_text_are_an_error() {
        use std::os::unix::ffi::OsStringExt;
        let env = |_: &str| Some(OsString::from_vec(vec![b'a', 0xff]));
        let error = optional(&env, "HOSTNAME").unwrap_err().to_string();
        assert!(error.contains("HOSTNAME") && error.contains("not UTF-8"), "{error}");
    }
}
