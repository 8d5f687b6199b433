//! Sockets that park a coroutine while they wait, and never block the worker.
//!
//! | module | what it is for |
//! |---|---|
//! | [`runtime`] | the coroutine runtime, and cooperative yielding |
//! | `accept` | accepting connections |
//! | `semaphore` | a limit to concurrent work |
//! | `connect` | connections to a host, trying its addresses in turn |
//! | `resolver` | resolving host names without blocking the worker |
//! | `lookup` | one query to the system's resolver |
//! | `hosts` | /etc/hosts |
//! | `socket` | a connected socket |
//! | `buffer` | a connection's input buffer |
//! | `deadline` | deadlines for waiting coroutines |
//! | [`limits`] | timeouts and sizes |
//!
//! The coroutines are those of `may`: call [`runtime::init`] first.

mod accept;
mod buffer;
mod connect;
mod deadline;
mod hosts;
pub mod limits;
mod lookup;
mod resolver;
pub mod runtime;
mod semaphore;
mod socket;

pub use accept::Listener;
pub use buffer::Buffer;
pub use connect::{ConnectError, Connector};
pub use deadline::Deadlines;
pub use lookup::{Family, NotFound};
pub use resolver::{LookUp, ResolveError, Resolver};
pub use semaphore::{Permit, Semaphore};
pub use socket::{Socket, is_gone, set_user_timeout};
