//! What a terminal can show, and its width.

use std::env;
use std::io::{IsTerminal, Write as _};
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

/// The line on the terminal that is overwritten.
#[derive(Default)]
pub(crate) struct Line {
    written: usize,
}

impl Line {
    /// Overwrites the line, with blanks instead of escape codes. It stays short of the last column,
    /// because a line that wraps cannot be overwritten.
    pub(crate) fn write(&mut self, text: &str) {
        let mut stderr = std::io::stderr();
        let room = width(&stderr).saturating_sub(1);
        let text: String = text.chars().take(room).collect();
        let before = self.written.min(room);
        // Standard error may be closed.
        let _ = write!(stderr, "\r{text:before$}\r");
        self.written = text.len();
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        self.write("");
    }
}
