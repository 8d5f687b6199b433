//! `deploy`: writes the configuration of the Envoys in compose.yaml into compose/.
//! Its tests hold every file that deploys the application against the others.

mod compose;

use std::path::Path;
use std::process::ExitCode;

fn main() -> ExitCode {
    match compose::write(&Path::new(env!("CARGO_MANIFEST_DIR")).join("../../compose")) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("deploy: {error}");
            ExitCode::FAILURE
        }
    }
}
