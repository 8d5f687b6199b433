//! `greeter`: the edge. It fetches a greeting and a name, at the same time, and greets.
//!
//! Browsers, load balancers, scanners and attackers are its clients, so it has its own HTTP server:
//! `may_minihttp` closes the connection at the 17th request header, and a browser behind a load
//! balancer sends twenty.
//!
//! Coming in:
//!
//! | module | what it is for |
//! |---|---|
//! | `server` | accepting connections, up to a limit |
//! | `connection` | one connection: reads requests and writes answers, in order |
//! | `request_info` | the parts of a request's head that are kept: target, preferred form, headers to pass on |
//! | `form` | which form of a greeting the client prefers |
//! | `edge` | routing: which request gets which answer |
//! | `answer` | the headers of answers |
//! | `greeting` | a greeting, from the answers of the leaves |
//! | `json` | the same in JSON, or the error |
//! | `page` | the HTML page |
//! | `traffic` | counts requests |
//!
//! Going out:
//!
//! | module | what it is for |
//! |---|---|
//! | `upstream` | calls to one leaf: limits and failures |
//! | `pool` | the connection pool of a leaf |
//! | `line` | parses the one-line answer of a leaf |
//!
//! Under both: the crates `http1`, which reads and writes the messages, and `net`, sockets that
//! park a coroutine; `limits`, every number with its reason, `settings` and `about`.
//!
//! A panic aborts the shipped binary, and ECS starts a new task while the proxies use another. No input
//! should be able to cause one: the parsers in `http1` have property tests and are fuzzed. In a debug
//! build a panic ends only its coroutine, and so its connection.

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

/// The service, for its `main`, the mesh and the tests.
pub const SERVICE: chassis::Service<Settings> = chassis::Service {
    name: about::NAME,
    version: about::VERSION,
    about: "fetches a greeting and a name, and greets",
    variables: settings::usage,
    settings: Settings::read,
    run: server::run,
};
