//! `wishes`: a leaf that keeps a wish for each who has one, the example of
//! docs/your-own-service.md. `/` says one short line, as greeter wants it of every leaf.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use chassis::Service;
use chassis::settings::{self, Env, Invalid};
use leaf::{Answer, Handler, JSON, Request, Settings};
use serde::{Deserialize, Serialize};

/// What its `main` and the tests start.
pub const SERVICE: Service<Settings<Wishes>> = leaf::service();

/// Bytes of a name and a text: a hundred such wishes fit into one answer, 64 KiB.
const LONGEST_NAME: usize = 60;
const LONGEST_TEXT: usize = 240;

/// The wishes, and how many it keeps.
#[derive(Debug)]
pub struct Wishes {
    most: usize,
    kept: Mutex<BTreeMap<String, Wish>>,
}

#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct Wish {
    text: String,
}

impl Handler for Wishes {
    const NAME: &'static str = "wishes";
    const VERSION: &'static str = env!("CARGO_PKG_VERSION");
    const ABOUT: &'static str = "keeps wishes";
    const VARIABLES: &'static str = "  MAX_WISHES       how many it keeps, up to 100 (100)\n";

    fn new(env: Env) -> Result<Self, Invalid> {
        let most = settings::number(env, "MAX_WISHES", 100, 1..=100)?;
        Ok(Self { most, kept: Mutex::default() })
    }

    fn answer(&self, request: &Request) -> Answer {
        let path: Vec<_> = request.path().split('/').skip(1).collect();
        match (request.method(), &path[..]) {
            ("GET" | "HEAD", [""]) => Answer::line("Many happy returns"),
            ("GET" | "HEAD", ["wishes"]) => self.all(),
            ("GET" | "HEAD", ["wishes", name]) => self.get(name),
            ("POST", ["wishes", name]) => self.keep(name, request.body()),
            (_, ["wishes", _]) => Answer::not_allowed(
                "Allow: GET, HEAD, POST",
                "method not allowed: GET, HEAD or POST",
            ),
            (_, ["" | "wishes"]) => Answer::get_only(),
            _ => Answer::text::<404>("not here: GET /wishes, GET or POST /wishes/NAME"),
        }
    }
}

impl Wishes {
    fn all(&self) -> Answer {
        json::<200>(&*self.kept())
    }

    fn get(&self, name: &str) -> Answer {
        match self.kept().get(name) {
            Some(wish) => json::<200>(wish),
            None => Answer::text::<404>("no such wish"),
        }
    }

    fn keep(&self, name: &str, body: Option<&[u8]>) -> Answer {
        let Some(body) = body else {
            return Answer::text::<417>("send the body without Expect");
        };
        let is_plain = name.bytes().all(|b| b.is_ascii_alphanumeric());
        if !is_plain || !(1..=LONGEST_NAME).contains(&name.len()) {
            return Answer::text::<400>(format!(
                "the name is not of 1 to {LONGEST_NAME} letters and digits"
            ));
        }
        let wish: Wish = match serde_json::from_slice(body) {
            Ok(wish) => wish,
            Err(error) => return Answer::text::<400>(format!("no wish in JSON: {error}")),
        };
        if wish.text.len() > LONGEST_TEXT || wish.text.chars().any(char::is_control) {
            return Answer::text::<400>(format!(
                "the text is over {LONGEST_TEXT} bytes, or has control characters"
            ));
        }
        let mut kept = self.kept();
        if kept.len() >= self.most && !kept.contains_key(name) {
            return Answer::text::<409>(format!("MAX_WISHES={} are kept", self.most));
        }
        kept.insert(name.to_owned(), wish.clone());
        json::<201>(&wish)
    }

    /// Held for a moment, and never while the coroutine waits.
    fn kept(&self) -> std::sync::MutexGuard<'_, BTreeMap<String, Wish>> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn json<const STATUS: u16>(value: &impl Serialize) -> Answer {
    match serde_json::to_string(value) {
        Ok(body) => Answer::new::<STATUS>(JSON, body),
        Err(error) => Answer::text::<500>(format!("cannot write JSON: {error}")),
    }
}
