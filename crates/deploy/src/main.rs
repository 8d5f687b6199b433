//! `deploy`: generates compose.yaml, and makes new services. Its tests compare all deployment files.
//!
//! | module | what it is for |
//! |---|---|
//! | `compose` | compose.yaml, and the configuration of its Envoys |
//! | `new_service` | makes a leaf from an existing one |
//! | `files` | the files of the repository |

mod compose;
mod files;
mod new_service;

use std::process::ExitCode;

const USAGE: &str = "\
usage: deploy                     write compose.yaml and the configuration of its Envoys
       deploy published R TAG     print a compose.yaml of the images R/SERVICE:TAG, which only pulls
       deploy new-service NAME    make a leaf: just new-service NAME";

fn main() -> ExitCode {
    let arguments: Vec<_> = std::env::args().skip(1).collect();
    let result = match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        [] => files::write(compose::files()),
        ["published", registry, tag] => {
            print!("{}", compose::published(registry, tag));
            Ok(())
        }
        ["new-service", name] => new_service::make(name),
        _ => {
            eprintln!("{USAGE}");
            return ExitCode::from(2);
        }
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("deploy: {error}");
            ExitCode::FAILURE
        }
    }
}
