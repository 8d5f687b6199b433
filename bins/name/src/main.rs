//! The `name` service's binary.

use std::process::ExitCode;

fn main() -> ExitCode {
    chassis::cli::main(&name::SERVICE)
}
