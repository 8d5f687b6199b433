//! HTTP/1.1 without I/O (RFC 9110 and RFC 9112): bytes in, meaning out, and back.
//!
//! It decides what a message is and where it ends, and nothing of what a service makes of it:
//! a service says what of a head it keeps by a type of its own (see [`Request`]).
//!
//! A message that comes in:
//!
//! | module | what it is for |
//! |---|---|
//! | `requests` | the requests of one connection, one after the other |
//! | `request` | the head of a request |
//! | `authority` | the host in it |
//! | [`negotiate`] | what a client prefers (`Accept` and its like) |
//! | [`reply`] | the answer to a call |
//! | [`framing`] | where a message ends, and whether its connection lives on |
//! | `body` | a body, to its end |
//! | `grammar` | tokens and lists |
//!
//! A message that goes out:
//!
//! | module | what it is for |
//! |---|---|
//! | [`response`] | the bytes of an answer |
//! | `refusal` | why a request is refused |
//! | `status` | the statuses |
//!
//! Under both: [`limits`], how much of each is taken.
//!
//! Input comes from strangers and must cause no panic: everything is cut at random by
//! property tests, and fuzzed (`fuzz/`). `fuzzing` holds the result against a second, simpler
//! reading of the same bytes.

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
mod status;

pub use framing::Framing;
pub use httparse::Header;
pub use refusal::Refusal;
pub use request::{Head, Method, Request};
pub use requests::{Awaited, Next, Requests};
pub use response::{Answer, Persistence};
pub use status::Status;
