//! The mesh's control: what another terminal asks of it, by way of a socket.
//!
//! A client sends one line, an [`Ask`] in JSON, and gets one line back: `{"Ok":TEXT}` when it is
//! done, or `{"Err":TEXT}`. Until then it gets empty lines, at once and every [`SIGN_OF_LIFE`](ask::SIGN_OF_LIFE): a
//! mesh that is busy sends them, and one that is suspended does not.
//!
//! | module | what it is for |
//! |---|---|
//! | `ask` | what can be asked |
//! | `place` | where the sockets are, which only their owner reaches |
//! | `server` | the mesh's side |
//! | `carry_out` | what it does |
//! | `client` | the other terminal's |

mod ask;
mod carry_out;
mod client;
mod place;
mod server;

pub(crate) use ask::Ask;
pub(crate) use client::{ask, front};
pub(crate) use server::Server;
