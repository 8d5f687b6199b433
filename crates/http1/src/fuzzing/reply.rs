//! A second parser of what a service answers: see the parent module.

use super::{Headers, chunked, open, piece};
use crate::framing::Framing;
use crate::limits;
use crate::reply::{Error, Reader};

/// Checks one input file: a line that says how to split the input, and then what the service answers.
///
/// # Panics
///
/// The readings differ.
pub fn answer(file: &[u8]) {
    let (sizes, input) = open(file);
    let whole = read(&input, &[0]);
    check(&input, &whole);
    assert_eq!(read(&input, &sizes), whole, "cut into {sizes:?}");
    if input.len() < 500 {
        assert_eq!(read(&input, &[1]), whole, "cut into single bytes");
    }
}

/// What was found of an answer.
#[derive(Debug, PartialEq, Eq)]
struct Outcome {
    content: Vec<u8>,
    keeps_alive: bool,
    /// Where it ends.
    end: usize,
}

/// A call that reads a slice instead of a socket, in pieces of these sizes; 0 is all that is left.
/// `None` if the answer is not complete.
fn read(input: &[u8], sizes: &[usize]) -> Result<Option<Outcome>, Error> {
    let mut reader = Reader::default();
    let mut sizes = sizes.iter().cycle();
    let (mut start, mut end) = (0, 0);
    while !reader.is_done() {
        if end == input.len() {
            if !reader.ends_with_input() {
                return Ok(None);
            }
            break;
        }
        end += piece(&mut sizes).min(input.len() - end);
        start += reader.advance(&input[start..end])?;
    }
    let keeps_alive = reader.keeps_alive();
    Ok(Some(Outcome { content: reader.into_content(), keeps_alive, end: start }))
}

/// Compares the content with what plain string operations find.
fn check(input: &[u8], outcome: &Result<Option<Outcome>, Error>) {
    let Ok(Some(Outcome { content: found, keeps_alive, end })) = outcome else {
        return;
    };
    assert!(found.len() <= limits::ANSWER, "{} bytes", found.len());
    let mut at = 0;
    let mut next = || {
        let length = input[at..].iter().position(|&b| b == b'\n').expect("a line");
        let text: String = input[at..at + length].iter().map(|&b| char::from(b)).collect();
        at += length + 1;
        text.strip_suffix('\r').unwrap_or(&text).to_owned()
    };
    let (is_1_0, headers) = loop {
        let status = std::iter::repeat_with(&mut next).find(|line| !line.is_empty()).unwrap();
        let lines = std::iter::repeat_with(&mut next).take_while(|line| !line.is_empty());
        let headers = Headers::read(lines);
        assert!(headers.0.len() <= 64);
        let (version, code) = status.split_at(9);
        assert!(["HTTP/1.0 ", "HTTP/1.1 "].contains(&version), "{status:?}");
        if &code[..3] == "200" {
            break (version == "HTTP/1.0 ", headers);
        }
        assert!(code.starts_with('1') && !code.starts_with("101"), "{status:?}");
    };
    let framing = headers.framing(is_1_0);
    let rest = &input[at..];
    let (content, length) = match framing {
        None => (rest.to_vec(), rest.len()),
        Some(Framing::Chunked) => chunked(rest),
        Some(Framing::Length(length)) => {
            let length = usize::try_from(length).unwrap();
            (rest[..length].to_vec(), length)
        }
    };
    assert_eq!(*end, at + length, "where it ends");
    assert_eq!(*found, content);
    assert_eq!(*keeps_alive, framing.is_some() && headers.keep_alive(is_1_0));
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;
    use proptest::sample::select;

    #[test]
    fn the_seeds_of_the_fuzzer_mean_one_thing() {
        crate::fuzzing::each_seed("reply", super::answer);
    }

    /// Pieces of answers, good and bad, in any order.
    fn fragments() -> impl Strategy<Value = Vec<u8>> {
        const FRAGMENTS: &[&str] = &[
            "HTTP/1.1 200 OK\r\n",
            "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
            "HTTP/1.1 100 Continue\r\n\r\n",
            "HTTP/1.0 200 OK\r\n",
            "Content-Length: 5\r\n",
            "Connection: close\r\n",
            "5\r\nhello\r\n",
            "0\r\n\r\n",
            "hello",
            "\r\n",
            "é",
        ];
        let text = vec(select(FRAGMENTS), 0..6).prop_map(|fragments| fragments.concat());
        let long = (0..9000_usize)
            .prop_map(|n| format!("HTTP/1.1 200 OK\r\nX: {}\r\n\r\nhello", "x".repeat(n)));
        prop_oneof![
            8 => text.prop_map(String::into_bytes),
            1 => long.prop_map(String::into_bytes),
            1 => vec(any::<u8>(), 0..200),
        ]
    }

    proptest! {
        #[test]
        fn an_answer_means_the_same_however_it_is_cut(
            input in fragments(),
            sizes in vec(b'1'..b'z', 1..8),
        ) {
            super::answer(&[&sizes[..], b"\n", &input].concat());
        }
    }
}
