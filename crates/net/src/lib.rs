//! Sockets that park a coroutine while they wait, and never the worker.
//!
//! | module | what it is for |
//! |---|---|
//! | [`runtime`] | the coroutine runtime, and what gives each coroutine its turn |
//! | `accept` | accepting connections |
//! | `semaphore` | a limit to how much is under way at a time |
//! | `connect` | connections to a host, at whichever of its addresses answers |
//! | `resolver` | host names to addresses, never on the worker |
//! | `lookup` | one question to the system for addresses |
//! | `hosts` | the file of host names |
//! | `socket` | a connected socket |
//! | `buffer` | what a connection has received and not yet used |
//! | `deadline` | ending waits that take too long |
//! | [`limits`] | how long each of these may take, and how much it may hold |
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
pub use socket::{Socket, is_gone};
