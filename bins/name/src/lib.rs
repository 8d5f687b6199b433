//! `name`: a leaf that answers with a random first name, `Emelia (host)`.

mod names;

use chassis::Service;
use chassis::settings::{Env, Invalid};
use leaf::{Answer, Handler, Request, Settings};

/// What its `main`, the mesh and the tests start.
pub const SERVICE: Service<Settings<Name>> = leaf::service();

/// It has no settings of its own.
#[derive(Debug)]
pub struct Name;

impl Handler for Name {
    const NAME: &'static str = "name";
    const VERSION: &'static str = env!("CARGO_PKG_VERSION");
    const ABOUT: &'static str = "answers with a random first name";

    fn new(_: Env) -> Result<Self, Invalid> {
        Ok(Self)
    }

    fn answer(&self, request: &Request) -> Answer {
        if !request.is_get() {
            return Answer::get_only();
        }
        Answer::line(names::get(fastrand::usize(..names::COUNT)))
    }
}
