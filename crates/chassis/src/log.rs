//! The log: one JSON object a line on standard output, as `CloudWatch` likes it.
//!
//! Nothing is logged per request. Events that clients can cause repeatedly are rate-limited by
//! [`Limited`], so that a fault or an attacker cannot flood the log. A blocked log blocks no client: a
//! line that cannot be written at once is dropped, and the next one has the count (`dropped`).

use std::fmt::{self, Write as _};
use std::os::fd::AsFd;
use std::time::{Duration, Instant, SystemTime};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use parking_lot::Mutex;

/// The longest line, in bytes, with its newline: as much as a writable pipe takes without blocking,
/// Linux's `PIPE_BUF` (pipe(7)).
const MAX_LINE: usize = 4096;

/// The log of one service.
#[derive(Clone, Copy, Debug)]
pub struct Log {
    service: &'static str,
}

impl Log {
    /// A log with `service` in every line.
    #[must_use]
    pub const fn new(service: &'static str) -> Self {
        Self { service }
    }

    /// Writes one line, or drops it. Values are escaped. A field that does not fit into a line of
    /// 4,096 bytes is left out.
    pub fn event(self, event: &str, fields: &[(&str, &dyn fmt::Display)]) {
        let mut output = OUTPUT.lock();
        output.event(std::io::stdout(), |dropped| {
            self.line(SystemTime::now(), event, dropped, fields)
        });
    }

    fn line(
        self,
        now: SystemTime,
        event: &str,
        dropped: u64,
        fields: &[(&str, &dyn fmt::Display)],
    ) -> String {
        let time = humantime::format_rfc3339_millis(now);
        let mut line =
            format!(r#"{{"time":"{time}","service":"{}","event":"{event}""#, self.service);
        let dropped: &[(&str, &dyn fmt::Display)] =
            if dropped > 0 { &[("dropped", &dropped)] } else { &[] };
        for (key, value) in dropped.iter().chain(fields) {
            let before = line.len();
            // Writing to a String does not fail.
            let _ = write!(line, r#","{key}":""#);
            let _ = write!(Escaped(&mut line), "{value}");
            line.push('"');
            if line.len() + "\n}\n".len() > MAX_LINE {
                line.truncate(before);
            }
        }
        line.push_str("}\n");
        line
    }
}

/// The process's standard output.
static OUTPUT: Mutex<Output> = Mutex::new(Output::NEW);

/// What happened to the lines before the next one.
#[derive(Debug)]
struct Output {
    /// Lines dropped since the last one that was written.
    dropped: u64,
    /// The last line was cut off: the next one begins with a newline.
    cut: bool,
}

impl Output {
    const NEW: Self = Self { dropped: 0, cut: false };

    /// Writes a line, or drops it. `line` gets the number of lines dropped before it.
    fn event(&mut self, to: impl AsFd, line: impl FnOnce(u64) -> String) {
        let mut ready = [PollFd::new(to.as_fd(), PollFlags::POLLOUT)];
        if poll(&mut ready, PollTimeout::ZERO).is_ok_and(|count| count > 0) {
            let line = [if self.cut { "\n" } else { "" }, &line(self.dropped)].concat();
            // One write per line, so that lines of two processes never mix.
            match nix::unistd::write(&to, line.as_bytes()) {
                Ok(length) if length == line.len() => {
                    *self = Self::NEW;
                    return;
                }
                Ok(length) => self.cut |= length > 0,
                Err(_) => {}
            }
        }
        // The pipe is full or closed, or the disk is full: no reason to stop serving.
        self.dropped += 1;
    }
}

/// Writes text as the content of a JSON string (RFC 8259, section 7).
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

/// A rate limit: one event in [`Limited::INTERVAL`] at most, with the count of those left out.
#[derive(Debug, Default)]
pub struct Limited(Mutex<(Option<Instant>, u64)>);

impl Limited {
    /// The least time between two events.
    pub const INTERVAL: Duration = Duration::from_secs(1);

    /// Nothing written yet.
    #[must_use]
    pub const fn new() -> Self {
        Self(Mutex::new((None, 0)))
    }

    /// Writes the event if the last one is old enough, else counts it.
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
        let mut state = self.0.lock();
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
    use std::io::Read as _;

    use super::*;

    #[test]
    fn a_line_is_one_json_object_whatever_the_values_hold() {
        let nasty = "a\"b\\c\nd\r\u{0}\u{1b}[31m\u{85}é\u{2028}名";
        let line = Log::new("name").line(
            SystemTime::UNIX_EPOCH,
            "start",
            0,
            &[("address", &"0.0.0.0:3000"), ("cause", &nasty)],
        );
        assert_eq!(line.find('\n'), Some(line.len() - 1));
        assert!(!line.contains('\u{1b}'));
        let value: serde_json::Value = serde_json::from_str(&line).unwrap();
        assert_eq!(value["time"], "1970-01-01T00:00:00.000Z");
        assert_eq!(value["service"], "name");
        assert_eq!(value["event"], "start");
        assert_eq!(value["address"], "0.0.0.0:3000");
        assert_eq!(value["cause"], nasty);
    }

    #[test]
    fn a_line_has_an_end() {
        let long = "\u{1}".repeat(4000);
        let line = Log::new("name").line(
            SystemTime::UNIX_EPOCH,
            "upstream failed",
            7,
            &[("upstream", &"name"), ("url", &long), ("cause", &"connection refused")],
        );
        let expected = r#"{"time":"1970-01-01T00:00:00.000Z","service":"name","event":"upstream failed","dropped":"7","upstream":"name","cause":"connection refused"}"#;
        assert_eq!(line, format!("{expected}\n"));
    }

    /// A pipe that nobody reads takes what it has room for, and then nobody waits for it.
    #[test]
    fn a_line_that_cannot_be_written_is_counted() {
        let (mut read, write) = std::io::pipe().unwrap();
        let mut output = Output::NEW;
        let mut written = 0;
        while output.dropped == 0 {
            output.event(&write, |dropped| format!("{dropped} {}\n", "x".repeat(1000)));
            written += 1;
            assert!(written < 100_000, "a pipe without an end");
        }
        for _ in 0..9 {
            output.event(&write, |_| unreachable!("there is no room"));
        }
        let mut line = vec![0; 1003 * (written - 1)];
        read.read_exact(&mut line).unwrap();
        assert_eq!(line.chunks(1003).filter(|line| line.starts_with(b"0 xx")).count(), written - 1);
        for expected in ["10\n", "0\n"] {
            output.event(&write, |dropped| format!("{dropped}\n"));
            let mut line = vec![0; expected.len()];
            read.read_exact(&mut line).unwrap();
            assert_eq!(line, expected.as_bytes());
        }
        // Whoever read it has gone.
        drop(read);
        output.event(&write, |_| "lost\n".to_owned());
        assert_eq!(output.dropped, 1);
    }

    #[test]
    fn a_line_that_broke_off_gets_an_end() {
        let mut output = Output { dropped: 3, cut: true };
        let (mut read, write) = std::io::pipe().unwrap();
        output.event(&write, |dropped| format!("{dropped}\n"));
        drop(write);
        let mut text = String::new();
        read.read_to_string(&mut text).unwrap();
        assert_eq!(text, "\n3\n");
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
