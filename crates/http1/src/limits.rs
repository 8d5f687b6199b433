//! How much of a message is accepted: each number once, with its reason.

/// The longest head of a request, in bytes; also the most input that a connection has to buffer. Browsers send 1 to 2 KiB. Cookies may add 50 times 4 KiB (RFC 6265, section 6.1), but
/// Envoy lets no more than 60 KiB through.
pub const HEAD: usize = 64 * 1024;
/// The most headers of a request. A browser sends 18 through one Envoy; 100 is the default
/// limit of Envoy.
pub const HEADERS: usize = 128;
/// The longest request line, in bytes. RFC 9112, section 3, recommends at least 8,000.
pub const REQUEST_LINE: usize = 16 * 1024;
/// The longest method, in bytes. The longest in IANA's registry has 17 (`UPDATEREDIRECTREF`).
pub const METHOD: usize = 32;
/// The most bytes of empty lines before a request line: two lines. RFC 9112, section 2.2, asks a
/// server to ignore one.
pub const EMPTY_LINES: usize = 4;
/// The longest body of a request or an answer, in bytes. In a chunked one the lines with the
/// sizes and the trailers count too. No service here wants a request's body: it is read only to
/// find the next request behind it.
pub const BODY: u64 = 64 * 1024;
/// The longest line of a chunked body, in bytes: a chunk's size with its extensions, or a
/// trailer. Extensions and trailers are rare and short.
pub const CHUNK_LINE: usize = 4 * 1024;

/// The longest head of an answer to a call, in bytes. A leaf's has about 190, and Envoys add a
/// few headers.
pub const ANSWER_HEAD: usize = 4 * 1024;
/// The most headers of an answer to a call. A leaf's has 6.
pub const ANSWER_HEADERS: usize = 64;
/// The longest content of an answer to a call, in bytes: one short line is expected.
pub const ANSWER: usize = 4 * 1024;
/// The most input that a call has to buffer, in bytes: the longest head of an answer, or a line of a
/// chunked body, and as much again.
pub const ANSWER_INPUT: usize = 8 * 1024;
