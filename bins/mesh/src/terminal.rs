//! What a terminal may be sent, and how wide it is.

use std::env;
use std::io::IsTerminal;
use std::os::fd::AsFd;

/// What it is taken for if nobody knows.
const USUAL_WIDTH: usize = 80;

/// Whether it shows colours: it is a terminal, and neither `NO_COLOR` nor `TERM` says no
/// (<https://no-color.org>).
pub(crate) fn shows_colours(output: &impl IsTerminal) -> bool {
    let no_colour = env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    writes_anew(output) && !no_colour
}

/// Whether it can write a line anew: a dumb one is a teletype, or the window of an editor.
pub(crate) fn writes_anew(output: &impl IsTerminal) -> bool {
    output.is_terminal() && env::var_os("TERM").is_some_and(|term| term != "dumb")
}

/// Its columns at this moment.
pub(crate) fn width(output: &impl AsFd) -> usize {
    match rustix::termios::tcgetwinsize(output) {
        // Of some that are no window, the kernel says 0.
        Ok(size) if size.ws_col > 0 => size.ws_col.into(),
        _ => USUAL_WIDTH,
    }
}
