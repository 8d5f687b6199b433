//! What a terminal can show, and its width.

use std::env;
use std::io::IsTerminal;
use std::os::fd::AsFd;

/// Assumed if the width is unknown.
const USUAL_WIDTH: usize = 80;

/// Whether it shows colours: it is a terminal, and neither `NO_COLOR` nor `TERM` says no
/// (<https://no-color.org>).
pub(crate) fn shows_colours(output: &impl IsTerminal) -> bool {
    let no_colour = env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    overwrites_lines(output) && !no_colour
}

/// Whether it can overwrite a line. A dumb terminal cannot: a teletype, or a window in an editor.
pub(crate) fn overwrites_lines(output: &impl IsTerminal) -> bool {
    output.is_terminal() && env::var_os("TERM").is_some_and(|term| term != "dumb")
}

/// Its current width, in columns.
pub(crate) fn width(output: &impl AsFd) -> usize {
    match rustix::termios::tcgetwinsize(output) {
        // The kernel reports 0 for a terminal without a window.
        Ok(size) if size.ws_col > 0 => size.ws_col.into(),
        _ => USUAL_WIDTH,
    }
}
