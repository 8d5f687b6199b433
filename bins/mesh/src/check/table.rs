//! What was seen, a row for each experiment.

use std::time::{Duration, SystemTime};

use serde::Serialize;
use smol::{Timer, future};

use crate::escape;
use crate::load::{Failure, Target};
use crate::terminal::{self, Line};
use crate::within::within;

/// An experiment that is not over by then has failed: an ejection lasts up to a minute, and each
/// change of the laboratory waits for a drain.
const LIMIT: Duration = Duration::from_mins(3);

/// What an experiment saw, or why it did not.
pub(super) type Outcome = Result<String, Miss>;

/// Why something was not seen.
pub(super) enum Miss {
    /// This world has nothing of the kind.
    NotHere(String),
    /// It is otherwise than expected.
    Otherwise(String),
}

impl From<String> for Miss {
    fn from(what: String) -> Self {
        Self::Otherwise(what)
    }
}

impl From<Failure> for Miss {
    fn from(failure: Failure) -> Self {
        Self::Otherwise(failure.to_string())
    }
}

/// All that was seen.
#[derive(Serialize)]
pub(super) struct Table {
    url: String,
    /// What runs there, with its version.
    world: String,
    mesh: &'static str,
    begun: String,
    points: Vec<Row>,
}

/// As `just stack-check` writes it.
#[derive(Serialize)]
struct Row {
    point: &'static str,
    result: &'static str,
    what: String,
}

const OTHERWISE: &str = "NOT AS EXPECTED";

impl Table {
    pub(super) fn new(target: &Target, world: String) -> Self {
        let begun = humantime::format_rfc3339_seconds(SystemTime::now()).to_string();
        let mesh = env!("CARGO_PKG_VERSION");
        Self { url: target.to_string(), world, mesh, begun, points: Vec::new() }
    }

    /// Makes an experiment, and shows that it is being made.
    pub(super) async fn row(
        &mut self,
        point: &'static str,
        experiment: impl Future<Output = Outcome>,
    ) {
        let late = || Err(Miss::Otherwise(format!("it is not over after {LIMIT:?}")));
        let limited = async { within(LIMIT, experiment).await.unwrap_or_else(late) };
        let outcome = future::or(limited, show_progress(point)).await;
        self.add(point, outcome);
    }

    pub(super) fn add(&mut self, point: &'static str, outcome: Outcome) {
        let (result, what) = match outcome {
            Ok(what) => ("seen", what),
            Err(Miss::NotHere(why)) => ("not seen", why),
            Err(Miss::Otherwise(what)) => (OTHERWISE, what),
        };
        self.points.push(Row { point, result, what: escape::line(&what) });
    }

    pub(super) fn is_as_expected(&self) -> bool {
        self.points.iter().all(|row| row.result != OTHERWISE)
    }

    pub(super) fn text(&self) -> String {
        let width = self.points.iter().map(|row| row.point.len()).max().unwrap_or_default();
        let line = |row: &Row| format!("{:<15}  {:width$}  {}", row.result, row.point, row.what);
        let about = format!("{}: {}, {}", self.url, self.world, self.begun);
        let lines: Vec<_> = std::iter::once(about).chain(self.points.iter().map(line)).collect();
        lines.join("\n")
    }

    pub(super) fn json(&self) -> Result<String, String> {
        serde_json::to_string_pretty(self).map_err(|error| error.to_string())
    }
}

/// Shows which experiment is being made in one line that is overwritten, and erased at the end.
async fn show_progress<T>(point: &str) -> T {
    if !terminal::overwrites_lines(&std::io::stderr()) {
        return future::pending().await;
    }
    let mut line = Line::default();
    for second in 0.. {
        line.write(&format!("{point}: {second} s"));
        Timer::after(Duration::from_secs(1)).await;
    }
    future::pending().await
}
