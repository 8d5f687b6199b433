//! The `greeter` service's binary.

use std::process::ExitCode;

fn main() -> ExitCode {
    chassis::cli::main(&greeter::SERVICE)
}
