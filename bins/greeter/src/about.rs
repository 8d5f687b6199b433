//! greeter's name and version.

use chassis::log::Log;

pub(crate) const NAME: &str = "greeter";
pub(crate) const VERSION: &str = env!("CARGO_PKG_VERSION");
/// The `User-Agent` of its calls: `greeter/1.2.3`.
pub(crate) const USER_AGENT: &str = concat!("greeter/", env!("CARGO_PKG_VERSION"));
pub(crate) const LOG: Log = Log::new(NAME);
