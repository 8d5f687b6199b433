//! The first names of `names.txt`, found by number without a table built at the start:
//! the compiler works out where each line begins, and keeps two bytes a name.

/// The file, names and comment.
const FILE: &str = include_str!("../names.txt");

/// How many names there are.
pub(crate) const COUNT: usize = count();

/// Where each name begins, and, one past the last, where the file ends.
static STARTS: [u16; COUNT + 1] = starts();

/// The name with this number, below [`COUNT`].
pub(crate) fn get(number: usize) -> &'static str {
    let (start, next) = (STARTS[number], STARTS[number + 1]);
    // A name's line ends with a newline.
    &FILE[start.into()..usize::from(next) - 1]
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
const fn starts() -> [u16; COUNT + 1] {
    let file = FILE.as_bytes();
    assert!(file.len() <= u16::MAX as usize, "names.txt is over 64 KiB: widen STARTS");
    assert!(file[file.len() - 1] == b'\n', "names.txt must end with a newline");
    let mut starts = [first() as u16; COUNT + 1];
    let (mut i, mut n) = (first(), 0);
    while i < file.len() {
        if file[i] == b'\n' {
            n += 1;
            starts[n] = (i + 1) as u16;
        }
        i += 1;
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
