//! What came of a load, in words.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use hdrhistogram::Histogram;

/// Different makers that are counted; what answers may name as many as it likes.
const MAX_MAKERS: usize = 256;

/// Why there was no greeting.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Failure {
    /// Another status than 200.
    Status(u16),
    /// Status 200, but no greeting.
    NoGreeting,
    Connect,
    /// The connection broke, or what came was no HTTP.
    Broken,
    /// No answer within this time.
    Late(Duration),
    /// No connection was free before the end.
    NeverSent,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        match self {
            Self::Status(status) => write!(f, "status {status}"),
            Self::NoGreeting => f.write_str("no greeting in the answer"),
            Self::Connect => f.write_str("no connection"),
            Self::Broken => f.write_str("connection broke"),
            Self::Late(limit) => write!(f, "no answer within {limit:?}"),
            Self::NeverSent => f.write_str("never sent: no connection was free"),
        }
    }
}

/// What came of it so far.
pub(super) struct Report {
    /// The greetings' times in microseconds, to three digits.
    times: Histogram<u64>,
    failures: BTreeMap<Failure, u64>,
    /// Who made a greeting's parts, in their order: the edge, then the leaves.
    makers: Vec<BTreeMap<String, u64>>,
}

impl Default for Report {
    fn default() -> Self {
        // Wrong bounds, or more than 5 digits, would be an error.
        let times = Histogram::new(3).expect("3 digits are possible");
        Self { times, failures: BTreeMap::new(), makers: Vec::new() }
    }
}

impl Report {
    /// Counts an answer, which took so long.
    pub(super) fn count(&mut self, answer: Result<String, Failure>, time: Duration) {
        let greeting = answer.and_then(|body| makers(&body).ok_or(Failure::NoGreeting));
        let makers = match greeting {
            Ok(makers) => makers,
            Err(failure) => return *self.failures.entry(failure).or_default() += 1,
        };
        let micros = u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
        // It grows as it needs, up to 2^63.
        let _ = self.times.record(micros.clamp(1, u64::MAX >> 1));
        let known: usize = self.makers.iter().map(BTreeMap::len).sum();
        for (place, maker) in makers.into_iter().enumerate() {
            if self.makers.len() == place {
                self.makers.push(BTreeMap::new());
            }
            if known < MAX_MAKERS || self.makers[place].contains_key(&maker) {
                *self.makers[place].entry(maker).or_default() += 1;
            }
        }
    }

    pub(super) fn never_sent(&mut self, count: u64) {
        if count > 0 {
            self.failures.insert(Failure::NeverSent, count);
        }
    }

    pub(super) fn greetings(&self) -> u64 {
        self.times.len()
    }

    pub(super) fn errors(&self) -> u64 {
        self.failures.values().sum()
    }

    /// What came of it in so long a time.
    pub(super) fn words(&self, time: Duration) -> String {
        let greetings = self.greetings();
        #[expect(clippy::cast_precision_loss, reason = "2^52 greetings take a while")]
        let rate = greetings as f64 / time.as_secs_f64();
        let mut lines = vec![format!(
            "{greetings} greetings in {:.1} s: {rate:.0} a second",
            time.as_secs_f64()
        )];
        if greetings > 0 {
            let at = |quantile| Duration::from_micros(self.times.value_at_quantile(quantile));
            let longest = Duration::from_micros(self.times.max());
            lines.push(format!(
                "times: p50 {:.2?}, p99 {:.2?}, longest {longest:.2?}",
                at(0.5),
                at(0.99)
            ));
        }
        let failures = self.failures.iter().map(|(failure, count)| format!("{count} {failure}"));
        let failures: Vec<_> = failures.collect();
        lines.push(match failures.as_slice() {
            [] => "errors: none".to_owned(),
            some => format!("errors: {}", some.join(", ")),
        });
        lines.extend(self.makers.iter().map(|makers| {
            let makers = makers.iter().map(|(maker, count)| format!("{maker} {count}"));
            format!("answered: {}", makers.collect::<Vec<_>>().join(", "))
        }));
        lines.join("\n")
    }
}

/// Who made a greeting: `From greeter-1: Hello (greeting-2) Ada (name-1 green)`.
fn makers(body: &str) -> Option<Vec<String>> {
    let (edge, rest) = body.strip_prefix("From ")?.split_once(": ")?;
    let leaves = rest.split('(').skip(1).map(|part| part.split_once(')').map(|(leaf, _)| leaf));
    let leaves: Vec<_> = leaves.collect::<Option<_>>()?;
    let all: Vec<_> = std::iter::once(edge).chain(leaves).map(String::from).collect();
    (all.len() > 1).then_some(all)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_makers_of_a_greeting_are_named_in_it() {
        let greeting = "From greeter-1: Hello (greeting-2) Ada (name-1 green)";
        let expected = ["greeter-1", "greeting-2", "name-1 green"].map(String::from);
        assert_eq!(makers(greeting), Some(expected.to_vec()));
        for other in ["", "hello", "From x", "From x: nobody", "From x: Hello (y"] {
            assert_eq!(makers(other), None, "{other}");
        }
    }

    #[test]
    fn what_came_of_it_is_said_in_a_few_lines() {
        let mut report = Report::default();
        for n in 1..=100 {
            let greeting = format!("From g-{}: Hello (h) Ada (n)", n % 2);
            report.count(Ok(greeting), Duration::from_millis(n));
        }
        report.count(Err(Failure::Status(503)), Duration::ZERO);
        report.count(Ok("what?".to_owned()), Duration::ZERO);
        report.never_sent(3);
        let words = report.words(Duration::from_secs(2));
        let lines: Vec<_> = words.lines().collect();
        assert_eq!(lines[0], "100 greetings in 2.0 s: 50 a second");
        assert_eq!(lines[1], "times: p50 50.02ms, p99 99.01ms, longest 100.03ms");
        let errors =
            "1 status 503, 1 no greeting in the answer, 3 never sent: no connection was free";
        assert_eq!(lines[2], format!("errors: {errors}"));
        assert_eq!(lines[3..], ["answered: g-0 50, g-1 50", "answered: h 100", "answered: n 100"]);
    }

    #[test]
    fn what_answers_may_name_as_many_as_it_likes() {
        let mut report = Report::default();
        for n in 0..10_000 {
            report.count(Ok(format!("From g-{n}: Hello (h-{n})")), Duration::ZERO);
        }
        assert_eq!(report.greetings(), 10_000);
        assert!(report.makers.iter().map(BTreeMap::len).sum::<usize>() <= MAX_MAKERS + 1);
    }
}
