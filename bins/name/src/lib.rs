//! `name`: a leaf that answers with a random first name, `Emelia (host)`.

mod names;

use std::io;

use chassis::leaf::{self, Leaf};
use chassis::{Port, Service, Shutdown, settings};

/// What its `main`, the mesh and the tests start.
pub const SERVICE: Service<String> = Service {
    name: LEAF.name,
    version: LEAF.version,
    about: "answers with a random first name",
    variables: String::new,
    settings: settings::host,
    run,
};

const LEAF: Leaf = Leaf { name: "name", version: env!("CARGO_PKG_VERSION"), pick };

fn run(host: String, ports: Vec<Port>, shutdown: &Shutdown) -> io::Result<()> {
    leaf::run(LEAF, &host, &ports, shutdown)
}

fn pick() -> &'static str {
    names::get(fastrand::usize(..names::COUNT))
}
