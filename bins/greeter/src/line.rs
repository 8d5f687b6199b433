//! Parses a leaf's answer: one short line of text.

use std::fmt;

/// Why an answer is not a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum LineError {
    NotUtf8,
    Empty,
    ControlCharacters,
}

impl fmt::Display for LineError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NotUtf8 => "the answer is not UTF-8",
            Self::Empty => "the answer is empty",
            Self::ControlCharacters => "the answer holds control characters",
        })
    }
}

impl std::error::Error for LineError {}

/// The line in an answer, without a newline at its end.
pub(crate) fn line(content: Vec<u8>) -> Result<String, LineError> {
    let mut line = String::from_utf8(content).map_err(|_| LineError::NotUtf8)?;
    line.truncate(line.trim_end_matches(['\r', '\n']).len());
    if line.is_empty() {
        Err(LineError::Empty)
    } else if line.contains(char::is_control) {
        Err(LineError::ControlCharacters)
    } else {
        Ok(line)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_line_and_no_control_character() {
        for (content, expected) in [
            (&b"Emelia"[..], Ok("Emelia")),
            (b"Emelia\r\n\n", Ok("Emelia")),
            (b" Zo\xc3\xab ", Ok(" Zo\u{eb} ")),
            (b"", Err(LineError::Empty)),
            (b"\r\n", Err(LineError::Empty)),
            (b"a\tb", Err(LineError::ControlCharacters)),
            (b"a\nb", Err(LineError::ControlCharacters)),
            (b"a\xc2\x85", Err(LineError::ControlCharacters)),
            (b"Zo\xeb", Err(LineError::NotUtf8)),
        ] {
            let found = line(content.to_owned());
            assert_eq!(found.as_deref(), expected.as_ref().map(|line| *line), "{content:?}");
        }
    }
}
