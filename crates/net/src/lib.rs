//! Sockets that park a coroutine while they wait, and never the worker.
//!
//! | module | what it is for |
//! |---|---|
//! | `accept` | accepting connections |
//! | `places` | so many at a time |
//! | `connect` | a connection to a host, whichever of its addresses answers |
//! | `resolver` | host names to addresses, never on the worker |
//! | `socket` | a connected socket |
//! | `buffer` | what a connection has received and not yet used |
//! | `deadline` | ends what takes too long |
//! | [`limits`] | how long all that takes |
//!
//! The coroutines are `may`'s: `chassis::runtime::init` has to come first.

mod accept;
mod buffer;
mod connect;
mod deadline;
pub mod limits;
mod places;
mod resolver;
mod socket;

pub use accept::Listener;
pub use buffer::Buffer;
pub use connect::Connector;
pub use deadline::Deadlines;
pub use places::{Place, Places};
pub use resolver::{GetAddresses, Resolver};
pub use socket::{Socket, is_gone};
