//! The chassis of a service: everything that `name`, `greeting` and `greeter` share, so that each
//! contains only its own job.
//!
//! | module | what it is for |
//! |---|---|
//! | [`cli`] | the command line of all three: `serve`, `healthcheck`, exit codes |
//! | [`healthcheck`] | that subcommand, and how a service at its limit recognizes it |
//! | [`settings`] | settings from the environment, and errors with a remedy |
//! | `needs` | the system resources that a start needs |
//! | [`port`] | binding a port, before anything listens on it |
//! | [`shutdown`] | SIGTERM to the end of the process, without losing a request |
//! | [`log`] | one JSON object a line on standard output |
//! | [`memory`] | the process's allocator, and returning memory |
//!
//! Linking this crate also makes mimalloc the process's allocator: see [`memory`].

pub mod cli;
pub mod healthcheck;
pub mod log;
pub mod memory;
mod needs;
pub mod port;
pub mod settings;
pub mod shutdown;

pub use cli::Service;
pub use port::Port;
pub use shutdown::Shutdown;
