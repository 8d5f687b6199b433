//! `greeting`: a leaf that answers with a random greeting, `Hello (host)`.

use chassis::Service;
use leaf::{self, Leaf, Settings};

/// What its `main`, the mesh and the tests start.
pub const SERVICE: Service<Settings> = leaf::service::<Words>();

const GREETINGS: [&str; 4] = ["Hey", "Hi", "Hello", "Greetings"];

struct Words;

impl Leaf for Words {
    const NAME: &'static str = "greeting";
    const VERSION: &'static str = env!("CARGO_PKG_VERSION");
    const ABOUT: &'static str = "answers with a random greeting";

    fn pick() -> &'static str {
        GREETINGS[fastrand::usize(..GREETINGS.len())]
    }
}
