//! `FAULT`: what a leaf does wrong on purpose, to see how the others take it. Only who starts the
//! process can set it: nothing that a client sends changes it.

use std::fmt;
use std::ops::RangeInclusive;
use std::time::Duration;

use crate::answer::Answer;
use crate::watch;
use chassis::settings::{self, Env, Invalid};
use chassis::shutdown;

/// The longest delay, in milliseconds. It is over greeter's patience of 2 s, so that a time-out
/// can be seen; and less than a request may take and than a drain lasts, so that every delayed
/// answer is given.
const LONGEST: u16 = 5000;

const _: () = assert!(
    (LONGEST as u128) < watch::REQUEST_LIMIT.as_millis()
        && (LONGEST as u128) < shutdown::DRAIN_LIMIT.as_millis()
);

/// What a faulty answer is.
const TEXT: &str = "injected fault: this leaf was started with FAULT";
const REASON: &str = "Injected Fault";

/// The line for `--help`.
pub(crate) const HELP: &str =
    "  FAULT            what to do wrong: 20%503, 20%300ms, health, with commas (nothing)\n";

/// All that a leaf does wrong: nothing, unless `FAULT` is set.
#[derive(Debug, Default)]
pub(crate) struct Faults {
    list: Vec<Fault>,
    text: String,
}

/// Whether a leaf would start with this `FAULT`, for whoever is about to start one.
///
/// # Errors
///
/// A part of it is no fault.
pub fn check_fault(text: &str) -> Result<(), Invalid> {
    Faults::parse(text.to_owned()).map(drop)
}

/// One thing that it does wrong.
#[derive(Debug, PartialEq, Eq)]
enum Fault {
    /// So many percent of the answers have this status.
    Status(u8, u16),
    /// So many percent of the answers wait so many milliseconds.
    Delay(u8, u16),
    /// `/health` answers 503.
    Health,
}

impl Faults {
    /// Reads `FAULT`.
    ///
    /// # Errors
    ///
    /// A part of it is no fault.
    pub(crate) fn read(env: Env) -> Result<Self, Invalid> {
        settings::optional(env, "FAULT")?.map_or_else(|| Ok(Self::default()), Self::parse)
    }

    fn parse(text: String) -> Result<Self, Invalid> {
        let Some(list) = text.split(',').map(Fault::read).collect() else {
            let remedy = format!(
                "is no fault: set it to 20%503, 20%300ms or health, or to several with commas \
                 (1% to 100%, a status from 500 to 599, 1ms to {LONGEST}ms)"
            );
            return Err(Invalid::new("FAULT", &text, &remedy));
        };
        Ok(Self { list, text })
    }

    /// Whether there are any.
    pub(crate) fn any(&self) -> bool {
        !self.list.is_empty()
    }

    /// Draws how long the next answer waits.
    pub(crate) fn delay(&self) -> Option<Duration> {
        let delays = self.list.iter().filter_map(|fault| match *fault {
            Fault::Delay(percent, ms) if happens(percent) => Some(ms),
            _ => None,
        });
        delays.max().map(|ms| Duration::from_millis(ms.into()))
    }

    /// Draws what is said in place of the next word.
    pub(crate) fn answer(&self) -> Option<Answer> {
        self.list.iter().find_map(|fault| match *fault {
            Fault::Status(percent, status) if happens(percent) => Some(faulty(status)),
            _ => None,
        })
    }

    /// What `/health` says in place of its own.
    pub(crate) fn health(&self) -> Option<Answer> {
        self.list.contains(&Fault::Health).then(|| faulty(503))
    }
}

impl Fault {
    fn read(text: &str) -> Option<Self> {
        if text == "health" {
            return Some(Self::Health);
        }
        let (percent, rest) = text.split_once('%')?;
        let percent = number(percent, 1..=100)?.try_into().ok()?;
        Some(match rest.strip_suffix("ms") {
            Some(ms) => Self::Delay(percent, number(ms, 1..=LONGEST)?),
            None => Self::Status(percent, number(rest, 500..=599)?),
        })
    }
}

/// A number of digits alone: `parse` would take a sign too.
fn number(text: &str, range: RangeInclusive<u16>) -> Option<u16> {
    let is_plain = text.bytes().all(|byte| byte.is_ascii_digit());
    text.parse().ok().filter(|number| is_plain && range.contains(number))
}

fn happens(percent: u8) -> bool {
    fastrand::u8(..100) < percent
}

fn faulty(status: u16) -> Answer {
    Answer::with_reason(status, REASON, TEXT)
}

/// As it is set, for the log.
impl fmt::Display for Faults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &'static str) -> Result<Faults, Invalid> {
        Faults::read(&move |_| Some(text.into()))
    }

    #[test]
    fn faults_are_off_unless_they_are_set() {
        for faults in [Faults::read(&|_| None).unwrap(), read("").unwrap()] {
            assert!(!faults.any());
            assert!(faults.delay().is_none() && faults.answer().is_none());
            assert!(faults.health().is_none());
        }
    }

    #[test]
    fn several_faults_stand_in_one_setting() {
        let faults = read("1%599,100%5000ms,health,20%503").unwrap();
        let expected =
            [Fault::Status(1, 599), Fault::Delay(100, 5000), Fault::Health, Fault::Status(20, 503)];
        assert_eq!(faults.list, expected);
        assert_eq!(faults.to_string(), "1%599,100%5000ms,health,20%503");
        assert_eq!(faults.delay(), Some(Duration::from_secs(5)));
        assert!(faults.health().is_some());
    }

    #[test]
    fn the_longest_delay_counts() {
        let faults = read("100%10ms,100%30ms,100%20ms").unwrap();
        assert_eq!(faults.delay(), Some(Duration::from_millis(30)));
    }

    #[test]
    fn what_is_no_fault_is_refused() {
        for bad in [
            "503",
            "20%",
            "%503",
            "0%503",
            "101%503",
            "20%499",
            "20%600",
            "20%200",
            "20%0ms",
            "20%5001ms",
            "20%300s",
            "20%300",
            "+20%503",
            "20%+503",
            "20 % 503",
            "20%503,",
            ",",
            "20%503, health",
            "Health",
            "99999%503",
            "20%503ms,x",
        ] {
            let error = read(bad).unwrap_err().to_string();
            assert!(
                error.starts_with(&format!("FAULT={bad:?} is no fault: set it to ")),
                "{error}"
            );
        }
    }
}
