//! A trace as text: a line for each span, with a bar to scale.

use super::span::{Kind, Span};

/// In columns. Not what the terminal has: the mesh writes it, and a pipe or a page shows it.
const WIDTH: usize = 80;
/// The shortest scale, however long the names are, in columns.
const SCALE: usize = 20;

/// The trace of a request, its root first: each span that has a depth, and how deep it is shown.
pub(super) fn waterfall(trace: &[(Option<usize>, Span)]) -> String {
    let shown: Vec<_> = trace
        .iter()
        .filter_map(|(depth, span)| Some((label(trace, (*depth)?, span), span)))
        .collect();
    let names = shown.iter().map(|(label, _)| label.chars().count()).max().unwrap_or_default();
    let scale = WIDTH.saturating_sub(names + " 99999.99 ms  ".len()).max(SCALE);
    let lines = shown.iter().map(|(label, span)| {
        let bar = bar(span, &trace[0].1, scale);
        format!("{label:names$} {:>8} ms  {bar}\n", milliseconds(span.duration))
    });
    lines.collect()
}

/// The name, and the status of a request, of an attempt that was not the only one, and of what
/// went wrong.
fn label(trace: &[(Option<usize>, Span)], depth: usize, span: &Span) -> String {
    let is_like = |other: &Span| other.parent == span.parent && other.kind == Kind::Client;
    let attempts = trace.iter().filter(|(_, other)| is_like(other)).count();
    let status = match span.status {
        0 => "  no answer".to_owned(),
        200 if !span.is_root() && (attempts < 2 || span.kind == Kind::Server) => String::new(),
        status => format!("  {status}"),
    };
    format!("{}{}{status}", "  ".repeat(depth), span.place)
}

fn milliseconds(micros: u64) -> String {
    format!("{}.{:02}", micros / 1000, micros % 1000 / 10)
}

/// From a span's start to its end, where the whole scale is the root.
fn bar(span: &Span, root: &Span, scale: usize) -> String {
    let column = |time: u64| {
        let part = time.saturating_sub(root.start).min(root.duration);
        // Less than the scale.
        let column = u128::from(part) * (scale as u128 - 1) / u128::from(root.duration.max(1));
        usize::try_from(column).unwrap_or_default()
    };
    let [from, to] = [span.start, span.start.saturating_add(span.duration)].map(column);
    let bar = if from == to {
        "│".to_owned()
    } else {
        format!("├{}┤", "─".repeat(to - from - 1))
    };
    format!("{}{bar}", " ".repeat(from))
}

#[cfg(test)]
mod tests {
    use application::{EDGE, LEAVES};

    use super::super::span::{Context, Place};
    use super::*;
    use crate::task::Task;

    #[test]
    fn bars_are_to_scale_in_eighty_columns() {
        let greeter = Task { service: EDGE, number: 1 };
        let name = |number| Task { service: LEAVES[1], number };
        let front = Place::front("GET", "/a/path/that/is\u{1b}longer");
        let mut trace = Vec::new();
        for (depth, place, kind, start, duration, status) in [
            (0, front, Kind::Server, 0, 4100, 200),
            (1, Place::Task(greeter), Kind::Client, 100, 3900, 200),
            (2, Place::Call(greeter, LEAVES[1]), Kind::Server, 400, 3000, 200),
            (3, Place::Sidecar(name(1)), Kind::Client, 500, 600, 503),
            (3, Place::Sidecar(name(2)), Kind::Client, 2050, 0, 200),
            (3, Place::Sidecar(name(3)), Kind::Client, 2100, 12_345_678, 0),
        ] {
            let (context, start) = (Context { trace: 1, span: 2 }, 1000 + start);
            let parent = Some(depth as u64);
            let span = Span { context, parent, kind, place, start, duration, status };
            trace.push((Some(depth), span));
        }
        let expected = "\
GET /a/path/that/is\\u{1b}long...  200     4.10 ms  ├───────────────────────────┤
  greeter-1                               3.90 ms  ├──────────────────────────┤
    greeter-1's sidecar > name            3.00 ms    ├────────────────────┤
      name-1's sidecar  503               0.60 ms     ├───┤
      name-2's sidecar  200               0.00 ms                │
      name-3's sidecar  no answer     12345.67 ms                ├─────────────┤
";
        assert_eq!(waterfall(&trace), expected);
    }
}
