//! What the mesh writes to standard output.

use std::fmt::Display;
use std::io::{self, Write as _};
use std::time::Duration;

use chassis::shutdown::STOP_TIMEOUT;

use crate::event::{Awaited, Counted, Event};
use crate::log_line;
use crate::overview::Overview;
use crate::terminal;

/// The prefix of the mesh's own lines.
const MESH: &str = "mesh";

/// The output format.
#[derive(Clone, Copy)]
pub(crate) enum Output {
    /// Lines of text.
    Text,
    /// One JSON object a line.
    Json,
}

impl Output {
    /// Prints an event.
    pub(crate) fn print(self, event: &Event) {
        match self {
            Self::Text => match event {
                Event::Log { process, line } => write(process, &log_line::shorten(line)),
                _ => write(MESH, &text(event)),
            },
            Self::Json => {
                // Cannot fail: all keys of an event are strings.
                let line = serde_json::to_string(event).unwrap_or_default();
                // As in `write`.
                let _ = writeln!(io::stdout(), "{line}");
            }
        }
    }
}

/// Writes one line with its source as a prefix; on a terminal the tasks' lines are dim.
fn write(who: &str, text: &str) {
    let dim = who != MESH && terminal::shows_colours(&io::stdout());
    let (on, off) = if dim { ("\x1b[2m", "\x1b[0m") } else { ("", "") };
    // Fails once the pipe is closed; the mesh keeps running.
    let _ = writeln!(io::stdout(), "{on}{who:<11} | {text}{off}");
}

fn text(event: &Event) -> String {
    match event {
        Event::Up(overview) => all(overview),
        Event::Started { process, address, pid, again } => {
            let again = if *again { " again" } else { "" };
            format!("{process} is up{again}: {address}, process {pid}")
        }
        Event::Ended { process, how, again_in_ms } => {
            let again_in = Duration::from_millis(*again_in_ms);
            format!("{process} ended ({how}); it is started again in {again_in:?}")
        }
        Event::Awaited { processes } => {
            let name = |awaited: &Awaited| format!("{} (process {})", awaited.process, awaited.pid);
            let names: Vec<_> = processes.iter().map(name).collect();
            let (names, limit) = (names.join(", "), STOP_TIMEOUT);
            format!("waiting for {names}, {limit:?} at most; another Ctrl-C ends all at once")
        }
        Event::Log { line, .. } => line.clone(),
        Event::Changed { what } => what.clone(),
        Event::Stopping => "stopping: every task finishes its requests".to_owned(),
        Event::StoppingAtOnce => "stopping at once".to_owned(),
        Event::Answered(answered) => {
            let verb = match answered.counted {
                Counted::Requests => "answered",
                Counted::Connections => "connected",
            };
            let tasks = answered.tasks.iter().map(|(task, count)| format!("{task} {count}"));
            format!("{} {verb}: {}", answered.behind, tasks.collect::<Vec<_>>().join(", "))
        }
    }
}

/// What runs where, and what to do with it.
fn all(overview: &Overview) -> String {
    let front = overview.address;
    let mut lines = vec!["up and running".to_owned(), String::new()];
    lines.extend(overview.lines());
    lines.push(String::new());
    lines.push(format!("  open http://{front} in a browser, or ask with curl:"));
    lines.push(format!("  for i in $(seq 10); do curl -w '\\n' http://{front}; done"));
    let mut tasks = overview.services.iter().flat_map(|service| &service.tasks);
    if let Some((task, envoy)) = tasks.find_map(|task| Some((&task.name, task.envoy.as_ref()?))) {
        let admin = envoy.admin.to_string_lossy();
        // Fails for a null byte, which no path has.
        let admin = shlex::try_quote(&admin).unwrap_or_default();
        lines.push(format!("  statistics: curl --unix-socket {admin} http://{task}/stats"));
    }
    lines.push("  break, scale and release it from another terminal: cargo mesh help".to_owned());
    lines.push("  Ctrl-C ends everything\n".to_owned());
    lines.join("\n")
}

/// Prints an error, if standard error is still open.
pub(crate) fn complain(error: impl Display) {
    let _ = writeln!(io::stderr(), "mesh: {error}");
}

#[cfg(test)]
mod tests {
    use application::EDGE;

    use super::*;
    use crate::event::Answered;
    use crate::task::Task;

    #[test]
    fn the_tasks_that_answered_are_in_the_order_of_their_numbers() {
        let tasks = [10, 9, 2].map(|number| (Task { service: EDGE, number }, 1)).into();
        let answered = Answered { behind: "load balancer", counted: Counted::Requests, tasks };
        let answered = Event::Answered(answered);
        let expected = "load balancer answered: greeter-2 1, greeter-9 1, greeter-10 1";
        assert_eq!(text(&answered), expected);
        let json = serde_json::to_string(&answered).unwrap();
        assert!(json.ends_with(r#""greeter-2":1,"greeter-9":1,"greeter-10":1}}"#), "{json}");
    }
}
