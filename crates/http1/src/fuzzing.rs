//! A second, simpler parser of what a client sends, and in `reply` of what a service answers. The
//! product's parser must find the same however the bytes are split, and what the second one finds.
//! `fuzz/` calls this with libFuzzer's inputs, the tests with the seeds in `fuzz/corpus`.

pub mod reply;

use std::iter::Cycle;
use std::slice::Iter;

use crate::framing::Framing;
use crate::limits;
use crate::negotiate::{Offer, Preferences};
use crate::refusal::Refusal;
use crate::request::{self, Head, Method};
use crate::requests::{Next, Requests};

/// A request, with all that a service could keep of its head.
type Request = request::Request<Kept>;

#[derive(Debug, PartialEq, Eq)]
struct Kept {
    path: String,
    headers: Vec<(String, Vec<u8>)>,
    media: Preferences<3>,
    codings: Preferences<2>,
}

const MEDIA: [Offer; 3] = [
    Offer(&["*/*", "text/*", "text/plain"]),
    Offer(&["*/*", "application/*", "application/json"]),
    Offer(&["*/*", "text/*", "text/html"]),
];
const CODINGS: [Offer; 2] = [Offer(&["*", "x-gzip", "gzip"]), Offer(&["*", "identity"])];

impl From<&Head<'_>> for Kept {
    fn from(head: &Head) -> Self {
        let mut kept = Self {
            path: head.path.to_owned(),
            headers: Vec::new(),
            media: Preferences::of(&MEDIA),
            codings: Preferences::of(&CODINGS),
        };
        for (name, value) in head.headers() {
            let name = name.to_ascii_lowercase();
            match &*name {
                "accept" => kept.media.read(value),
                "accept-encoding" => kept.codings.read(value),
                _ => {}
            }
            kept.headers.push((name, value.to_owned()));
        }
        kept
    }
}

/// The most that a client sends: enough to exceed every limit, twice.
const MAX_SENT: usize = 160 * 1024;

/// Checks one input file: a line that says how to split the input, and then what the client sends.
///
/// # Panics
///
/// The readings differ.
pub fn requests(file: &[u8]) {
    let (sizes, input) = open(file);
    let whole = Feed::new(&input, &[0], usize::MAX).run();
    check(&input, &whole);
    // It buffers no more than a connection does.
    assert_eq!(Feed::new(&input, &sizes, limits::HEAD).run(), whole, "cut into {sizes:?}");
    if input.len() < 500 {
        assert_eq!(Feed::new(&input, &[1], limits::HEAD).run(), whole, "cut into single bytes");
    }
}

/// The sizes of the pieces, and the input, as an input file has them. The bytes of its first line are the
/// sizes, in turn: `1` is one byte, `2` two, and so on through ASCII; `0` is all that is left. For every
/// thousand bytes of input the pieces grow by their size. In the input, a byte 0xFF stands for a
/// thousand copies of the byte before it, so that short files reach the limits.
fn open(file: &[u8]) -> (Vec<usize>, Vec<u8>) {
    let end = file.iter().position(|&b| b == b'\n').unwrap_or(file.len());
    let input = expand(file.get(end + 1..).unwrap_or_default());
    // Many thousands of single bytes would take too long.
    let scale = 1 + input.len() / 1000;
    let sizes = file[..end].iter().map(|b| usize::from(b.wrapping_sub(b'0')) * scale).collect();
    (sizes, input)
}

fn expand(input: &[u8]) -> Vec<u8> {
    let mut expanded = Vec::new();
    for &byte in input {
        match expanded.last() {
            Some(&last) if byte == 0xff => expanded.resize(expanded.len() + 1000, last),
            _ => expanded.push(byte),
        }
        if expanded.len() > MAX_SENT {
            break;
        }
    }
    expanded
}

/// The size of the next piece.
fn piece(sizes: &mut Cycle<Iter<usize>>) -> usize {
    match sizes.next() {
        None | Some(0) => usize::MAX,
        Some(&size) => size,
    }
}

/// What was found.
#[derive(Debug, PartialEq, Eq)]
struct Outcome {
    requests: Vec<Found>,
    end: End,
}

#[derive(Debug, PartialEq, Eq)]
struct Found {
    request: Request,
    /// Where its head begins.
    head: usize,
    /// Where its body begins.
    body: usize,
    /// Where the next request begins.
    end: usize,
}

#[derive(Debug, PartialEq, Eq)]
enum End {
    /// The client sends no more.
    NoMore,
    /// The last request asked for the end.
    Close,
    Refused(Refusal),
}

/// A connection that reads a slice instead of a socket.
struct Feed<'a> {
    input: &'a [u8],
    /// `start..end` is received and not yet used.
    start: usize,
    end: usize,
    sizes: Cycle<Iter<'a, usize>>,
    /// The most that is buffered.
    limit: usize,
}

impl<'a> Feed<'a> {
    fn new(input: &'a [u8], sizes: &'a [usize], limit: usize) -> Self {
        Self { input, start: 0, end: 0, sizes: sizes.iter().cycle(), limit }
    }

    fn run(mut self) -> Outcome {
        let mut found: Vec<Found> = Vec::new();
        let mut requests = Requests::<Kept>::default();
        let (mut head, mut body) = (0, 0);
        let end = loop {
            let unused = &self.input[self.start..self.end];
            let (used, next) = match requests.advance(unused) {
                Ok(advanced) => advanced,
                Err(refusal) => break End::Refused(refusal),
            };
            assert!(used <= unused.len(), "used more than is there");
            self.start += used;
            match next {
                Next::Input(_) => {
                    if self.fill() == 0 {
                        let rest = &self.input[self.start..];
                        break requests.end(rest).map_or_else(End::Refused, |()| End::NoMore);
                    }
                }
                Next::Head => body = self.start,
                Next::Request(request) => {
                    let keep_alive = request.keep_alive;
                    found.push(Found { request, head, body, end: self.start });
                    head = self.start;
                    if !keep_alive {
                        break End::Close;
                    }
                }
            }
        };
        Outcome { requests: found, end }
    }

    /// The next piece; 0 is the end of the input.
    fn fill(&mut self) -> usize {
        let room = self.limit - (self.end - self.start);
        assert!(room > 0, "waits for more than may be held");
        let count = piece(&mut self.sizes).min(room).min(self.input.len() - self.end);
        self.end += count;
        count
    }
}

/// Compares what was found with the second parser's result.
fn check(input: &[u8], outcome: &Outcome) {
    let mut next = 0;
    for Found { request, head, body, end } in &outcome.requests {
        assert_eq!(*head, next, "where a head begins");
        check_head(request, &input[*head..*body]);
        let length = match request.body {
            Framing::Length(length) => usize::try_from(length).unwrap(),
            Framing::Chunked => chunked(&input[*body..]).1,
        };
        assert_eq!(end - body, length, "the length of a body");
        assert!(length as u64 <= limits::BODY);
        next = *end;
    }
    match outcome.end {
        End::NoMore => assert_eq!(input[next..].trim_ascii(), b"", "input left over"),
        End::Close => assert!(!outcome.requests.is_empty()),
        End::Refused(_) => {}
    }
}

/// Reads a head with plain string operations, without the parser's code, and compares.
fn check_head(request: &Request, head: &[u8]) {
    assert!(head.len() <= limits::HEAD);
    let text: String = head.iter().map(|&byte| char::from(byte)).collect();
    let text = text.trim_start_matches("\r\n");
    let text = text.strip_suffix("\r\n\r\n").expect("an empty line at the end");
    assert!(!text.contains("\r\n\r\n"), "a head within a head");
    let mut lines = text.split("\r\n");
    let line = lines.next().unwrap();
    assert!(!text.contains('\0') && text.split("\r\n").all(|l| !l.contains(['\r', '\n'])));

    let words: Vec<_> = line.split(' ').collect();
    let [method, target, version] = words[..] else { panic!("three words: {line:?}") };
    let minor = version.strip_prefix("HTTP/1.").expect("HTTP/1");
    assert!(minor.len() == 1 && minor.chars().all(|c| c.is_ascii_digit()), "{version:?}");
    assert_eq!(request.is_1_0, minor == "0");
    assert!((1..=32).contains(&method.len()));
    assert_eq!(request.method == Method::Get, method == "GET");
    assert_eq!(request.method == Method::Head, method == "HEAD");
    assert_eq!(request.method == Method::Options, method == "OPTIONS");
    assert!(!target.contains(|c: char| !('!'..='~').contains(&c) || c == '#' || c == '\\'));
    let scheme = ["http://", "https://"].into_iter().find(|scheme| {
        target.get(..scheme.len()).is_some_and(|start| start.eq_ignore_ascii_case(scheme))
    });
    let path = match scheme {
        None => target,
        Some(scheme) => {
            let end = target[scheme.len()..].find(['/', '?']);
            let (authority, path) =
                target[scheme.len()..].split_at(end.unwrap_or(target.len() - scheme.len()));
            assert!(is_host(authority) && !authority.is_empty() && !authority.starts_with(':'));
            path
        }
    };
    if path.starts_with(['/', '?']) {
        let end = path.find('?').unwrap_or(path.len());
        assert_eq!(request.info.path, path[..end], "{target:?}");
    } else if !(path.is_empty() && scheme.is_some()) {
        assert!(method == "CONNECT" || (method == "OPTIONS" && target == "*"), "{target:?}");
    }

    let headers = Headers::read(lines);
    assert!(headers.0.len() <= 128);
    let values = |name: &str| headers.values(name);

    let hosts = values("host").len();
    assert!(hosts == 1 || (hosts == 0 && request.is_1_0), "{hosts} hosts");
    assert!(values("host").into_iter().all(is_host));
    assert_eq!(request.body, headers.framing(request.is_1_0).unwrap_or(Framing::Length(0)));
    assert_eq!(request.keep_alive, headers.keep_alive(request.is_1_0));
    assert_eq!(request.expects_continue, !request.is_1_0 && !values("expect").is_empty());

    let Kept { headers: kept, media, codings, .. } = &request.info;
    let bytes = |text: &str| -> Vec<u8> { text.chars().map(|c| c as u8).collect() };
    let expected: Vec<_> = headers.0.iter().map(|(n, v)| (n.clone(), bytes(v))).collect();
    assert_eq!(*kept, expected);
    let (best, qualities) = preferred(&MEDIA, &values("accept"));
    assert_eq!((media.best(), media.qualities()), (best, qualities));
    let (best, qualities) = preferred(&CODINGS, &values("accept-encoding"));
    assert_eq!((codings.best(), codings.qualities()), (best, qualities));
}

/// A head's headers: names in lower case, and values.
struct Headers(Vec<(String, String)>);

impl Headers {
    fn read(lines: impl Iterator<Item = impl AsRef<str>>) -> Self {
        let header = |line: &str| {
            let (name, value) = line.split_once(':').expect("a colon");
            assert!(!name.is_empty() && !name.contains(|c: char| c <= ' ' || c > '~'), "{name:?}");
            (name.to_ascii_lowercase(), value.trim_matches([' ', '\t']).to_owned())
        };
        Self(lines.map(|line| header(line.as_ref())).collect())
    }

    fn values(&self, name: &str) -> Vec<&str> {
        self.0.iter().filter(|(n, _)| n == name).map(|(_, value)| &**value).collect()
    }

    fn framing(&self, is_1_0: bool) -> Option<Framing> {
        let number = |digits: &str| {
            assert!(!digits.is_empty() && digits.chars().all(|c| c.is_ascii_digit()));
            digits.trim_start_matches('0').to_owned()
        };
        let (lengths, codings) = (self.values("content-length"), self.values("transfer-encoding"));
        let members = codings.iter().flat_map(|list| outside_quotes(list, ','));
        let members: Vec<_> = members.filter(|member| !member.is_empty()).collect();
        match (&lengths[..], &codings[..]) {
            ([], []) => None,
            ([], [_, ..]) if members.join(" ").eq_ignore_ascii_case("chunked") && !is_1_0 => {
                Some(Framing::Chunked)
            }
            ([first, more @ ..], []) => {
                let first = number(first);
                assert!(more.iter().all(|other| number(other) == first), "two lengths");
                Some(Framing::Length(if first.is_empty() { 0 } else { first.parse().unwrap() }))
            }
            (lengths, codings) => panic!("lengths {lengths:?} and codings {codings:?}"),
        }
    }

    fn keep_alive(&self, is_1_0: bool) -> bool {
        let options = self.values("connection").join(",").to_ascii_lowercase();
        let option = |name| options.split(',').any(|o| o.trim_matches([' ', '\t']) == name);
        !option("close") && (!is_1_0 || option("keep-alive"))
    }
}

/// Which offer these headers prefer, and the quality of each.
fn preferred<const N: usize>(offers: &[Offer; N], lists: &[&str]) -> (Option<usize>, [u16; N]) {
    let members = lists.iter().flat_map(|list| outside_quotes(list, ','));
    let members: Vec<_> = members.filter_map(|member| preference(&member)).collect();
    let said = |name: &str| members.iter().filter(|m| m.0 == name).map(|m| m.1).max();
    // The quality of the most specific name given, and its specificity.
    let liking = |offer: &Offer| {
        let names = offer.0.iter().enumerate().rev();
        names
            .map(|(n, name)| (said(name), n + 1))
            .find_map(|(q, n)| Some((q?, n)))
            .unwrap_or_default()
    };
    let mut best = (None, 0, 0);
    for (place, offer) in offers.iter().enumerate() {
        let (quality, specificity) = liking(offer);
        if quality > best.1 || (quality > 0 && quality == best.1 && specificity > best.2) {
            best = (Some(place), quality, specificity);
        }
    }
    (best.0, offers.map(|offer| liking(&offer).0))
}

/// A name in lower case, and its quality in thousandths; `None` if it has other parameters, or is
/// malformed.
fn preference(member: &str) -> Option<(String, u16)> {
    let parts = outside_quotes(member, ';');
    let mut quality = "1".to_owned();
    for part in &parts[1..] {
        match part.split_once('=') {
            Some((key, value)) if key.eq_ignore_ascii_case("q") => value.clone_into(&mut quality),
            Some((key, _)) if key.eq_ignore_ascii_case("charset") => {}
            _ if part.is_empty() => {}
            _ => return None,
        }
        let (whole, fraction) = quality.split_once('.').unwrap_or((&quality, ""));
        let digits = format!("{whole}{fraction:0<3}");
        let good =
            whole.len() == 1 && digits.len() == 4 && digits.bytes().all(|b| b.is_ascii_digit());
        if !good || digits.as_str() > "1000" {
            return None;
        }
    }
    let (whole, fraction) = quality.split_once('.').unwrap_or((&quality, ""));
    Some((parts[0].to_ascii_lowercase(), format!("{whole}{fraction:0<3}").parse().unwrap()))
}

/// The parts of a list, trimmed. A separator between quotes does not count.
fn outside_quotes(list: &str, separator: char) -> Vec<String> {
    let parts = untrimmed(list, separator);
    parts.iter().map(|part| part.trim_matches([' ', '\t', '\x0c']).to_owned()).collect()
}

fn untrimmed(list: &str, separator: char) -> Vec<String> {
    let mut parts = vec![String::new()];
    let (mut quoted, mut letters) = (false, list.chars());
    while let Some(letter) = letters.next() {
        if letter == separator && !quoted {
            parts.push(String::new());
            continue;
        }
        quoted ^= letter == '"';
        let part = parts.last_mut().unwrap();
        part.push(letter);
        if letter == '\\' && quoted {
            part.extend(letters.next());
        }
    }
    parts
}

/// Whether the text is a host and perhaps a port; it is read from the end.
fn is_host(text: &str) -> bool {
    let without_port = text.trim_end_matches(|c: char| c.is_ascii_digit());
    let host = without_port.strip_suffix(':').unwrap_or(text);
    let is_name_letter = |c: char| c.is_ascii_alphanumeric() || "-._~!$&'()*+,;=".contains(c);
    let Some(literal) = host.strip_prefix('[') else {
        let mut parts = host.split('%');
        let first = parts.next().unwrap();
        return first.chars().all(is_name_letter)
            && parts.all(|part| {
                part.len() >= 2
                    && part[..2].chars().all(|c| c.is_ascii_hexdigit())
                    && part.chars().all(is_name_letter)
            });
    };
    let Some(literal) = literal.strip_suffix(']') else { return false };
    if literal.starts_with(['v', 'V']) {
        let parts = literal[1..].split_once('.');
        return parts.is_some_and(|(version, address)| {
            !version.is_empty()
                && version.chars().all(|c| c.is_ascii_hexdigit())
                && !address.is_empty()
                && address.chars().all(|c| is_name_letter(c) || c == ':')
        });
    }
    // Eight groups, of which :: is at least one; the last two may be an IPv4 address.
    let is_byte = |part: &str| part.parse::<u8>().is_ok_and(|byte| byte.to_string() == part);
    let groups = |text: &str, is_end: bool| -> Option<usize> {
        if text.is_empty() {
            return Some(0);
        }
        let groups: Vec<_> = text.split(':').collect();
        let (last, before) = groups.split_last().unwrap();
        let is_group = |group: &&str| {
            (1..=4).contains(&group.len()) && group.chars().all(|c| c.is_ascii_hexdigit())
        };
        let is_ip_v4 = is_end && last.split('.').count() == 4 && last.split('.').all(is_byte);
        let good = before.iter().all(is_group) && (is_ip_v4 || is_group(last));
        good.then_some(groups.len() + usize::from(is_ip_v4))
    };
    match literal.split_once("::") {
        None => groups(literal, true) == Some(8),
        Some((head, tail)) => match (groups(head, false), groups(tail, true)) {
            (Some(head), Some(tail)) => head + tail <= 7,
            _ => false,
        },
    }
}

/// Checks that the text is the extensions behind a chunk's size, and nothing else.
fn check_extensions(text: &str) {
    let is_token = |text: &str| {
        !text.is_empty()
            && text.chars().all(|c| ('!'..='~').contains(&c) && !"\"(),/:;<=>?@[\\]{}".contains(c))
    };
    let parts = untrimmed(text, ';');
    assert!(parts[0].chars().all(|c| c == ' ' || c == '\t'), "{text:?}");
    assert!(parts.len() > 1 || parts[0].is_empty(), "space and no extension: {text:?}");
    for (n, part) in parts.iter().enumerate().skip(1) {
        let part = part.trim_start_matches([' ', '\t']);
        // Space is allowed before another semicolon, not at the end.
        let part = if n + 1 < parts.len() { part.trim_end_matches([' ', '\t']) } else { part };
        let Some((name, value)) = part.split_once('=') else {
            assert!(is_token(part), "{text:?}");
            continue;
        };
        assert!(is_token(name.trim_end_matches([' ', '\t'])), "{text:?}");
        let value = value.trim_start_matches([' ', '\t']);
        let quoted = value.strip_prefix('"').and_then(|value| value.strip_suffix('"'));
        let good = quoted.map_or(is_token(value), |quoted| {
            !quoted.replace("\\\\", "").replace("\\\"", "").contains('"')
        });
        assert!(good, "{text:?}");
        assert!(!value.contains(|c: char| c != '\t' && c.is_ascii_control()), "{text:?}");
    }
}

/// The content of a chunked body that is complete, and its length with the framing.
fn chunked(input: &[u8]) -> (Vec<u8>, usize) {
    let line = |from: usize| {
        let length = input[from..].windows(2).position(|two| two == b"\r\n").expect("a line");
        &input[from..from + length]
    };
    let (mut content, mut at) = (Vec::new(), 0);
    loop {
        let text: String = line(at).iter().map(|&byte| char::from(byte)).collect();
        let extensions = text.trim_start_matches(|c: char| c.is_ascii_hexdigit());
        check_extensions(extensions);
        let size = text.strip_suffix(extensions).unwrap();
        at += line(at).len() + 2;
        let size = usize::from_str_radix(size, 16).expect("a size");
        if size == 0 {
            break;
        }
        content.extend(&input[at..at + size]);
        at += size;
        assert_eq!(input[at..at + 2], *b"\r\n", "behind a chunk");
        at += 2;
    }
    loop {
        let trailer: String = line(at).iter().map(|&byte| char::from(byte)).collect();
        at += line(at).len() + 2;
        if trailer.is_empty() {
            return (content, at);
        }
        assert!(!trailer.contains(|c: char| c != '\t' && c.is_ascii_control()), "{trailer:?}");
        Headers::read([trailer].iter());
    }
}

/// Calls a target with each of its seeds.
#[cfg(test)]
fn each_seed(target: &str, fuzz: fn(&[u8])) {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/fuzz/corpus/");
    let mut count = 0;
    for seed in std::fs::read_dir(format!("{folder}{target}")).unwrap() {
        let path = seed.unwrap().path();
        println!("{}", path.display()); // the last one is the one that failed
        fuzz(&std::fs::read(path).unwrap());
        count += 1;
    }
    assert!(count >= 10, "{count} seeds");
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;
    use proptest::sample::select;

    #[test]
    fn the_seeds_of_the_fuzzer_mean_one_thing() {
        super::each_seed("requests", super::requests);
    }

    /// A target, a Host, a list of codings or the line of a chunk, in pieces, good and bad.
    fn pieces() -> impl Strategy<Value = String> {
        const PIECES: &[&str] = &[
            "a", "5", " ", "\t", ";", "=", ",", "\"", "\\", ":", "[", "]", "[::1]", "@", "%41",
            "%", "/", "?", "#", "/health", "http://", "x", "chunked", "gzip", "\0", "\u{e9}",
        ];
        vec(select(PIECES), 0..7).prop_map(|pieces| pieces.concat())
    }

    /// Pieces of hosts, in any order. Some of the results are hosts.
    fn hosts() -> impl Strategy<Value = String> {
        const PIECES: &[&str] =
            &["a", "1", ":", "::", "[", "]", ".", "192.0.2.1", "%c3", "%", "@", "v1.", "ffff", "/"];
        vec(select(PIECES), 0..8).prop_map(|pieces| pieces.concat())
    }

    proptest! {
        /// The second parser goes the other way round: it takes the parts off the end.
        #[test]
        fn a_host_is_what_the_grammar_says(text in hosts()) {
            let found = crate::authority::host(text.as_bytes());
            prop_assert_eq!(found.is_some(), super::is_host(&text), "{}", text);
        }

        /// Whatever is accepted means what the second parser finds.
        #[test]
        fn every_part_of_a_request_means_one_thing(part in pieces(), sizes in vec(b'1'..b'z', 1..8)) {
            for request in [
                format!("GET {part} HTTP/1.1\r\nHost: x\r\n\r\n"),
                format!("GET http://{part} HTTP/1.1\r\nHost: x\r\n\r\n"),
                format!("GET / HTTP/1.{part}\r\nHost: x\r\n\r\n"),
                format!("GET / HTTP/1.1\r\nHost: {part}\r\n\r\n"),
                format!("PUT / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: {part}\r\n\r\n0\r\n\r\n"),
                format!("PUT / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n\
                         1;a{part}\r\nx\r\n0\r\na:{part}\r\n{part}\r\n\r\n"),
            ] {
                super::requests(&[&sizes[..], b"\n", request.as_bytes()].concat());
            }
        }
    }
}
