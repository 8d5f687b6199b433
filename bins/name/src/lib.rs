//! `name`: a leaf that answers with a random first name, `Emelia (host)`.

mod names;

use chassis::Service;
use leaf::{self, Leaf, Settings};

/// What its `main`, the mesh and the tests start.
pub const SERVICE: Service<Settings> = leaf::service::<Words>();

struct Words;

impl Leaf for Words {
    const NAME: &'static str = "name";
    const VERSION: &'static str = env!("CARGO_PKG_VERSION");
    const ABOUT: &'static str = "answers with a random first name";

    fn pick() -> &'static str {
        names::get(fastrand::usize(..names::COUNT))
    }
}
