//! What measures all services, as they are shipped.
//!
//! | bench | what it is for |
//! |---|---|
//! | `figures` | what a request, a start and a service cost: `just bench` |
//! | `overload` | what strangers can do to the services: `just overload` |

use std::path::PathBuf;

/// The folder of the binaries to measure, which is `SERVICES`, and the arguments. `None` where
/// nothing is to be measured, which is no failure: to `cargo test --all-targets` this is no test,
/// and a plain `cargo bench` has no static binaries.
#[must_use]
pub fn asked() -> Option<(PathBuf, Vec<String>)> {
    let mut arguments: Vec<_> = std::env::args().skip(1).collect();
    let before = arguments.len();
    arguments.retain(|argument| argument != "--bench");
    if arguments.len() == before {
        return None;
    }
    let folder = std::env::var_os("SERVICES");
    if folder.is_none() {
        eprintln!(
            "nothing is measured without static binaries: just static, and then just bench or just overload"
        );
    }
    Some((folder?.into(), arguments))
}
