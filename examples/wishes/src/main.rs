//! The `wishes` service's binary.

use std::process::ExitCode;

fn main() -> ExitCode {
    chassis::cli::main(&wishes::SERVICE)
}
