//! The services' chassis: what `name`, `greeting` and `greeter` share, so that each of
//! them holds nothing but its own job.
//!
//! | module | what it is for |
//! |---|---|
//! | [`cli`] | the command line of all three: `serve`, `healthcheck`, exit codes |
//! | [`healthcheck`] | that subcommand, and how a full service knows it |
//! | [`settings`] | settings from the environment, and errors that say what to do |
//! | `needs` | what a start needs of the system |
//! | [`port`] | taking a port, before anything listens on it |
//! | [`shutdown`] | SIGTERM to the end of the process, without losing a request |
//! | [`log`] | one JSON object a line on standard output |
//! | [`memory`] | the process's allocator, and what it gives back |
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
