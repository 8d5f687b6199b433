//! The log: one JSON object a line on standard output, as `CloudWatch` likes it.
//!
//! Nothing is logged per request. What the network can cause over and over goes through
//! a [`Limited`], so that a fault or an attacker cannot flood the log.

use std::fmt::{self, Write as _};
use std::io::Write as _;
use std::sync::Mutex;
use std::time::{Duration, Instant, SystemTime};

/// The log of one service.
#[derive(Clone, Copy, Debug)]
pub struct Log {
    service: &'static str,
}

impl Log {
    /// `service` stands in every line.
    #[must_use]
    pub const fn new(service: &'static str) -> Self {
        Self { service }
    }

    /// Writes one line. Values may hold anything: they are escaped.
    pub fn event(self, event: &str, fields: &[(&str, &dyn fmt::Display)]) {
        let mut line = self.line(SystemTime::now(), event, fields);
        line.push('\n');
        // One write a line, so that lines of two threads never mix. A log that nobody
        // can read any more is no reason to stop serving.
        let _ = std::io::stdout().write_all(line.as_bytes());
    }

    fn line(self, now: SystemTime, event: &str, fields: &[(&str, &dyn fmt::Display)]) -> String {
        let time = humantime::format_rfc3339_millis(now);
        let mut line =
            format!(r#"{{"time":"{time}","service":"{}","event":"{event}""#, self.service);
        for (key, value) in fields {
            // Writing to a String does not fail.
            let _ = write!(line, r#","{key}":""#);
            let _ = write!(Escaped(&mut line), "{value}");
            line.push('"');
        }
        line.push('}');
        line
    }
}

/// Writes text as the inside of a JSON string (RFC 8259, section 7).
#[derive(Debug)]
pub struct Escaped<'a>(pub &'a mut String);

impl fmt::Write for Escaped<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for c in text.chars() {
            match c {
                '"' => self.0.push_str("\\\""),
                '\\' => self.0.push_str("\\\\"),
                c if c.is_control() => write!(self.0, "\\u{:04x}", u32::from(c))?,
                c => self.0.push(c),
            }
        }
        Ok(())
    }
}

/// An event that is written once a second at most, with the count of those left out.
#[derive(Debug, Default)]
pub struct Limited(Mutex<(Option<Instant>, u64)>);

impl Limited {
    const INTERVAL: Duration = Duration::from_secs(1);

    /// Nothing written yet.
    #[must_use]
    pub const fn new() -> Self {
        Self(Mutex::new((None, 0)))
    }

    /// Writes the event if the last one is a second or more old, else counts it.
    pub fn event(&self, log: Log, event: &str, fields: &[(&str, &dyn fmt::Display)]) {
        if let Some(left_out) = self.admit(Instant::now()) {
            let mut fields = fields.to_vec();
            if left_out > 0 {
                fields.push(("left_out", &left_out));
            }
            log.event(event, &fields);
        }
    }

    /// Whether an event at `now` is written, and how many were left out before it.
    fn admit(&self, now: Instant) -> Option<u64> {
        let mut state = self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let (last, left_out) = &mut *state;
        if last.is_some_and(|last| now.duration_since(last) < Self::INTERVAL) {
            *left_out += 1;
            return None;
        }
        *last = Some(now);
        Some(std::mem::take(left_out))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_one_json_object_whatever_the_values_hold() {
        let nasty = "a\"b\\c\nd\r\u{0}\u{1b}[31m\u{85}é\u{2028}名";
        let line = Log::new("name").line(
            SystemTime::UNIX_EPOCH,
            "start",
            &[("address", &"0.0.0.0:3000"), ("cause", &nasty)],
        );
        assert!(!line.contains('\n') && !line.contains('\u{1b}'));
        let value: serde_json::Value = serde_json::from_str(&line).unwrap();
        assert_eq!(value["time"], "1970-01-01T00:00:00.000Z");
        assert_eq!(value["service"], "name");
        assert_eq!(value["event"], "start");
        assert_eq!(value["address"], "0.0.0.0:3000");
        assert_eq!(value["cause"], nasty);
    }

    #[test]
    fn a_flood_is_counted_not_written() {
        let limited = Limited::new();
        let start = Instant::now();
        assert_eq!(limited.admit(start), Some(0));
        for _ in 0..10_000 {
            assert_eq!(limited.admit(start + Duration::from_millis(999)), None);
        }
        assert_eq!(limited.admit(start + Duration::from_secs(1)), Some(10_000));
        assert_eq!(limited.admit(start + Duration::from_secs(2)), Some(0));
    }
}
