//! Counts, latencies, and their table.

use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;

use super::failure::Failure;
use crate::escape;

/// How many responders are counted separately. A server may name any number of them.
const MAX_RESPONDERS: usize = 256;
/// The longest of their names, in bytes: a host of 255, a blank, and a version of 32.
const MAX_NAME: usize = 288;
/// Different statuses that are counted.
const MAX_STATUSES: usize = 16;
/// The most steps in which the waits of requests that were never sent are counted.
const STEPS: u64 = 1000;

/// The results so far.
pub(crate) struct Report {
    greetings: Times,
    failures: BTreeMap<Failure, Times>,
    responders: Responders,
    /// By client number: when its pending request was due.
    awaited: Vec<Option<Instant>>,
}

impl Report {
    /// An empty report, for this many clients.
    pub(super) fn new(clients: usize) -> Self {
        Self {
            greetings: Times::new(),
            failures: BTreeMap::new(),
            responders: Responders::default(),
            awaited: vec![None; clients],
        }
    }

    /// A client has sent a request that was due at `due`.
    pub(super) fn sent(&mut self, client: usize, due: Instant) {
        self.awaited[client] = Some(due);
    }

    /// A client's request has an answer, or failed.
    pub(super) fn finished(&mut self, client: usize, answer: Result<String, Failure>) {
        let time = self.awaited[client].take().map(|due| due.elapsed()).unwrap_or_default();
        self.count(answer, time);
    }

    fn count(&mut self, answer: Result<String, Failure>, time: Duration) {
        match answer.and_then(|body| responders(&body).ok_or(Failure::NoGreeting)) {
            Ok(responders) => {
                self.greetings.record(time, 1);
                self.responders.count(responders);
            }
            Err(failure) => self.times_of(failure).record(time, 1),
        }
    }

    /// The latencies of this kind of failure.
    fn times_of(&mut self, failure: Failure) -> &mut Times {
        let is_status = |failure: &&Failure| matches!(failure, Failure::Status(_));
        let new = is_status(&&failure) && !self.failures.contains_key(&failure);
        let full = new && self.failures.keys().filter(is_status).count() >= MAX_STATUSES;
        let kind = if full { Failure::OtherStatus } else { failure };
        self.failures.entry(kind).or_insert_with(Times::new)
    }

    /// The load has ended. With a rate, this many requests were due and never sent: each has waited
    /// since it was due, the last one not at all.
    pub(super) fn ended(&mut self, never_sent: u64, rate: Option<u32>) {
        let awaited: Vec<_> = self.awaited.iter_mut().filter_map(Option::take).collect();
        for due in awaited {
            self.times_of(Failure::Awaited).record(due.elapsed(), 1);
        }
        let Some(apart) = rate.map(|rate| Duration::from_secs(1).as_nanos() / u128::from(rate))
        else {
            return;
        };
        let step = never_sent.div_ceil(STEPS);
        let mut counted = 0;
        while counted < never_sent {
            let count = step.min(never_sent - counted);
            counted += count;
            let waited = u64::try_from(apart * u128::from(counted)).unwrap_or(u64::MAX);
            self.times_of(Failure::NeverSent).record(Duration::from_nanos(waited), count);
        }
    }

    /// Who answered, as the proxies of the mesh counted before and after the load.
    pub(super) fn count_answered(
        &mut self,
        before: &[BTreeMap<String, u64>],
        mut now: Vec<BTreeMap<String, u64>>,
    ) {
        for (now, before) in now.iter_mut().zip(before) {
            for (task, count) in now {
                // Less than before: a new task has the name.
                *count =
                    count.checked_sub(before.get(task).copied().unwrap_or(0)).unwrap_or(*count);
            }
        }
        self.responders = Responders { places: now, ..Responders::default() };
    }

    pub(crate) fn greetings(&self) -> u64 {
        self.greetings.count()
    }

    pub(crate) fn errors(&self) -> u64 {
        self.failures.values().map(Times::count).sum()
    }

    /// How many there were of each kind of failure.
    pub(crate) fn failures(&self) -> String {
        let failures =
            self.failures.iter().map(|(kind, times)| format!("{} {kind}", times.count()));
        let failures: Vec<_> = failures.collect();
        if failures.is_empty() { "none".to_owned() } else { failures.join(", ") }
    }

    /// How often each task answered: those of the edge, and those of each leaf.
    pub(crate) fn answered(&self) -> &[BTreeMap<String, u64>] {
        &self.responders.places
    }

    /// The report of a load that took `time`.
    pub(super) fn text(&self, time: Duration) -> String {
        let greetings = self.greetings();
        #[expect(clippy::cast_precision_loss, reason = "2^52 greetings take a while")]
        let rate = greetings as f64 / time.as_secs_f64();
        let mut lines = vec![
            format!("{greetings} greetings in {:.1} s: {rate:.0} a second", time.as_secs_f64()),
            format!("errors: {}", self.failures()),
        ];
        lines.extend(self.table());
        lines.extend(self.responders.lines());
        lines.join("\n")
    }

    /// A row for all requests, for the greetings, and for each kind of failure.
    fn table(&self) -> Vec<String> {
        let mut all = Times::new();
        for times in self.failures.values().chain([&self.greetings]) {
            all.add(times);
        }
        let mut rows = vec![("all".to_owned(), &all), ("greetings".to_owned(), &self.greetings)];
        rows.extend(self.failures.iter().map(|(kind, times)| (kind.to_string(), times)));
        let width = rows.iter().map(|(label, _)| label.len()).max().unwrap_or_default();
        let line = |label: &str, [count, p50, p99, longest]: [String; 4]| {
            format!("{label:width$} {count:>9} {p50:>9} {p99:>9} {longest:>9}")
        };
        let head = line("", ["count", "p50", "p99", "longest"].map(String::from));
        let rows = rows.iter().map(|(label, times)| line(label, times.cells()));
        std::iter::once(head).chain(rows).collect()
    }
}

/// A histogram of latencies.
struct Times(Histogram<u64>);

impl Times {
    fn new() -> Self {
        // In microseconds. Wrong bounds, or more than 5 digits, would be an error.
        Self(Histogram::new(3).expect("3 digits are possible"))
    }

    fn record(&mut self, time: Duration, count: u64) {
        let micros = u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
        // It grows as it needs, up to 2^63.
        let _ = self.0.record_n(micros.clamp(1, u64::MAX >> 1), count);
    }

    fn add(&mut self, other: &Self) {
        // It grows as it needs.
        let _ = self.0.add(&other.0);
    }

    fn count(&self) -> u64 {
        self.0.len()
    }

    /// The count, p50, p99 and the longest.
    fn cells(&self) -> [String; 4] {
        if self.0.is_empty() {
            return ["0", "-", "-", "-"].map(String::from);
        }
        let time = |micros| format!("{:.2?}", Duration::from_micros(micros));
        let [p50, p99] = [0.5, 0.99].map(|quantile| time(self.0.value_at_quantile(quantile)));
        [self.count().to_string(), p50, p99, time(self.0.max())]
    }
}

/// The tasks that made each part of the greetings: the edge first, then the leaves.
#[derive(Default)]
struct Responders {
    places: Vec<BTreeMap<String, u64>>,
    /// How many there are, in all parts.
    known: usize,
    /// Answers of responders beyond the limits.
    others: u64,
}

impl Responders {
    fn count(&mut self, responders: Vec<String>) {
        for (place, responder) in responders.into_iter().enumerate() {
            if let Some(count) = self.places.get_mut(place).and_then(|its| its.get_mut(&responder))
            {
                *count += 1;
            } else if self.known < MAX_RESPONDERS
                && responder.len() <= MAX_NAME
                && place <= self.places.len()
            {
                if self.places.len() == place {
                    self.places.push(BTreeMap::new());
                }
                self.places[place].insert(responder, 1);
                self.known += 1;
            } else {
                self.others += 1;
            }
        }
    }

    fn lines(&self) -> impl Iterator<Item = String> {
        let place = |responders: &BTreeMap<String, u64>| {
            let mut responders: Vec<_> = responders.iter().collect();
            responders.sort_by(|(one, _), (other, _)| by_number(one, other));
            let responders = responders
                .iter()
                .map(|(responder, count)| format!("{} {count}", escape::line(responder)));
            format!("answered: {}", responders.collect::<Vec<_>>().join(", "))
        };
        let others = (self.others > 0).then(|| {
            format!(
                "answered: {} by others: more than {MAX_RESPONDERS}, or with longer names",
                self.others
            )
        });
        self.places.iter().map(place).chain(others)
    }
}

/// Sorts name-10 after name-9.
fn by_number(one: &str, other: &str) -> Ordering {
    fn parts(name: &str) -> impl Iterator<Item = (usize, &[u8])> {
        let both_digits = |a: &u8, b: &u8| a.is_ascii_digit() == b.is_ascii_digit();
        // Of two numbers the longer one is greater.
        name.as_bytes()
            .chunk_by(both_digits)
            .map(|part| (if part[0].is_ascii_digit() { part.len() } else { 0 }, part))
    }
    parts(one).cmp(parts(other))
}

/// The tasks that made a greeting: `From greeter-1: Hello (greeting-2) Ada (name-1 green)`.
pub(crate) fn responders(body: &str) -> Option<Vec<String>> {
    let (edge, rest) = body.strip_prefix("From ")?.split_once(": ")?;
    let leaves = rest.split('(').skip(1).map(|part| part.split_once(')').map(|(leaf, _)| leaf));
    let leaves: Vec<_> = leaves.collect::<Option<_>>()?;
    let all: Vec<_> = std::iter::once(edge).chain(leaves).map(String::from).collect();
    (all.len() > 1).then_some(all)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn greeting(of: &str) -> String {
        format!("From {of}: Hello (h) Ada (n)")
    }

    #[test]
    fn the_makers_of_a_greeting_are_named_in_it() {
        let greeting = "From greeter-1: Hello (greeting-2) Ada (name-1 green)";
        let expected = ["greeter-1", "greeting-2", "name-1 green"].map(String::from);
        assert_eq!(responders(greeting), Some(expected.to_vec()));
        for other in ["", "hello", "From x", "From x: nobody", "From x: Hello (y"] {
            assert_eq!(responders(other), None, "{other}");
        }
    }

    #[test]
    fn what_came_of_it_is_said_in_one_table() {
        let mut report = Report::new(1);
        for n in 1..=100 {
            report.count(Ok(greeting(&format!("g-{}", n % 2))), Duration::from_millis(n));
        }
        report.count(Err(Failure::Status(503)), Duration::from_secs(2));
        report.count(Ok("what?".to_owned()), Duration::from_micros(7));
        report.ended(3, Some(2));
        let expected = "\
100 greetings in 2.0 s: 50 a second
errors: 1 status 503, 1 no greeting in the answer, 3 never sent: no connection was free
                                       count       p50       p99   longest
all                                      105   52.03ms     1.50s     2.00s
greetings                                100   50.02ms   99.01ms  100.03ms
status 503                                 1     2.00s     2.00s     2.00s
no greeting in the answer                  1    7.00µs    7.00µs    7.00µs
never sent: no connection was free         3     1.00s     1.50s     1.50s
answered: g-0 50, g-1 50
answered: h 100
answered: n 100";
        assert_eq!(report.text(Duration::from_secs(2)), expected);
    }

    #[test]
    fn without_a_greeting_there_are_no_times_of_one() {
        let mut report = Report::new(2);
        report.sent(1, Instant::now());
        report.ended(0, None);
        let words = report.text(Duration::from_secs(1));
        assert!(
            words
                .contains("\ngreetings                          0         -         -         -\n"),
            "{words}"
        );
        assert!(words.contains("\nerrors: 1 not answered when it ended\n"), "{words}");
    }

    #[test]
    fn a_million_that_were_never_sent_are_all_counted() {
        let mut report = Report::new(0);
        report.ended(1_000_000_001, Some(1_000_000));
        assert_eq!(report.errors(), 1_000_000_001);
        let longest = report.failures[&Failure::NeverSent].0.max();
        assert!((1_000_000_000..1_002_000_000).contains(&longest), "{longest}");
    }

    #[test]
    fn ten_comes_after_nine() {
        let mut report = Report::new(0);
        for responder in ["g-10", "g-9", "g-2 v10", "g-2 v9", "g-2", "é"] {
            report.count(Ok(greeting(responder)), Duration::ZERO);
        }
        let words = report.text(Duration::from_secs(1));
        let expected = "\nanswered: g-2 1, g-2 v9 1, g-2 v10 1, g-9 1, g-10 1, é 1\n";
        assert!(words.contains(expected), "{words}");
    }

    #[test]
    fn what_answers_may_name_as_many_as_it_likes() {
        let mut report = Report::new(0);
        for n in 0..10_000 {
            report.count(Ok(format!("From g-{n}: Hello (h-{n})")), Duration::ZERO);
        }
        report.count(Ok(format!("From g: {}", "(x)".repeat(10_000))), Duration::ZERO);
        report.count(Ok(format!("From {}: (h-1)", "g".repeat(60_000))), Duration::ZERO);
        assert_eq!(report.greetings(), 10_002);
        let counted: u64 = report.responders.places.iter().flat_map(BTreeMap::values).sum();
        assert_eq!(counted + report.responders.others, 2 * 10_000 + 10_001 + 2);
        assert_eq!(
            report.responders.places.iter().map(BTreeMap::len).sum::<usize>(),
            MAX_RESPONDERS
        );
        assert!(report.text(Duration::from_secs(1)).len() < 10_000);
    }

    #[test]
    fn it_may_answer_with_as_many_statuses_as_there_are() {
        let mut report = Report::new(0);
        for status in 201..=999 {
            report.count(Err(Failure::Status(status)), Duration::ZERO);
        }
        assert_eq!(report.failures.len(), MAX_STATUSES + 1);
        assert_eq!(report.errors(), 799);
    }
}
