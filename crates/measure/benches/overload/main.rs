//! greeter and a leaf under overload: `just overload`, which sets `SERVICES` to the folder of the shipped
//! binaries.
//!
//! Prints what it measures, and fails where a promise is broken. It takes four minutes, and 10,500 open
//! files (`ulimit -Hn`) for itself and for greeter each.

mod attacks;
mod crowds;
mod edge;
mod leaf;
mod seen;

/// What is measured, by the names that choose some of them.
const ALL: [(&str, fn()); 12] = [
    ("slow-heads", crowds::slow_heads),
    ("slow-many", attacks::too_slow_one_by_one),
    ("idle", crowds::idle_connections),
    ("files-come-and-go", attacks::files_come_and_go),
    ("no-room-to-continue", attacks::no_room_to_continue),
    ("pipelines", attacks::one_who_pipelines),
    ("connects", attacks::those_who_connect),
    ("unread-log", attacks::a_log_that_nobody_reads),
    ("unread-answers", attacks::answers_that_nobody_reads),
    ("many", crowds::many_greetings),
    ("leaf-unread", leaf::without_measure),
    ("leaf-heads", leaf::worst_heads),
];

fn main() {
    let Some((_, chosen)) = measure::asked() else { return };
    for name in &chosen {
        let known = ALL.map(|(known, _)| known);
        assert!(known.contains(&&**name), "{name}: give some of {}", known.join(", "));
    }
    for (name, measure) in ALL {
        if chosen.is_empty() || chosen.iter().any(|chosen| chosen == name) {
            measure();
        }
    }
}
