//! HTTP/1.1 without I/O (RFC 9110 and RFC 9112): it reads messages from bytes, and writes them to
//! bytes.
//!
//! It decides whether a message is valid, and where it ends. What it means is up to the service, which
//! chooses what to keep of a head by a type of its own (see [`Request`]).
//!
//! Reading:
//!
//! | module | what it is for |
//! |---|---|
//! | `requests` | the requests of one connection |
//! | `request` | the head of a request |
//! | `authority` | its host |
//! | [`negotiate`] | what a client prefers (`Accept`, `Accept-Encoding`) |
//! | [`reply`] | the answer to a call |
//! | [`framing`] | where a message ends, and whether its connection stays open |
//! | `body` | reading a body to its end |
//! | `grammar` | tokens and lists |
//!
//! Writing:
//!
//! | module | what it is for |
//! |---|---|
//! | [`response`] | the bytes of an answer |
//! | `refusal` | why a request is refused |
//!
//! Both use [`limits`]: how much of a message is accepted.
//!
//! Input comes from strangers and must not cause a panic: property tests split it at random, and `fuzz/`
//! fuzzes it. `fuzzing` compares each result with that of a second, simpler parser.

mod authority;
mod body;
pub mod framing;
#[cfg(any(fuzzing, test))]
pub mod fuzzing;
mod grammar;
pub mod limits;
pub mod negotiate;
mod refusal;
pub mod reply;
mod request;
mod requests;
pub mod response;

pub use framing::Framing;
pub use httparse::Header;
pub use refusal::Refusal;
pub use request::{Head, Method, Request};
pub use requests::{Awaited, Next, Requests};
pub use response::{Answer, Persistence};
