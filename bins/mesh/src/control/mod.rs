//! The control socket of a mesh, for commands from another terminal.
//!
//! A client sends one line, a [`Request`] in JSON, and gets one line back: `{"Ok":TEXT}` when it is
//! done, or `{"Err":TEXT}`. Until then it gets empty lines, one at once and then every [`HEARTBEAT`](request::HEARTBEAT),
//! which tell a busy mesh from a suspended one.
//!
//! | module | what it is for |
//! |---|---|
//! | `request` | the commands |
//! | `sockets` | where the sockets are; only their owner can connect |
//! | `server` | the server, in the mesh |
//! | `execute` | executes a command |
//! | `client` | the client, in the other terminal |

mod client;
mod execute;
mod request;
mod server;
mod sockets;

pub(crate) use client::{Look, list, look, send, status};
pub(crate) use request::Request;
pub(crate) use server::Server;
