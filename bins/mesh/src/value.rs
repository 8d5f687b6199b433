//! Values of the command line.

use std::fmt::Display;
use std::ops::RangeInclusive;
use std::str::FromStr;

/// A whole number in this range.
pub(crate) fn whole<T>(
    range: RangeInclusive<T>,
) -> impl Fn(&str) -> Result<T, String> + Clone + Send + Sync + 'static
where
    T: FromStr + Display + PartialOrd + Clone + Send + Sync + 'static,
{
    move |word| {
        let number = word.parse().ok().filter(|number| range.contains(number));
        number
            .ok_or_else(|| format!("give a whole number from {} to {}", range.start(), range.end()))
    }
}

/// The longest word that a mesh is sent, in bytes.
const MAX_WORD: usize = 256;

/// A word that fits into what is sent to a mesh.
pub(crate) fn word(word: &str) -> Result<String, String> {
    if word.len() > MAX_WORD {
        return Err(format!("give {MAX_WORD} bytes at most"));
    }
    Ok(word.to_owned())
}
