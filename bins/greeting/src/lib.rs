//! `greeting`: a leaf that answers with a random greeting, `Hello (host)`.

use chassis::Service;
use chassis::settings::{Env, Invalid};
use leaf::{Answer, Handler, Request, Settings};

/// What its `main`, the mesh and the tests start.
pub const SERVICE: Service<Settings<Greeting>> = leaf::service();

const GREETINGS: [&str; 4] = ["Hey", "Hi", "Hello", "Greetings"];

/// It has no settings of its own.
#[derive(Debug)]
pub struct Greeting;

impl Handler for Greeting {
    const NAME: &'static str = "greeting";
    const VERSION: &'static str = env!("CARGO_PKG_VERSION");
    const ABOUT: &'static str = "answers with a random greeting";

    fn new(_: Env) -> Result<Self, Invalid> {
        Ok(Self)
    }

    fn answer(&self, request: &Request) -> Answer {
        if !request.is_get() {
            return Answer::get_only();
        }
        Answer::line(GREETINGS[fastrand::usize(..GREETINGS.len())])
    }
}
