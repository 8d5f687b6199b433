//! `greeter`: the edge. It fetches a greeting and a name, at the same time, and greets.
//!
//! Browsers, load balancers, scanners and attackers talk to it, so it has a server of its
//! own: `may_minihttp` hangs up on the 17th request header, and a browser behind a load
//! balancer sends twenty.
//!
//! Coming in:
//!
//! | module | what it is for |
//! |---|---|
//! | `server` | accepting connections, up to a limit |
//! | `connection` | one connection: requests in, answers out, in order |
//! | `request_info` | what is kept of a request's head: the target, the form, what is passed on |
//! | `form` | which form of a greeting the client prefers |
//! | `edge` | which request gets which answer |
//! | `answer` | the headers that answers have |
//! | `greeting` | a greeting: what the leaves said |
//! | `json` | the same, or why there is none, in JSON |
//! | `page` | the page that shows who greets |
//! | `traffic` | counts requests |
//!
//! Going out:
//!
//! | module | what it is for |
//! |---|---|
//! | `upstream` | one leaf to call: its limits, its failures |
//! | `pool` | the connections to a leaf that are kept for its next calls |
//! | `line` | the line a leaf answers with |
//!
//! Under both: the crates `http1`, which reads and writes the messages, and `net`, sockets that
//! park a coroutine; `limits`, every number with its reason, `settings` and `about`.
//!
//! A panic aborts the shipped binary, and ECS starts a new task while the proxies ask
//! another. No input should be able to cause one: what reads it is cut, fed and fuzzed at
//! random in `http1`. In a debug build it ends one coroutine, one connection.

mod about;
mod answer;
mod connection;
mod edge;
mod form;
mod greeting;
mod json;
pub mod limits;
mod line;
mod page;
mod pool;
mod request_info;
mod server;
mod settings;
mod traffic;
mod upstream;

pub use limits::Limits;
pub use settings::{Leaf, Settings};

/// What its `main`, the mesh and the tests start.
pub const SERVICE: chassis::Service<Settings> = chassis::Service {
    name: about::NAME,
    version: about::VERSION,
    about: "fetches a greeting and a name, and greets",
    variables: settings::usage,
    settings: Settings::read,
    run: server::run,
};
