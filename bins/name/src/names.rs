//! The first names of `names.txt`, found by number without a table built at the start:
//! the compiler works out where every sixteenth line begins.

/// The file, names and comment.
const FILE: &str = include_str!("../names.txt");

/// How many names there are.
pub(crate) const COUNT: usize = count();

/// One name in this many has its place noted; the others are counted from there.
const STEP: usize = 16;

/// Where every [`STEP`]th name begins.
static STARTS: [u16; COUNT.div_ceil(STEP)] = starts();

/// The name with this number, below [`COUNT`].
pub(crate) fn get(number: usize) -> &'static str {
    let mut names = &FILE[STARTS[number / STEP].into()..];
    for _ in 0..number % STEP {
        names = &names[first_line(names).len() + 1..];
    }
    first_line(names)
}

/// Byte by byte: for so few, a search that takes words of them costs five times as much.
fn first_line(text: &str) -> &str {
    &text[..text.bytes().position(|byte| byte == b'\n').unwrap_or(text.len())]
}

/// Where the comment at the top ends: the first line without a `#`.
const fn first() -> usize {
    let file = FILE.as_bytes();
    let mut i = 0;
    while file[i] == b'#' {
        while file[i] != b'\n' {
            i += 1;
        }
        i += 1;
    }
    i
}

const fn count() -> usize {
    let file = FILE.as_bytes();
    let (mut i, mut count) = (first(), 0);
    while i < file.len() {
        if file[i] == b'\n' {
            count += 1;
        }
        i += 1;
    }
    count
}

// The first assertion is the proof that no position is cut.
#[allow(clippy::cast_possible_truncation)]
const fn starts() -> [u16; COUNT.div_ceil(STEP)] {
    let file = FILE.as_bytes();
    assert!(file.len() <= u16::MAX as usize, "names.txt is over 64 KiB: widen STARTS");
    assert!(file[file.len() - 1] == b'\n', "names.txt must end with a newline");
    let mut starts = [0; COUNT.div_ceil(STEP)];
    let (mut start, mut n) = (first(), 0);
    while n < COUNT {
        if n % STEP == 0 {
            starts[n / STEP] = start as u16;
        }
        while file[start] != b'\n' {
            start += 1;
        }
        start += 1;
        n += 1;
    }
    starts
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn there_are_thousands_of_names_each_once() {
        let names: Vec<_> = (0..COUNT).map(get).collect();
        const { assert!(COUNT >= 3_000) };
        assert_eq!(names, FILE.lines().filter(|l| !l.starts_with('#')).collect::<Vec<_>>());
        let mut seen = HashSet::new();
        for name in names {
            assert!(seen.insert(name), "{name:?} is there twice");
            assert!(!name.trim().is_empty(), "a blank line");
            assert_eq!(name, name.trim(), "{name:?} has blanks around it");
            let bad = |c: char| c.is_control() || c.is_ascii_digit() || "()".contains(c);
            assert!(!name.contains(bad), "{name:?} would not look like a name in an answer");
        }
    }
}
