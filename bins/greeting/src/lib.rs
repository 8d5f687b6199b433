//! `greeting`: a leaf that answers with a random greeting, `Hello (host)`.

use std::io;

use chassis::leaf::{self, Leaf};
use chassis::{Port, Service, Shutdown, settings};

/// What its `main`, the mesh and the tests start.
pub const SERVICE: Service<String> = Service {
    name: LEAF.name,
    version: LEAF.version,
    about: "answers with a random greeting",
    variables: String::new,
    settings: settings::host,
    run,
};

const LEAF: Leaf = Leaf { name: "greeting", version: env!("CARGO_PKG_VERSION"), pick };

const GREETINGS: [&str; 4] = ["Hey", "Hi", "Hello", "Greetings"];

fn run(host: String, ports: Vec<Port>, shutdown: &Shutdown) -> io::Result<()> {
    leaf::run(LEAF, &host, &ports, shutdown)
}

fn pick() -> &'static str {
    GREETINGS[fastrand::usize(..GREETINGS.len())]
}
