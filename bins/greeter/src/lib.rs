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
//! | `requests` | its requests, one after the other; no I/O |
//! | `request` | the grammar of a request's head; no I/O |
//! | `negotiate` | which form of answer a client prefers; no I/O |
//! | `response` | the bytes of an answer; no I/O |
//! | `edge` | which request gets which answer |
//! | `json` | a greeting, or why there is none, in JSON; no I/O |
//! | `page` | the page that shows who greets |
//! | `inflate` | unpacks it for who wants it plain; no I/O |
//!
//! Going out:
//!
//! | module | what it is for |
//! |---|---|
//! | `upstream` | one service to call: its connections, its limits, its failures |
//! | `reply` | the line a service answers with; no I/O |
//! | `connect` | a new connection to it, whichever of its addresses answers |
//! | `resolver` | host names to addresses, never on the worker |
//!
//! Under both: `framing` and `body`, where a message ends; `socket`, a TCP socket that parks
//! a coroutine, its `buffer`, and `deadline`, which ends what takes too long.
//!
//! A panic aborts the shipped binary, and ECS starts a new task while the proxies ask
//! another. No input should be able to cause one: `request`, `body` and `reply` are cut, fed
//! and fuzzed at random (`fuzz/`). In a debug build it ends one coroutine, one connection.

#[path = "../../../crates/http1/src/body.rs"]
mod body;
mod buffer;
mod connect;
mod connection;
mod deadline;
mod edge;
#[path = "../../../crates/http1/src/framing.rs"]
mod framing;
#[cfg(any(fuzzing, test))]
#[path = "../../../crates/http1/src/fuzzing.rs"]
pub mod fuzzing;
mod inflate;
mod json;
#[path = "../../../crates/http1/src/negotiate.rs"]
mod negotiate;
mod page;
#[path = "../../../crates/http1/src/reply.rs"]
mod reply;
#[path = "../../../crates/http1/src/request.rs"]
mod request;
#[path = "../../../crates/http1/src/requests.rs"]
mod requests;
mod resolver;
#[path = "../../../crates/http1/src/response.rs"]
mod response;
mod server;
mod settings;
mod socket;
mod upstream;

pub use connection::Limits;
pub use settings::Settings;

/// What its `main`, the mesh and the tests start.
pub const SERVICE: chassis::Service<Settings> = chassis::Service {
    name: "greeter",
    version: env!("CARGO_PKG_VERSION"),
    about: "fetches a greeting and a name, and greets",
    variables: settings::USAGE,
    settings: Settings::read,
    run: server::run,
};

pub(crate) const LOG: chassis::log::Log = chassis::log::Log::new(SERVICE.name);
